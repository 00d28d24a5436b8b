"""Claims on trials: which process runs which, so that two on one record never run one twice."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from pathlib import Path

from mgcore.lab.records.files import unwritable


class Claims:
    """File locks on trials, held by the process that runs them and freed by its death."""

    def __init__(self, folder: Path, record: Path) -> None:
        self.name = hashlib.sha256(str(record.resolve()).encode()).hexdigest()[:12]
        self.folder = folder
        self.held: dict[int, int] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable("cache", folder, error) from None

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        self.release_all()

    def _file(self, number: int, kind: str) -> Path:
        return self.folder / f"{self.name}-{number}.{kind}"

    def progress_file(self, number: int) -> Path:
        """Return the file in which the worker of a trial writes how far it is."""
        return self._file(number, "progress")

    def take(self, number: int) -> bool:
        """Claim a trial; False if another process has it."""
        file = self._file(number, "lock")
        try:
            handle = os.open(file, os.O_CREAT | os.O_RDWR)
        except OSError as error:
            raise unwritable("cache", file, error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self.held[number] = handle
        self.progress_file(number).unlink(missing_ok=True)
        return True

    def release(self, number: int) -> None:
        """Give up a claim."""
        self.progress_file(number).unlink(missing_ok=True)
        os.close(self.held.pop(number))

    def release_all(self) -> None:
        """Give up every claim."""
        for number in list(self.held):
            self.release(number)

    def under_way(self) -> dict[int, tuple[float, str]]:
        """Return image-steps done and the network in training, of trials that are claimed here."""
        found = {}
        for number in sorted(self.held):
            try:
                done, _, network = self.progress_file(number).read_text().partition(" ")
                found[number] = float(done), network
            except (OSError, ValueError):
                pass  # not written yet, or just being replaced
        return found

    @staticmethod
    def wait() -> None:
        """Wait a moment for others to finish what they claimed."""
        threading.Event().wait(0.5)
