"""Locks on trials, so that two processes sharing a record never run the same trial twice."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from filelock import FileLock, Timeout

from mgcore.lab.records.files import unwritable


class TrialLocks:
    """File locks on the trials of one record, freed by the death of the process that holds them.

    Parameters
    ----------
    folder : Path
        Where the lock files lie; made if it does not exist.
    record : Path
        Folder of the record, which names the locks.

    Raises
    ------
    RecordError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path, record: Path) -> None:
        self.name = hashlib.sha256(str(record.resolve()).encode()).hexdigest()[:12]
        self.folder = folder
        self.held: dict[int, FileLock] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable("cache", folder, error) from None

    def __enter__(self) -> TrialLocks:
        return self

    def __exit__(self, *_: object) -> None:
        self.release_all()

    def _file(self, number: int, kind: str) -> Path:
        return self.folder / f"{self.name}-{number}.{kind}"

    def progress_file(self, number: int) -> Path:
        """Return the file in which the worker of a trial writes its progress."""
        return self._file(number, "progress")

    def take(self, number: int) -> bool:
        """Lock a trial; return False if another process has it."""
        file = self._file(number, "lock")
        # joblib draws jobs in threads of its own, so the lock belongs to the process.
        lock = FileLock(file, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            raise unwritable("cache", file, error) from None
        self.held[number] = lock
        self.progress_file(number).unlink(missing_ok=True)
        return True

    def release(self, number: int) -> None:
        """Free a trial."""
        self.progress_file(number).unlink(missing_ok=True)
        self.held.pop(number).release()

    def release_all(self) -> None:
        """Free every trial."""
        for number in list(self.held):
            self.release(number)

    def under_way(self) -> dict[int, tuple[float, str]]:
        """Return the image-steps done and the network in training, for each trial locked here."""
        found = {}
        for number in sorted(self.held):
            try:
                text = self.progress_file(number).read_text(encoding="utf-8")
                done, _, network = text.partition(" ")
                found[number] = float(int(done)), network
            except (OSError, ValueError):
                pass  # not written yet, or being replaced at this moment
        return found

    @staticmethod
    def wait() -> None:
        """Wait for half a second, while other processes finish trials."""
        time.sleep(0.5)
