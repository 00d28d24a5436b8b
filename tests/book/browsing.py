"""Chromium for tests: a server on this machine alone, and a browser that can reach nothing else."""

import contextlib
import functools
import http.server
import shutil
import threading
from pathlib import Path

import pytest

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# Every other host is unresolvable, so that a page which needs one fails here and not on a train.
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
FLAGS = ["--no-sandbox", "--disable-gpu", OFFLINE]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        pass


@contextlib.contextmanager
def serve(folder: Path):
    """Serve `folder` on this machine; yield its address."""
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def launch():
    """Yield a browser; skip, and say so, where there is none."""
    if sync_playwright is None:
        pytest.skip("playwright is not installed, so no browser visits the pages")
    if CHROMIUM is None:
        pytest.skip("no chromium is on the path, so no browser visits the pages")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def listen(page, address: str, wrong: list[str]) -> None:
    """Write into `wrong` whatever a page asks of others, fails to get, or complains of."""
    ours = (f"{address}/", "data:", "blob:")
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("console", lambda m: m.type in ("error", "warning") and wrong.append(m.text))
    page.on("request", lambda r: r.url.startswith(ours) or wrong.append(f"asks for {r.url}"))
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    page.on("response", lambda r: r.ok or r.status == 304 or wrong.append(f"{r.status}: {r.url}"))
