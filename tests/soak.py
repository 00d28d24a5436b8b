"""Break a study in every way that a computer can, and see that nothing is lost.

Run as ``python tests/soak.py [--short] [--seed N] [word]``: a line for each fault says what
happened.  ``tests/test_soak.py`` runs the short form.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import lru_cache
from pathlib import Path
from unittest import mock

import mgcore.__main__ as command
from mgcore.lab import Protocol, Record, RecordError
from mgcore.lab.study import metric_hash, run_trial

ROOT = Path(__file__).resolve().parents[1]
SIZES = {
    "n_coarse": 64, "n_fine": 64, "n_validation": 12, "coarse_epochs": 6, "fine_epochs": 6,
    "batch": 8, "subset": 8, "resolution": 8, "dtype": "float64", "dataset": "strokes",
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
import mgcore.__main__ as command
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
        assert metric_hash(Record(self.record).trials(trials)) == whole(trials, self.protocol)

    def whole_files(self) -> int:
        """Return how many trials are there; every file must be whole."""
        if not (self.record / "protocol.json").exists():
            return 0
        record = Record(self.record)
        if record.has_arrays():
            record.arrays()
        return len([record.trial(n) for n in record.numbers()]) + 0 * len(record.canary or {})


@lru_cache
def whole(trials: int, protocol: Protocol) -> str:
    """Return the metric hash of a run without any fault."""
    return metric_hash([_trial(n, protocol) for n in range(trials)])


@lru_cache
def _trial(number: int, protocol: Protocol) -> dict:
    return {"trial": number, "metrics": run_trial(protocol, number)["metrics"]}


def one_sentence(said: str, *words: str) -> str:
    """Return a complaint, which must be one line of the program's own, with the words in it."""
    lines = [line for line in said.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("mgcore: "), said
    assert all(word in said for word in words), said
    return lines[0]


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


def kills(folder: Path, draw: random.Random, short: bool) -> str:
    """kill -9 at random moments."""
    place, count, killed = Place(folder), 3 if short else 20, 0
    began = time.monotonic()
    assert place.run(1)[0] == 0
    takes = time.monotonic() - began  # start-up and one trial
    moments = []
    while killed < count:
        there = place.whole_files()
        process = place.start(there + 2, workers=draw.choice([1, 2]))
        moments.append(draw.uniform(0.2, 2 * takes))
        try:
            process.wait(moments[-1])
            process.communicate()
        except subprocess.TimeoutExpired:
            # The caller alone, or its workers with it.
            draw.choice([os.kill, os.killpg])(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdout, process.stderr):
                pipe.close()  # workers that live on a moment hold them open
            killed += 1
        assert place.whole_files() >= there
    trials = place.whole_files() + 1
    place.finish(trials)
    return f"{killed} kills in {trials} trials: every file whole each time, then equal metrics"


def two_processes(folder: Path, draw: random.Random, short: bool) -> str:
    """Two processes on one record, and one of them killed on the way."""
    place, trials = Place(folder), 4 if short else 12
    pair = [place.start(trials), place.start(trials)]
    if not short:
        wait_for(lambda: len(list(place.record.glob("trial-*.json"))) >= 2, pair[0])
        pair[1].kill()
    said = [process.communicate(timeout=600)[1] for process in pair]
    assert pair[0].returncode == 0, said
    assert short is (pair[1].returncode == 0), said
    place.finish(trials)
    return f"{trials} trials by two{'' if short else ', one of them killed'}: equal metrics"


def full_record(folder: Path, draw: random.Random, short: bool) -> str:
    """The disk of the record fills."""
    with disk(folder / "disk", "2m") as small:
        place = Place(folder)
        place.record = small / "record"
        place.finish(1)
        filler = fill(small, 4096 * (3 if short else 5))
        status, said = place.run_here(6)
        assert status == 2
        sentence = one_sentence(said, "record: ", "No space left on device", "is kept")
        there = place.whole_files()
        assert there >= 1
        filler.unlink()
        place.finish(6)
    return f"{there} of 6 trials kept, the rest after room was made; said: {sentence}"


def full_cache(folder: Path, draw: random.Random, short: bool) -> str:
    """The disk of the checkpoints fills."""
    with disk(folder / "disk", "8m") as small:
        place = Place(folder)
        place.environment["MGCORE_CACHE"] = str(small)
        filler = fill(small, 2 << 20)
        status, said = place.run_here(2)
        assert status == 2
        sentence = one_sentence(said, "cache: ", "No space left on device", "MGCORE_CACHE")
        kept = len(list(small.glob("*.npz")))
        assert kept >= 1
        filler.unlink()
        place.finish(2)
    return f"{kept} networks kept, the rest after room was made; said: {sentence}"


def full_tmp(folder: Path, draw: random.Random, short: bool) -> str:
    """/tmp is full."""
    with disk(folder / "disk", "1m") as small:
        place = Place(folder)
        fill(small, 0)
        for name in ("TMPDIR", "TEMP", "TMP", "JOBLIB_TEMP_FOLDER"):
            place.environment[name] = str(small)
        status, said = place.run(2, workers=2)
        if status:
            one_sentence(said)
        else:
            assert "Traceback" not in said, said
        happened = "refused: " + said.strip() if status else "two workers finished all the same"
        place.environment = Place(folder).environment
        place.finish(2)
    return happened


def read_only(folder: Path, draw: random.Random, short: bool) -> str:
    """The record may not be written."""
    with disk(folder / "disk", "2m") as small:
        place = Place(folder)
        place.record = small / "record"
        place.finish(1)
        files = {f.name: f.read_bytes() for f in place.record.iterdir()}
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        place.finish(1)  # nothing is missing, so nothing need be written
        status, said = place.run_here(2)
        assert status == 2
        sentence = one_sentence(said, "record: ", "Read-only file system")
        assert files == {f.name: f.read_bytes() for f in place.record.iterdir()}
        subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
        place.finish(2)
    return f"read as ever, nothing changed; said: {sentence}"


def clock(folder: Path, draw: random.Random, short: bool) -> str:
    """The clock jumps by years, and files are dated 1971 and 2100."""
    place = Place(folder)
    process = place.start(2, clock=True)
    wait_for(lambda: len(list(place.cache.glob("*.npz"))) >= 2, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for file in [f for f in folder.rglob("*") if f.is_file()]:
        stamp = draw.choice([3.2e7, 4.1e9])
        os.utime(file, (stamp, stamp))
    assert place.run(2, clock=True)[0] == 0
    place.finish(2)
    return "resumed from what was dated otherwise, equal metrics"


def signals(folder: Path, draw: random.Random, short: bool) -> str:
    """SIGINT and SIGTERM."""
    sizes = {"resolution": 28, "n_fine": 2000, "n_coarse": 2000, "fine_epochs": 20}
    slowest = 0.0
    cases = [(s, w) for s in (signal.SIGINT, signal.SIGTERM) for w in (1, 2)]
    for number, (which, workers) in enumerate(cases[1::2] if short else cases * 2):
        place = Place(folder / str(number), TINY.changed(**sizes))
        process = place.start(4, workers)
        wait_for(lambda p=place: any(p.cache.glob("*.npz")), process)
        time.sleep(draw.uniform(0, 1))
        began = time.monotonic()
        # As a terminal does, to all of the group; or to the caller alone.
        draw.choice([os.kill, os.killpg])(process.pid, which)
        _, said = process.communicate(timeout=60)
        slowest = max(slowest, time.monotonic() - began)
        assert process.returncode == 130, (process.returncode, said)
        one_sentence(said, "stopped; what was finished is kept")
        place.whole_files()
        assert any(place.cache.glob("*.npz"))
    assert slowest < 5
    return f"{number + 1} stops, the slowest after {slowest:.1f} s, every file whole"


def damage(folder: Path, draw: random.Random, short: bool) -> str:
    """Every file of a record truncated and bit-flipped in turn."""
    place, tried = Place(folder), {"refused": 0, "computed again": 0}
    place.finish(2)
    names = sorted(f.name for f in place.record.iterdir())
    for name in names:
        for kind in ("truncated", "flipped"):
            for _ in range(1 if short else 8):
                file, content = place.record / name, bytearray((place.record / name).read_bytes())
                spot = draw.randrange(len(content) - 2)
                if kind == "truncated":
                    del content[spot:]
                else:
                    content[spot] ^= 1 << draw.randrange(8)
                good = file.read_bytes()
                file.write_bytes(bytes(content))
                try:
                    place.whole_files()
                except RecordError as error:
                    assert name.split(".")[0] in str(error) and "\n" not in str(error)
                else:
                    raise AssertionError(f"{name}, {kind} at {spot}, went unnoticed")
                status, said = place.run_here(2)
                if status:
                    one_sentence(said, name)
                    file.write_bytes(good)
                else:
                    assert str(place.record) in said and "runs again" in said
                tried["refused" if status else "computed again"] += 1
                place.finish(2)
    return (
        f"{len(names)} files, each time noticed and named: "
        + ", ".join(f"{count} {what}" for what, count in tried.items())
    )


def damaged_checkpoints(folder: Path, draw: random.Random, short: bool) -> str:
    """Every checkpoint truncated or bit-flipped after a kill."""
    place, count = Place(folder), 0
    for _ in range(1 if short else 8):
        shutil.rmtree(place.record, ignore_errors=True)
        process = place.start(2)
        wait_for(lambda: len(list(place.cache.glob("fine-*.npz"))) >= 2, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for file in place.cache.glob("*.npz"):
            content = bytearray(file.read_bytes())
            if draw.random() < 0.5:
                del content[draw.randrange(len(content)) :]
            else:
                content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            file.write_bytes(bytes(content))
            count += 1
        place.finish(2)
    return f"{count} damaged, computed again or as they were, equal metrics"


FAULTS = [
    kills, two_processes, full_record, full_cache, full_tmp, read_only, clock, signals, damage,
    damaged_checkpoints,
]  # fmt: skip


def main() -> int:
    """Make every fault; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="as make test does")
    parser.add_argument("--seed", type=int, default=None, help="of the random moments")
    parser.add_argument("word", nargs="?", default="", help="only faults whose name contains it")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    bad = 0
    for fault in (f for f in FAULTS if options.word in f.__name__):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                happened = fault(Path(folder), random.Random(seed), options.short)
            except Skip as reason:
                happened = f"SKIPPED: {reason}"
            except (AssertionError, RecordError, subprocess.SubprocessError) as error:
                happened, bad = f"LOST SOMETHING: {error}", bad + 1
        took = time.monotonic() - began
        print(f"{fault.__doc__}\n    {happened} [{took:.0f} s]", flush=True)
    print("nothing lost" if not bad else f"{bad} faults lost something")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
