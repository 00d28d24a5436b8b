"""The main commands of the Makefile, for machines without make: ``python make.py book``.

Standard library only.  The Makefile calls this file for the same commands.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "book" / "tools"))

import install  # noqa: E402

PYTEST = ["-m", "pytest", "-n", "2", "--dist"]
# Each process gets half of the tests in their order, then takes over what the other has left.
TESTS = [*PYTEST, "worksteal"]
# The cells of a chapter share a kernel.  It is this environment's own Python, whatever the notebook
# or JUPYTER_PATH names.
NBVAL = [*PYTEST, "loadscope", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
SLOW_SUITES = ("lab", "book", "robustness")


def book() -> list[list[str]]:
    """Execute the chapters that changed, build the website, say where it is."""
    return [["book/tools/execute.py"], ["book/tools/build_site.py"]]


def test() -> list[list[str]]:
    """Build the book, then run every test of the code, the chapters and the site."""
    chapters = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("book/*.ipynb"))
    return [*book(), [*TESTS, "-m", "not slow"], [*NBVAL, *chapters]]


def check() -> list[list[str]]:
    """Lint, check types, run the unit tests of mgcore without those of lab and book."""
    suites = [f"--ignore=tests/{name}" for name in SLOW_SUITES]
    return [
        ["-m", "ruff", "check", "."],
        ["-m", "ruff", "format", "--check", "."],
        ["-m", "mypy"],
        [*TESTS, "-q", "-m", "not slow", "tests", *suites],
    ]


def setup() -> list[list[str]]:
    """Set up the environment alone."""
    return []


TASKS = {"setup": setup, "book": book, "test": test, "check": check}


def run(command: list[str], environment: dict[str, str]) -> int:
    """Run one command to its end and return its exit status; pass Ctrl-C and SIGTERM on to it."""
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the terminal sent it to the process as well
                continue


def main(arguments: list[str]) -> int:
    """Carry out one task and return its exit status."""
    if len(arguments) != 1 or arguments[0] not in TASKS:
        print("usage: python make.py TASK\n", file=sys.stderr)
        for name, task in TASKS.items():
            print(f"  {name:<8}{(task.__doc__ or '').splitlines()[0]}", file=sys.stderr)
        return 2
    folder = (ROOT / (os.environ.get("VENV") or ".venv")).absolute()
    if not install.is_current(folder):
        status = run(
            [sys.executable, str(ROOT / "book/tools/install.py"), str(folder)], {**os.environ}
        )
        if status:
            return status
    # One thread a process: trials run one per core, and thread counts change the last digits.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if os.name == "nt":
        environment["PYTHONUTF8"] = "1"
    if environment.get(
        "MGCORE_DATA"
    ):  # chapters run in book/; a relative folder is meant from here
        environment["MGCORE_DATA"] = str(Path(environment["MGCORE_DATA"]).absolute())
    for step in TASKS[arguments[0]]():
        status = run([str(install.python_of(folder)), *step], environment)
        if status:
            return status if status > 0 else 128 - status
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
