"""A small study that can be broken: its record, its processes, the disks that it lies on."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import lru_cache
from pathlib import Path
from unittest import mock

import mgcore.lab.cli as command
from mgcore.lab import Protocol, Record
from mgcore.lab.run.workers import settled_within
from mgcore.lab.trial.trial import metric_hash, run_trial

ROOT = Path(__file__).resolve().parents[2]
SIZES = {
    "n_coarse": 64, "n_fine": 64, "n_validation": 12, "coarse_epochs": 6, "fine_epochs": 6,
    "batch": 8, "subset": 8, "resolution": 8, "dtype": "float32", "dataset": "strokes",
    "tier": "smoke", "learning_rate": 0.02, "name": "tiny",
}  # fmt: skip
TINY = Protocol(**SIZES)
# The command line on the protocol that is given; the clock jumps a year at every look, if asked.
SCRIPT = """
import json, sys, time
about = json.loads(sys.argv[1])
if about["clock"]:
    real, looks = time.time, []
    time.time = lambda: real() + (looks.append(1) or 3.2e7 * (len(looks) % 3 - 1))
import mgcore.lab.cli as command
from mgcore.lab import Protocol
command.study_protocol = lambda *_: Protocol.from_json(about["protocol"])
sys.exit(command.main(about["arguments"]))
"""


class Skip(Exception):
    """A fault that this machine does not let us make; the message says which permission lacks."""


class Place:
    """A record, a cache, and the processes that work on them."""

    def __init__(self, folder: Path, protocol: Protocol = TINY) -> None:
        self.folder, self.protocol = folder, protocol
        self.record, self.cache = folder / "record", folder / "cache"
        self.environment = {"MGCORE_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"}

    def start(self, trials: int, workers: int = 1, clock: bool = False) -> subprocess.Popen[str]:
        arguments = self.arguments(trials, workers)
        about = {"protocol": self.protocol.to_json(), "arguments": arguments, "clock": clock}
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, json.dumps(about)], cwd=ROOT, text=True,
            env=os.environ | self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def run(self, trials: int, workers: int = 1, clock: bool = False) -> tuple[int, str]:
        """Run to the end in another process; return the exit status and the complaint."""
        process = self.start(trials, workers, clock)
        _, said = process.communicate(timeout=900)
        return process.returncode, said

    def run_here(self, trials: int) -> tuple[int, str]:
        """Do the same in this process, which has no start-up to pay for."""
        said, before = io.StringIO(), signal.getsignal(signal.SIGTERM)
        with (
            mock.patch.object(command, "study_protocol", lambda *_: self.protocol),
            mock.patch.dict(os.environ, self.environment),
            redirect_stderr(said), redirect_stdout(io.StringIO()),
        ):  # fmt: skip
            status = command.main(self.arguments(trials))
        signal.signal(signal.SIGTERM, before)
        return status, said.getvalue()

    def arguments(self, trials: int, workers: int = 1) -> list[str]:
        given = ["run", "baseline-original", "--trials", str(trials), "--device", "cpu"]
        return given + ["--workers", str(workers), "--record", str(self.record), "--quiet"]

    def finish(self, trials: int) -> None:
        """Run to the end, and see that the metrics are those of a run without any fault."""
        status, said = self.run_here(trials)
        assert status == 0, said
        metrics = metric_hash(Record(self.record).trials(trials))
        assert metrics == whole(trials, self.protocol), "the metrics are not those without a fault"

    def whole_files(self) -> int:
        """Return how many trials are there; every file must be whole."""
        if not (self.record / "protocol.json").exists():
            return 0
        record = Record(self.record)
        if record.has_arrays():
            record.arrays()
        return len([record.trial(n) for n in record.numbers()]) + 0 * len(record.fingerprint or {})


@lru_cache
def whole(trials: int, protocol: Protocol) -> str:
    """Return the metric hash of a run without any fault."""
    return metric_hash([_trial(n, protocol) for n in range(trials)])


@lru_cache
def _trial(number: int, protocol: Protocol) -> dict:
    with settled_within():  # as a worker computes, whose single precision depends on its threads
        return {"trial": number, "metrics": run_trial(protocol, number)["metrics"]}


def one_sentence(said: str, *words: str) -> str:
    """Return a complaint, which must be one line of the program's own, with the words in it."""
    lines = [line for line in said.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("mgcore: "), said
    assert all(word in said for word in words), said
    return lines[0]


def crowded() -> float:
    """Return how much longer work takes here than on a core of its own, by a fifth of a second."""
    wall, own = time.monotonic(), time.process_time()
    while time.process_time() - own < 0.2:
        pass
    return max(1.0, (time.monotonic() - wall) / 0.2)


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of that size."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        raise Skip("no file system may be mounted here (needs root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Fill a disk up but for some bytes; return the file that does."""
    file = folder / "filler"
    file.write_bytes(b"x" * (os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize - leave))
    return file


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until `condition` holds while `process` is at work."""
    limit = time.monotonic() + 300
    while not condition():
        assert process.poll() is None and time.monotonic() < limit, process.communicate()[1]
        time.sleep(0.01)
