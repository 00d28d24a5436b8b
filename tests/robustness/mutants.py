"""Plant each fault of mutants.txt in a copy of the project and see that some test fails.

A fault is a block of lines, blocks parted by blank lines::

    mgcore/grids.py
    - the exact text, which stands once in the file
    + what takes its place
    ! tests/test_grids.py          (optional; else the test file that mirrors the module)

With ``=`` in place of ``!`` the change is one of form alone: the tests must pass, and the canary
must keep its values, so that records made before it stay valid.

Run as ``python tests/robustness/mutants.py [--jobs 2] [word]``; with a word, only blocks that
contain it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("mgcore", "tests", "book", "pyproject.toml", "requirements.txt", "Makefile", "_toc.yml",
          "_config.yml")  # fmt: skip
SKIPPED = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
SECONDS = 300  # a fault that makes the tests run longer than this counts as caught

# The copy must be what is imported; 9 says that it is not.
COPY_FIRST = """
import os, sys, mgcore
if not os.path.realpath(mgcore.__file__).startswith(os.path.realpath(os.getcwd()) + os.sep):
    sys.exit(9)
"""
PYTEST = COPY_FIRST + "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
CANARY = COPY_FIRST + (
    "import json; from mgcore.lab.run.fingerprint import TOLERANCE, fingerprint, deviation\n"
    "then, now = json.load(sys.stdin), fingerprint('strokes')\n"
    "print(json.dumps(now))\n"
    "sys.exit(int(bool(then) and deviation(then, now)[0] > TOLERANCE))"
)


@dataclass(frozen=True)
class Mutant:
    """One change: in `file`, `new` stands for `old`; `tests` are to notice, or not (`form`)."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    form: bool

    def __str__(self) -> str:
        return f"{self.file}: {self.old.strip()}  ->  {self.new.strip()}"


def parse(block: str) -> Mutant:
    """Return the change that a block of mutants.txt describes.

    Raises
    ------
    SystemExit
        Where the block is malformed, or its text does not stand exactly once in its file.
    """
    file, *rest = block.splitlines()
    marks = {line[0]: line[2:] for line in rest if line[1:2] == " "}
    named = set(marks) - {"-", "+"}
    if (
        not {"-", "+"} <= set(marks)
        or len(marks) != len(rest)
        or named not in ({"!"}, {"="}, set())
    ):
        raise SystemExit(f"mutants.txt: a block needs a file, one '- ' and one '+ ' line: {block}")
    path = Path(file)
    mirror = str(Path("tests", *path.parts[1:-1], f"test_{path.name}"))
    tests = tuple(marks.get("!", marks.get("=", mirror)).split())
    if not (ROOT / file).is_file():
        raise SystemExit(f"mutants.txt: {file} does not exist.")
    if missing := [test for test in tests if not (ROOT / test.split("::")[0]).exists()]:
        raise SystemExit(f"mutants.txt: {missing[0]} does not exist.")
    times = (ROOT / file).read_text("utf-8").count(marks["-"])
    if times != 1:
        raise SystemExit(f"mutants.txt: {marks['-']!r} stands {times} times in {file}, not once.")
    return Mutant(file, marks["-"], marks["+"], tests, "=" in marks)


def read() -> list[Mutant]:
    """Return the changes of mutants.txt; lines that start with # are comments."""
    lines = (ROOT / "tests" / "robustness" / "mutants.txt").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    return [parse(block.strip("\n")) for block in text.split("\n\n") if block.strip()]


@contextmanager
def copy(mutant: Mutant | None = None) -> Iterator[str]:
    """Make a copy of the project that holds the change, and remove it afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(folder, name), ignore=SKIPPED)
            elif (ROOT / name).exists():
                shutil.copy2(ROOT / name, folder)
        if mutant:
            file = Path(folder, mutant.file)
            source = file.read_text("utf-8").replace(mutant.old, mutant.new)
            file.write_text(source, encoding="utf-8")
        yield folder


def python(folder: str, code: str, *arguments: str, given: str = "") -> tuple[int | None, str]:
    """Run code in a copy; return its exit status, None where it took too long, and its output."""
    environment = os.environ | {"PYTHONPATH": folder, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(given, timeout=SECONDS)
        return process.returncode, said
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
        process.communicate()
        return None, ""


def test(folder: str, tests: Sequence[str]) -> tuple[int | None, str]:
    """Run tests in a copy until one fails; return pytest's exit status and its output."""
    options = ("-x", "-q", "-m", "not slow", "-p", "no:cacheprovider")
    return python(folder, PYTEST, *options, *tests)


def last_line(said: str) -> str:
    """Return the last line of some output."""
    return (said.splitlines() or ["nothing was printed"])[-1]


def judge(mutant: Mutant, canary: str) -> tuple[bool, str]:
    """Return whether a change was taken for what it is, and a few words on how."""
    with copy(mutant) as folder:
        status, said = test(folder, mutant.tests)
        if mutant.form:
            if status != 0:
                return False, f"A CHANGE OF FORM, BUT TESTS FAIL ({last_line(said)})"
            stale, _ = python(folder, CANARY, given=canary)
            return stale == 0, "STALE CANARY" if stale else "form alone: canary and tests hold"
    if status is None:
        return True, f"caught: the tests ran for more than {SECONDS} s"
    # 1: a test failed. Anything else (0: none did; 2: it does not even import) is no catch.
    by = [line for line in said.splitlines() if line.startswith(("FAILED tests", "ERROR tests"))]
    if status == 1 and by:
        return True, "caught by " + by[0].split(" ", 1)[1].split(" - ")[0]
    return False, f"SURVIVED (pytest's status {status}: {last_line(said)})"


def main() -> int:
    """Try every change; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="changes tried at a time")
    parser.add_argument("word", nargs="?", default="", help="only blocks that contain it")
    options = parser.parse_args()
    mutants = [mutant for mutant in read() if options.word in str(mutant)]
    if not mutants:
        raise SystemExit(f"mutants.txt has no block that contains {options.word!r}.")
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    with copy() as folder:
        status, said = test(folder, tests)
        if status != 0:
            raise SystemExit(f"{said}\nThe tests fail without any fault; mend that first.")
        status, said = python(folder, CANARY, given="{}")
        canary = json.dumps(json.loads(last_line(said)))
    wrong = 0
    with ThreadPoolExecutor(options.jobs) as pool, tqdm(total=len(mutants), desc="mutants") as bar:
        futures = {pool.submit(judge, mutant, canary): mutant for mutant in mutants}
        for future in as_completed(futures):
            right, how = future.result()
            wrong += not right
            bar.update()
            bar.write(f"{futures[future]}\n    {how}", file=sys.stdout)
    faults = sum(not mutant.form for mutant in mutants)
    print(f"{len(mutants) - wrong} of {len(mutants)} as expected: {faults} faults to be caught, "
          f"{len(mutants) - faults} changes of form")  # fmt: skip
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
