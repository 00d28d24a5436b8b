"""Show the progress of a study: a bar on a terminal, lines elsewhere.

Workers write the work done into small files beside the locks; the caller reads them twice a second.
No result depends on these files: an error in writing one is ignored.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

from tqdm import tqdm

from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.lab.records.files import RecordError
from mgcore.lab.records.record import Record
from mgcore.lab.run.locks import TrialLocks
from mgcore.lab.trial.work import image_steps

UPDATE = 0.5  # seconds between two updates
TRAINING = 0.9  # share of training in a trial; measuring the networks comes after it
LINE = 60.0  # seconds between two lines while no trial ends


class ProgressFile:
    """The file in which a worker writes a trial's image-steps done and the network in training."""

    def __init__(self, file: Path, network: str = "") -> None:
        self.file, self.done, self.network = file, 0.0, network

    def __call__(self, work: float) -> None:
        """Add image-steps."""
        self.done += work
        self._write()

    def begin(self, network: str) -> None:
        """Name the network whose training begins."""
        self.network = network
        self._write()

    def _write(self) -> None:
        try:
            self.file.write_text(f"{int(self.done)} {self.network}", encoding="utf-8")
        except OSError:
            pass  # a full disk, or a worker on another machine; the trial goes on


class StudyProgress:
    """The progress of a study that is running.

    Attributes
    ----------
    trials : int
        Number of trials when the study is done.
    finished : int
        Number of trials in the record.
    share : float
        Trials done, counting running trials in part.
    """

    def __init__(self, protocol: Protocol, record: Record, trials: int, locks: TrialLocks) -> None:
        self.record, self.trials, self.locks = record, trials, locks
        self.each = image_steps(protocol)
        self.finished, self.share, self.running = 0, 0.0, ""
        self.accuracies: dict[int, dict[str, float]] = {}
        self.update()
        self.began, self.before = time.monotonic(), self.share

    def update(self) -> None:
        """Read the record and the progress files again."""
        numbers = [n for n in self.record.numbers() if n < self.trials]
        under_way = {n: s for n, s in self.locks.under_way().items() if n not in numbers}
        parts = TRAINING * sum(min(done / self.each, 1.0) for done, _ in under_way.values())
        self.finished, self.share = len(numbers), min(len(numbers) + parts, self.trials)
        self.running = ", ".join(f"{n} {name}".strip() for n, (_, name) in under_way.items())
        for number in numbers:
            if number not in self.accuracies:
                self.accuracies[number] = self._accuracies(number)

    def _accuracies(self, number: int) -> dict[str, float]:
        """Return the last validation accuracy of every condition of a finished trial."""
        try:
            metrics = self.record.trial(number)["metrics"]
            return {c: metrics[c][-1]["validation_accuracy"] for c in CONDITIONS if c in metrics}
        except (RecordError, KeyError):
            return {}  # damaged: the study reports it and runs the trial again

    @property
    def summary(self) -> str:
        """How much of the study is done, in words."""
        return (
            f"{self.finished} of {self.trials} trials are in {self.record.folder}, "
            f"{self.share / self.trials:.0%} of the work is done"
        )

    @property
    def so_far(self) -> str:
        """Mean validation accuracy of every condition over the finished trials."""
        found = {c: [a[c] for a in self.accuracies.values() if c in a] for c in CONDITIONS}
        means = [f"{c} {fmean(values):.1f}" for c, values in found.items() if values]
        return f"validation {', '.join(means)} %" if means else ""

    @property
    def left(self) -> str:
        """Time left at the mean speed so far."""
        done, spent = self.share - self.before, time.monotonic() - self.began
        if done <= 0 or spent < 1:
            return ""
        seconds = spent * (self.trials - self.share) / done
        return f"{tqdm.format_interval(seconds)} left"

    def __str__(self) -> str:
        running = f"running {self.running}" if self.running else ""
        parts = [f"{self.finished} of {self.trials} trials", running, self.so_far, self.left]
        return f"{self.record.folder.name}: {'; '.join(part for part in parts if part)}"


@contextmanager
def show_progress(state: StudyProgress, shown: bool) -> Iterator[None]:
    """Show the progress of a study on standard error while the body runs.

    Parameters
    ----------
    state : StudyProgress
    shown : bool
        False shows nothing.
    """
    if not shown:
        yield
        return
    show = _bar if sys.stderr.isatty() else _lines
    finished = threading.Event()
    thread = threading.Thread(target=show, args=(state, finished), daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def _bar(state: StudyProgress, finished: threading.Event) -> None:
    """Redraw one bar that counts trials."""
    layout = "{desc} {percentage:3.0f} %|{bar:16}|{postfix}"
    with tqdm(
        total=state.trials, bar_format=layout, leave=False, dynamic_ncols=True, file=sys.stderr
    ) as bar:
        while not finished.wait(UPDATE):
            state.update()
            bar.n = state.share
            name = state.record.folder.name
            bar.set_description_str(f"{name} {state.finished}/{state.trials}", refresh=False)
            parts = (state.left, state.running, state.so_far)
            bar.set_postfix_str("; ".join(part for part in parts if part))


def _lines(state: StudyProgress, finished: threading.Event) -> None:
    """Print a line at the start, when a trial ends, and once a minute."""
    _print(state)
    printed, when = state.finished, time.monotonic()
    while not finished.wait(UPDATE):
        state.update()
        if state.finished != printed or time.monotonic() - when > LINE:
            _print(state)
            printed, when = state.finished, time.monotonic()
    state.update()
    if state.finished != printed:
        _print(state)


def _print(state: StudyProgress) -> None:
    """Print the progress, and write it to the file that ``MGCORE_PROGRESS`` names, if it is set."""
    print(state, file=sys.stderr, flush=True)
    if file := os.environ.get("MGCORE_PROGRESS"):
        try:
            Path(file).write_text(f"{state}\n", encoding="utf-8")
        except OSError:
            pass  # the reader of the file is gone
