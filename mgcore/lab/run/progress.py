"""How far a study is: a bar on a terminal, plain lines elsewhere, nothing where quiet is asked for.

Workers write what they have done into small files beside the claims; the caller reads them twice a
second.  Nothing of it decides anything: a file that cannot be written is done without.
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
from mgcore.lab.run.locks import Claims
from mgcore.lab.trial.work import image_steps

LOOK = 0.5  # seconds between two looks
TRAINING = 0.9  # share of a trial; what its networks are measured for comes after it
SAY = 60.0  # seconds between two lines, where no trial ends meanwhile


class Ticker:
    """What a worker says of its trial: the image-steps done, and the network in training."""

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
            self.file.write_text(f"{int(self.done)} {self.network}")
        except OSError:
            pass  # a full disk, or a worker on another machine: the trial matters, not this


class Watch:
    """What is known of a study under way.

    Attributes
    ----------
    trials : int
        How many it will have.
    finished : int
        How many of them are in the record.
    share : float
        Trials done, those under way in part.
    """

    def __init__(self, protocol: Protocol, record: Record, trials: int, claims: Claims) -> None:
        self.record, self.trials, self.claims = record, trials, claims
        self.each = image_steps(protocol)
        self.finished, self.share, self.running = 0, 0.0, ""
        self.accuracies: dict[int, dict[str, float]] = {}
        self.look()
        self.began, self.before = time.monotonic(), self.share

    def look(self) -> None:
        """Look again."""
        numbers = [n for n in self.record.numbers() if n < self.trials]
        under_way = {n: said for n, said in self.claims.under_way().items() if n not in numbers}
        parts = TRAINING * sum(min(done / self.each, 1.0) for done, _ in under_way.values())
        self.finished, self.share = len(numbers), min(len(numbers) + parts, self.trials)
        self.running = ", ".join(f"{n} {name}".strip() for n, (_, name) in under_way.items())
        for number in numbers:
            if number not in self.accuracies:
                self.accuracies[number] = self._accuracies(number)

    def _accuracies(self, number: int) -> dict[str, float]:
        """Return the last validation accuracy of every arm of a finished trial."""
        try:
            metrics = self.record.trial(number)["metrics"]
            return {
                arm: metrics[arm][-1]["validation_accuracy"] for arm in CONDITIONS if arm in metrics
            }
        except (RecordError, KeyError):
            return {}  # damaged: the study says so and runs it again

    @property
    def stand(self) -> str:
        """How much of the study is done, for whoever stops it."""
        return (
            f"{self.finished} of {self.trials} trials are in {self.record.folder}, "
            f"{self.share / self.trials:.0%} of the work is done"
        )

    @property
    def so_far(self) -> str:
        """Mean validation accuracy of every arm over the trials finished."""
        found = {arm: [a[arm] for a in self.accuracies.values() if arm in a] for arm in CONDITIONS}
        means = [f"{arm} {fmean(values):.1f}" for arm, values in found.items() if values]
        return f"validation {', '.join(means)} %" if means else ""

    @property
    def left(self) -> str:
        """Time left at the pace since the beginning."""
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
def follow(watch: Watch, shown: bool) -> Iterator[None]:
    """Show a study on standard error while the body runs.

    Parameters
    ----------
    watch : Watch
    shown : bool
        False shows nothing.
    """
    if not shown:
        yield
        return
    show = _bar if sys.stderr.isatty() else _lines
    finished = threading.Event()
    thread = threading.Thread(target=show, args=(watch, finished), daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def _bar(watch: Watch, finished: threading.Event) -> None:
    """Redraw one bar that counts trials."""
    layout = "{desc} {percentage:3.0f} %|{bar:16}|{postfix}"
    with tqdm(
        total=watch.trials, bar_format=layout, leave=False, dynamic_ncols=True, file=sys.stderr
    ) as bar:
        while not finished.wait(LOOK):
            watch.look()
            bar.n = watch.share
            name = watch.record.folder.name
            bar.set_description_str(f"{name} {watch.finished}/{watch.trials}", refresh=False)
            parts = (watch.left, watch.running, watch.so_far)
            bar.set_postfix_str("; ".join(part for part in parts if part))


def _lines(watch: Watch, finished: threading.Event) -> None:
    """Print a line at the beginning, when a trial ends, and once a minute."""
    _say(watch)
    said, when = watch.finished, time.monotonic()
    while not finished.wait(LOOK):
        watch.look()
        if watch.finished != said or time.monotonic() - when > SAY:
            _say(watch)
            said, when = watch.finished, time.monotonic()
    watch.look()
    if watch.finished != said:
        _say(watch)


def _say(watch: Watch) -> None:
    """Print where a study stands, and keep it where ``MGCORE_PROGRESS`` asks, for who waits."""
    print(watch, file=sys.stderr, flush=True)
    if kept := os.environ.get("MGCORE_PROGRESS"):
        try:
            Path(kept).write_text(f"{watch}\n", encoding="utf-8")
        except OSError:
            pass  # nobody waits there any more
