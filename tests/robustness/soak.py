"""Break a study in every way that a computer can, and see that nothing is lost.

Run as ``python tests/robustness/soak.py [--short] [--seed N] [word]``: a line for each fault says
what happened.  ``tests/robustness/test_soak.py`` runs the short form.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from breakable import TINY, Place, Skip, crowded, disk, fill, one_sentence, wait_for

from mgcore.lab import RecordError
from mgcore.lab.records.files import read_json, write_json
from mgcore.lab.run.workers import here_and_now


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
        assert status or "Traceback" not in said, said
        happened = one_sentence(said) if status else "two workers finished all the same"
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
    wait_for(lambda: any(place.cache.glob("fine-*.npz")), process)
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
    long, slowest = TINY.changed(coarse_epochs=10_000, fine_epochs=10_000), 0.0
    cases = [(s, w) for s in (signal.SIGINT, signal.SIGTERM) for w in (1, 2)]
    for number, (which, workers) in enumerate(cases[1::2] if short else cases * 2):
        place = Place(folder / str(number), long)
        process = place.start(4, workers)
        wait_for(lambda p=place: any(p.cache.glob("*.npz")), process)
        time.sleep(draw.uniform(0, 1))
        began = time.monotonic()
        # As a terminal does, to all of the group; or to the caller alone.
        draw.choice([os.kill, os.killpg])(process.pid, which)
        _, said = process.communicate(timeout=60)
        slowest = max(slowest, (time.monotonic() - began) / crowded())
        assert process.returncode == 130, (process.returncode, said)
        one_sentence(said, "stopped; ", "the same command goes on from there")
        place.whole_files()
        assert any(place.cache.glob("*.npz"))
    assert slowest < 5, f"the slowest took {slowest:.1f} s"
    return f"{number + 1} stops, the slowest after {slowest:.1f} s of an own core, every file whole"


def damage(folder: Path, draw: random.Random, short: bool) -> str:
    """Every file of a record truncated and bit-flipped in turn."""
    place, tried = Place(folder), {"refused": 0, "computed again": 0}
    place.finish(2)
    names = sorted(f.name for f in place.record.iterdir())
    for name in names:
        for kind in ("truncated", "flipped"):
            for _ in range(1 if short else 8):
                file = place.record / name
                good = file.read_bytes()
                spot = draw.randrange(len(good) - 2)
                flipped = bytes([good[spot] ^ 1 << draw.randrange(8)]) + good[spot + 1 :]
                file.write_bytes(good[:spot] + flipped * (kind == "flipped"))
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
    outcomes = ", ".join(f"{count} {what}" for what, count in tried.items())
    return f"{len(names)} files, each time noticed and named: {outcomes}"


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
            good = file.read_bytes()
            spot = draw.randrange(len(good))
            flipped = bytes([good[spot] ^ 1 << draw.randrange(8)]) + good[spot + 1 :]
            file.write_bytes(good[:spot] + flipped * draw.randrange(2))
            count += 1
        place.finish(2)
    return f"{count} damaged, computed again or as they were, equal metrics"


FAULTS = [kills, two_processes, full_record, full_cache, full_tmp, read_only, clock, signals]
FAULTS += [damage, damaged_checkpoints]


def keep(file: Path, told: dict[str, dict]) -> None:
    """Write what happened, beside what an earlier run says of the faults that this one left out."""
    before = read_json(file)["faults"] if file.exists() else []
    told = {one["fault"]: {k: v for k, v in one.items() if k != "fault"} for one in before} | told
    found = [{"fault": f.__doc__, **told[f.__doc__]} for f in FAULTS if f.__doc__ in told]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"faults": found} | here_and_now())


def main() -> int:
    """Make every fault; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="as make test does")
    parser.add_argument("--seed", type=int, default=None, help="of the random moments")
    parser.add_argument("--json", type=Path, help="file to keep what happened in, for the page")
    parser.add_argument("word", nargs="?", default="", help="only faults whose name contains it")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    bad, told = 0, {}
    for fault in (f for f in FAULTS if options.word in f.__name__):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                happened = fault(Path(folder), random.Random(seed), options.short)
            except Skip as reason:
                happened = f"SKIPPED: {reason}"
            except (AssertionError, RecordError, subprocess.SubprocessError) as error:
                happened, bad = f"LOST SOMETHING: {error}", bad + 1
        happened = happened.replace(folder, "…")  # where it lay says nothing
        took = time.monotonic() - began
        told[fault.__doc__] = {"happened": happened, "seconds": round(took, 1), "seed": seed}
        print(f"{fault.__doc__}\n    {happened} [{took:.0f} s]", flush=True)
    if options.json:
        keep(options.json, told)
    print("nothing lost" if not bad else f"{bad} faults lost something")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
