"""What every tool of the book does around its work: one at a time, a home, an orderly stop."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from notebooks import ROOT

LOCK = ROOT / "_build" / ".lock"


def until_stopped(main: Callable[[], int]) -> int:
    """Return what `main` does, or 130 and one sentence where Ctrl-C or SIGTERM ended it.

    A second tool in the same checkout waits until the first has ended.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        have_home()
        with alone(LOCK):
            return main()
    except KeyboardInterrupt:
        print(
            "Stopped; chapters and trials that were finished are kept, and the same command goes "
            "on from there.",
            file=sys.stderr,
        )
        return 130


def have_home() -> None:
    """Name a temporary folder as HOME for a user who has none, so that libraries find a place."""
    try:
        Path.home()
    except RuntimeError:  # no HOME, and a user number without an entry in the system's list
        os.environ["HOME"] = tempfile.mkdtemp(prefix="home-")
        print(f"This user has no home folder; {os.environ['HOME']} is used.", file=sys.stderr)


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold a lock on `file`; it is released when the process ends, in whatever way.

    Raises
    ------
    SystemExit
        Where the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        held = open(file, "a", encoding="utf-8")
    except OSError as error:
        raise SystemExit(
            f"{file.parent} cannot be written ({error.strerror}). Copy the project to a folder "
            "that you may write to."
        ) from None
    with held:
        if not _take(held):
            print("Another command is at work in this folder; waiting for it.", file=sys.stderr)
            while not _take(held):
                time.sleep(0.5)
        yield


def _take(file: IO[str]) -> bool:
    """Try to lock an open file; return whether it is locked now."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
