"""What every tool of the book does around its work: one at a time, a home, an orderly stop."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from notebooks import ROOT

from mgcore.lab.cli import stop_on_signals

LOCK = ROOT / "_build" / ".lock"


def until_stopped(main: Callable[[], int]) -> int:
    """Return what `main` does, or 130 and one sentence where Ctrl-C or SIGTERM ended it.

    A second tool in the same checkout waits until the first has ended.
    """
    stop_on_signals()
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
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        print("Another command is at work in this folder; waiting for it.", file=sys.stderr)
        lock.acquire()
    except OSError as error:
        raise SystemExit(
            f"{file.parent} cannot be written ({error.strerror}). Copy the project to a folder "
            "that you may write to."
        ) from None
    try:
        yield
    finally:
        lock.release()
