"""Grade a folder of submissions: a process with a time limit for each, the checks in this one."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import mgcore
from mgcore.lab.classroom.checks import EXERCISES, Verdict, judge
from mgcore.lab.classroom.submission import code_cells
from mgcore.lab.records.files import write_atomically

LARGEST = 64 * 2**20  # bytes of one answer; the networks of the lab have a tenth


@dataclass(frozen=True)
class Grade:
    """The verdicts on one submission.

    Attributes
    ----------
    submission : str
        The path of the notebook in the graded folder, without its suffix.
    verdicts : tuple of Verdict
        One for each exercise, in order.
    seconds : float
        How long the submission ran.
    """

    submission: str
    verdicts: tuple[Verdict, ...]
    seconds: float

    @property
    def right(self) -> int:
        """Return the number of right answers."""
        return sum(verdict.right for verdict in self.verdicts)


def submissions(folder: Path) -> list[Path]:
    """Return the notebooks in a folder and in the folders in it.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = [*folder.glob("*.ipynb"), *folder.glob("*/*.ipynb")]
    found = sorted(file for file in found if not file.parent.name.startswith("."))
    if not found:
        raise ValueError(f"{folder} holds no notebook. Give the folder of the submissions.")
    return found


def grade(notebook: Path, name: str, limit: float, stop: threading.Event) -> Grade:
    """Run one submission for at most `limit` seconds, or until `stop`, and judge its answers."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work, "answers")
        folder.mkdir()
        try:
            code_cells(notebook)
            # A copy: its path does not lead to the other submissions.
            copied = Path(shutil.copy(notebook, Path(work, "submission.ipynb")))
            reason = _run(copied, folder, Path(work), limit, stop)
        except ValueError as error:
            reason = str(error)
        verdicts = tuple(_verdict(exercise, folder, reason) for exercise in EXERCISES)
    return Grade(name, verdicts, time.monotonic() - began)


def _run(notebook: Path, folder: Path, work: Path, limit: float, stop: threading.Event) -> str:
    """Run a submission in `work`; return why it did not reach its end, or an empty string."""
    deadline = time.monotonic() + limit
    # -P: a file mgcore.py or numpy.py beside the submission is not imported.
    command = [sys.executable, "-P", "-m", "mgcore.lab.classroom.submission"]
    own = str(Path(mgcore.__file__).resolve().parents[1])
    process = subprocess.Popen(
        [*command, str(notebook), str(folder)], cwd=work, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=os.name != "nt",
        env=os.environ | {"PYTHONPATH": own, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
    )  # fmt: skip
    try:
        while (status := process.poll()) is None and time.monotonic() < deadline:
            stop.wait(0.05)
            if stop.is_set():
                break
    finally:
        _end(process)
    if status is None:
        return f"Code cell {_cell(folder)} was still running at the time limit of {limit:g} s."
    return f"Python itself stopped in code cell {_cell(folder)} (status {status})." * bool(status)


def _cell(folder: Path) -> str:
    """Return the number of the code cell that ran last."""
    file = folder / "cell.txt"
    return file.read_text("utf-8") if file.exists() else "1"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a submission's process and those that it started."""
    if os.name != "nt":
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.kill()
    process.wait()


def _verdict(exercise: int, folder: Path, reason: str) -> Verdict:
    """Judge the answer to one exercise that a submission's process left in `folder`."""
    arrays, written = folder / f"answer-{exercise}.npz", folder / f"answer-{exercise}.txt"
    if arrays.exists():
        try:
            if arrays.stat().st_size > LARGEST:
                raise ValueError
            with np.load(arrays, allow_pickle=False) as content:
                return judge(exercise, dict(content))
        except (ValueError, OSError, EOFError, zipfile.BadZipFile):
            return Verdict(exercise, False, "The answer cannot be read, or it is too large.")
    if written.exists():
        return Verdict(exercise, False, written.read_text("utf-8", errors="replace"))
    names = " and ".join(f"`{name}`" for name in EXERCISES[exercise].readers)
    return Verdict(exercise, False, reason or f"No answer: no cell assigns {names}.")


def grade_folder(
    folder: Path, limit: float, workers: int = 1, progress: Callable[[str], None] | None = None
) -> list[Grade]:
    """Return the grades of all submissions in a folder, in the order of their names.

    Parameters
    ----------
    folder : Path
    limit : float
        Seconds for each submission.
    workers : int
        How many submissions run at once.
    progress : callable, optional
        Called with the name of each submission that has run.
    """
    stop = threading.Event()

    def one(notebook: Path) -> Grade:
        name = notebook.relative_to(folder).with_suffix("").as_posix()
        found = grade(notebook, name, limit, stop)
        if progress:
            progress(name)
        return found

    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(one, notebook) for notebook in submissions(folder)]
        try:
            return [future.result() for future in waiting]
        except BaseException:  # Ctrl-C too: end what runs, start nothing else
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def table(grades: Iterable[Grade]) -> str:
    """Return a row for each submission, and below a sentence for each answer that is not right."""
    grades = list(grades)
    width = max(len("submission"), *(len(one.submission) for one in grades))
    heads = "".join(f"{exercise:>3}" for exercise in EXERCISES)
    lines = [f"{'submission':<{width}}{heads}  right  seconds"]
    for one in grades:
        marks = "".join(f"{'+' if verdict.right else '-':>3}" for verdict in one.verdicts)
        score = f"{one.right}/{len(EXERCISES)}"
        lines.append(f"{one.submission:<{width}}{marks}  {score:>5}  {one.seconds:>7.1f}")
    for one in grades:
        for verdict in one.verdicts:
            if not verdict.right:
                lines.append(f"{one.submission}, exercise {verdict.exercise}: {verdict.sentence}")
    return "\n".join(lines)


def write_csv(file: Path, grades: Iterable[Grade]) -> None:
    """Write a row for each submission, with 1 for a right answer and 0 for any other."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["submission", *(f"exercise {e}" for e in EXERCISES), "right", "seconds"])
    for one in grades:
        marks = [int(verdict.right) for verdict in one.verdicts]
        rows.writerow([one.submission, *marks, one.right, f"{one.seconds:.1f}"])
    write_atomically(file, text.getvalue().encode(), "file of grades")


def write_json(file: Path, grades: Iterable[Grade]) -> None:
    """Write every verdict with its sentence."""
    found = [asdict(one) | {"right": one.right} for one in grades]
    text = json.dumps({"submissions": found}, indent=1, ensure_ascii=False) + "\n"
    write_atomically(file, text.encode(), "file of grades")
