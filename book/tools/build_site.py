"""Build the website from the executed chapters: every page, with warnings as errors.

A site is built again where something has changed that decides its pages.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from html import escape
from importlib.metadata import distributions
from pathlib import Path

import editions
import guard
import notebooks
import play
import yaml
from layout import gather
from notebooks import ROOT
from polish import polish
from tqdm import tqdm

# Jupyter Book without its script: a script cannot start an interpreter whose path has a space.
COMMAND = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
PERCENT = re.compile(r"^(reading|writing|copying|loading)\b.*\[\s*(\d+)%\]")
TROUBLE = re.compile(r"WARNING|ERROR|CRITICAL|^\S*(Error|Exception)\b")
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def write_entrance(html: Path) -> None:
    """Replace the bare redirect at the top of the site by one with a title, an icon and a link."""
    first = f"{notebooks.pages()[0]}.html"
    title = escape(yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["title"])
    (html / "index.html").write_text(
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={first}">
<link rel="icon" href="_static/favicon.svg">
<title>{title}</title>
</head>
<body><main><h1>{title}</h1><p><a href="{first}">Open the book</a></p></main></body>
</html>
""",
        encoding="utf-8",
    )


def complaints(output: list[str], source: Path) -> str:
    """Return the warnings and errors among Sphinx's lines, paths as in the repository."""
    kept: list[str] = []
    inside = False
    for line in output:
        inside = bool(TROUBLE.search(line)) or (inside and line.startswith(" "))
        text = line.rstrip().replace(f"{source}{os.sep}", "")
        if inside and text not in kept:
            kept.append(text)
    return "\n".join(kept or [line.rstrip() for line in output[-20:]])


def fingerprint(source: Path) -> str:
    """Return the SHA-256 over everything that decides the pages: sources, tools and packages."""
    packages = sorted(f"{found.name} {found.version}" for found in distributions())
    digest = hashlib.sha256(repr([sys.version_info[:3], packages]).encode())
    for folder, pattern in ((source, "**/*"), (ROOT / "book" / "tools", "*.py")):
        for file in sorted(file for file in folder.glob(pattern) if file.is_file()):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(folder)} {content}\n".encode())
    return digest.hexdigest()


def build(executed: Path, output: Path, edition: str = "book") -> Path:
    """Build the site and return its first page.

    Parameters
    ----------
    executed
        Folder of the executed notebooks.
    output
        The site becomes ``output/_build/html``. A failed one goes to ``html-failed``, so that what
        stands there has always been built without a warning.
    edition
        One of :data:`editions.EDITIONS`.

    Raises
    ------
    SystemExit
        Where Sphinx warns or fails, or leaves out a page of ``_toc.yml``; its warnings are shown.
    """
    source, html = output / "_build" / "site", output / "_build" / "html"
    failed, work = html.with_name("html-failed"), output / "_build" / "building"
    built = work / "_build" / "html"
    gather(executed, source, edition)
    stamp, current = html.with_name("html.sha256"), fingerprint(source)
    if (html / "index.html").exists() and stamp.exists() and stamp.read_bytes() == current.encode():
        return html / "index.html"
    stamp.unlink(missing_ok=True)
    shutil.rmtree(html, ignore_errors=True)
    shutil.rmtree(failed, ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)
    command = [*COMMAND, str(source), "--all", "-W", "-n", "--keep-going"]
    command += ["--path-output", str(work)]
    environment = os.environ | {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    lines: list[str] = []
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            encoding="utf-8", env=environment, cwd=ROOT,
        ) as sphinx,
        tqdm(total=100, desc="building the site", unit="%", disable=None) as bar,
    ):  # fmt: skip
        assert sphinx.stdout is not None
        try:
            for raw in sphinx.stdout:
                line = ESCAPE.sub("", raw)
                lines.append(line)
                if found := PERCENT.match(line):
                    done = int(found[2]) // 2 + (50 if found[1] in ("writing", "copying") else 0)
                    bar.update(max(0, done - bar.n))
        except KeyboardInterrupt:
            sphinx.terminate()
            raise
        bar.update(100 - bar.n)
    if sphinx.returncode or not (built / "index.html").exists():
        if built.exists():
            built.rename(failed)
        raise SystemExit(f"The site was not built:\n{complaints(lines, source)}")
    if missing := [page for page in notebooks.pages() if not (built / f"{page}.html").exists()]:
        built.rename(failed)
        raise SystemExit(
            f"The site was not built: it lacks {', '.join(missing)}, and Sphinx gave no reason. "
            f"Its output ends with:\n{complaints(lines, source)}"
        )
    polish(built, source)
    play.write_stages(built, edition)
    if "/" in notebooks.pages()[0]:
        write_entrance(built)
    built.rename(html)  # last, so that an interrupted build leaves no half-finished site
    stamp.write_text(current, encoding="utf-8")
    return html / "index.html"


def main(argv: list[str] | None = None) -> int:
    """Build what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executed", type=Path, default=ROOT / "_build" / "executed")
    parser.add_argument("--output", type=Path, default=ROOT, help="the site: OUTPUT/_build/html")
    parser.add_argument("--edition", choices=editions.EDITIONS, default="book")
    arguments = parser.parse_args(argv)
    page = build(arguments.executed.absolute(), arguments.output.absolute(), arguments.edition)
    name = "The book" if arguments.edition == "book" else f"The {arguments.edition} edition"
    print(f"{name} is at {os.path.relpath(page)}")
    return 0


if __name__ == "__main__":
    sys.exit(guard.until_stopped(main))
