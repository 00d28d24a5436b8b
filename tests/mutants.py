"""Plant each fault of mutants.txt in a copy of the project and see that some test fails.

A fault is a block of lines, blocks parted by blank lines::

    mgcore/grids.py
    - the exact text, which stands once in the file
    + what takes its place
    ! tests/test_grids.py          (optional; else the test file that mirrors the module)

Run as ``python tests/mutants.py [word]``; with a word, only the faults that contain it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("mgcore", "tests", "book", "pyproject.toml", "requirements.txt", "Makefile", "_toc.yml")
SKIPPED = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
SECONDS = 300  # a fault that makes the tests run longer than this counts as caught


@dataclass(frozen=True)
class Mutant:
    """One fault: in `file`, `new` stands for `old`; `tests` are to notice."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}: {self.old.strip()}  ->  {self.new.strip()}"


def parse(block: str) -> Mutant:
    """Return the fault that a block of mutants.txt describes.

    Raises
    ------
    SystemExit
        Where the block is malformed, or its text does not stand exactly once in its file.
    """
    file, *rest = block.splitlines()
    marks = {line[0]: line[2:] for line in rest if line[1:2] == " "}
    if not {"-", "+"} <= set(marks) <= {"-", "+", "!"} or len(marks) != len(rest):
        raise SystemExit(f"mutants.txt: a block needs a file, one '- ' and one '+ ' line: {block}")
    path = Path(file)
    mirror = Path("tests", *path.parts[1:-1], f"test_{path.name}")
    tests = tuple(marks.get("!", str(mirror)).split())
    if not (ROOT / file).is_file():
        raise SystemExit(f"mutants.txt: {file} does not exist.")
    if missing := [test for test in tests if not (ROOT / test.split("::")[0]).exists()]:
        raise SystemExit(f"mutants.txt: {missing[0]} does not exist.")
    times = (ROOT / file).read_text("utf-8").count(marks["-"])
    if times != 1:
        raise SystemExit(f"mutants.txt: {marks['-']!r} stands {times} times in {file}, not once.")
    return Mutant(file, marks["-"], marks["+"], tests)


def read() -> list[Mutant]:
    """Return the faults of mutants.txt; lines that start with # are comments."""
    lines = (ROOT / "tests" / "mutants.txt").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    return [parse(block.strip("\n")) for block in text.split("\n\n") if block.strip()]


def run(tests: Sequence[str], mutant: Mutant | None = None) -> int | None:
    """Return pytest's exit status in a copy that holds the fault; None where it took too long."""
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(folder, name), ignore=SKIPPED)
            elif (ROOT / name).exists():
                shutil.copy2(ROOT / name, folder)
        if mutant:
            file = Path(folder, mutant.file)
            source = file.read_text("utf-8").replace(mutant.old, mutant.new)
            file.write_text(source, encoding="utf-8")
        # The copy stands first on the path, so that it is what gets imported.
        environment = os.environ | {"PYTHONPATH": folder, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow"]
        command += ["-p", "no:cacheprovider", *tests]
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return None
        return done.returncode


def main() -> int:
    """Try every fault; return the exit status."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    mutants = [mutant for mutant in read() if word in str(mutant)]
    if not mutants:
        raise SystemExit(f"mutants.txt has no fault that contains {word!r}.")
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    if run(tests) != 0:
        raise SystemExit("The tests fail without any fault; mend that first.")
    survivors = []
    with ThreadPoolExecutor(2) as pool, tqdm(total=len(mutants), desc="mutants") as bar:
        futures = {pool.submit(run, mutant.tests, mutant): mutant for mutant in mutants}
        for future in as_completed(futures):
            bar.update()
            # 1: a test failed. Anything else (0: none did; 2: it does not even import) is no catch.
            if future.result() not in (1, None):
                survivors.append((futures[future], future.result()))
    for mutant, status in survivors:
        print(f"not caught (pytest said {status}): {mutant}")
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} mutants caught")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
