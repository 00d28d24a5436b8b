"""What is kept of a study: a folder with the protocol, one file a trial, and the canary.

``protocol.json``, ``trial-000.json`` …, ``figures.npz`` (of trial 0) and ``canary.json``, each with
a checksum, so what is read is what was written.  Records are found from the working folder or an
argument, never from where :mod:`mgcore` is installed.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mgcore.lab.protocol import Protocol
from mgcore.lab.records.checkpoints import DAMAGE
from mgcore.lab.records.files import (
    RecordError,
    read_json,
    records_folder,
    write_atomically,
    write_json,
)
from mgcore.lab.records.schema import Trial, complaint


class Record:
    """The record of one study.

    Parameters
    ----------
    folder : Path
        Of the study; made by :meth:`create`.

    Raises
    ------
    RecordError
        If there is no record in the folder, or it cannot be read.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not (self.folder / "protocol.json").exists():
            raise RecordError(f"record: {self.folder} holds no record; accepted: a study's folder.")
        try:
            content = read_json(self._protocol_file)
            self.protocol = Protocol.from_json(content.get("protocol"))
            written = content.get("criteria")
            # Older records have one hash of the whole file, which says nothing of a single claim.
            self.criteria = written if isinstance(written, dict) else {}
        except (ValueError, TypeError) as error:
            if isinstance(error, RecordError):
                raise
            raise RecordError(f"record: {self._protocol_file} is no protocol: {error}") from None

    @classmethod
    def create(
        cls, folder: Path | str, protocol: Protocol, criteria: Mapping[str, str] | None = None
    ) -> Record:
        """Open the record of `protocol` in `folder`, making it where there is none.

        A new record keeps `criteria`, the fingerprints of the claims that were written before it.

        Raises
        ------
        RecordError
            If the folder holds the record of another protocol, or cannot be written.
        """
        folder = Path(folder)
        file = folder / "protocol.json"
        if file.exists():
            record = cls(folder)
            if record.protocol.key() != protocol.key():
                mine, theirs = protocol.to_json(), record.protocol.to_json()
                name = next(n for n in mine if n != "name" and mine[n] != theirs[n])
                raise RecordError(
                    f"record: {folder} was written with {name}={theirs[name]!r}, not "
                    f"{mine[name]!r}; accepted: its own protocol, or another folder."
                )
            return record
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(
                f"record: {folder} cannot be made ({error.strerror}); accepted: a folder that you "
                "may write to."
            ) from None
        write_json(file, {"protocol": protocol.to_json(), "criteria": dict(criteria or {})})
        return cls(folder)

    @property
    def _protocol_file(self) -> Path:
        return self.folder / "protocol.json"

    def _trial_file(self, number: int) -> Path:
        return self.folder / f"trial-{number:03d}.json"

    def numbers(self) -> list[int]:
        """Return the numbers of the trials that have a file, readable or not."""
        names = (file.stem[6:] for file in self.folder.glob("trial-*.json"))
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def trial(self, number: int) -> Trial:
        """Return one trial, checked.

        Raises
        ------
        RecordError
            If its file is missing, truncated, altered, or another protocol's or trial's.
        """
        file = self._trial_file(number)
        content = read_json(file)
        if content.get("protocol") != self.protocol.key() or content.get("trial") != number:
            raise RecordError(
                f"record: {file} belongs to another protocol or trial; accepted: trial {number} "
                f"of the protocol in {self._protocol_file}."
            )
        if wrong := complaint(content):
            raise RecordError(f"record: {file} is no trial: {wrong}; accepted: a trial as written.")
        return content

    def trials(self, count: int | None = None) -> list[Trial]:
        """Return the first `count` trials, or all that are there.

        Raises
        ------
        RecordError
            If fewer are there, or one is damaged.
        """
        numbers = self.numbers() if count is None else list(range(count))
        return [self.trial(number) for number in numbers]

    def add(self, trial: Trial) -> None:
        """Write one trial: its number, metrics and circumstances."""
        content = {"trial": trial["trial"], "protocol": self.protocol.key()} | trial
        write_json(self._trial_file(trial["trial"]), content)

    def set_aside(self, number: int | None) -> Path:
        """Rename a damaged trial file, the figures' with None; return its new name.

        The trial, or trial 0 for the figures, is then run again.
        """
        file = self.folder / "figures.json" if number is None else self._trial_file(number)
        aside = file.with_suffix(".damaged")
        try:
            os.replace(file, aside)
        except OSError as error:
            raise RecordError(
                f"record: {file} is damaged and cannot be set aside ({error.strerror}); accepted: "
                "a folder that you may write to."
            ) from None
        return aside

    @property
    def fingerprint(self) -> dict[str, Any] | None:
        """The canary's values when the record was made, or None before the first run."""
        file = self.folder / "canary.json"
        values = read_json(file).get("values") if file.exists() else {}
        if not isinstance(values, dict) or {type(v) for v in values.values()} - {int, float}:
            raise RecordError(f"record: {file} is no canary; accepted: the file as it was written.")
        return values or None

    @fingerprint.setter
    def fingerprint(self, values: dict[str, Any]) -> None:
        write_json(self.folder / "canary.json", {"values": values})

    def write_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write what the figures need, small arrays of trial 0, and their checksum beside them."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        content = buffer.getvalue()
        write_atomically(self.folder / "figures.npz", content)
        digest = hashlib.sha256(content).hexdigest()
        write_json(self.folder / "figures.json", {"figures.npz": digest})

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of the figures.

        Raises
        ------
        RecordError
            If they are missing, truncated or altered.
        """
        file = self.folder / "figures.npz"
        expected = read_json(self.folder / "figures.json").get("figures.npz")
        try:
            content = file.read_bytes()
            if hashlib.sha256(content).hexdigest() == expected:
                with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                    return {name: arrays[name] for name in arrays.files}
        except DAMAGE:
            pass  # somebody wrote what is no archive of arrays, and its checksum beside it
        raise RecordError(
            f"record: {file} is missing, truncated or altered; accepted: the file as it was "
            "written (or delete figures.json: the study makes both again)."
        )

    def has_arrays(self) -> bool:
        """Whether the arrays of the figures were written."""
        return (self.folder / "figures.json").exists()


def reader_folder(study: str, protocol: Protocol, seed_from: Path | None = None) -> Path:
    """Return where a reader's own run of `study` is kept, outside the committed records.

    Parameters
    ----------
    study : str
    protocol : Protocol
        Each has a folder of its own below ``_build/records`` beside the book.
    seed_from : Path, optional
        A record of the same protocol whose files are copied in where they are missing, so that
        a run tops it up; never changed itself.

    Returns
    -------
    Path
    """
    above = records_folder().resolve().parent.parent
    base = Path(os.environ.get("MGCORE_BUILD", above / "_build"))
    name = f"{study}-{protocol.tier}-{protocol.key()[:12]}"
    folder = base / "records" / (f"{name}-topped-up" if seed_from else name)
    if seed_from:
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(seed_from.iterdir()):
            if file.suffix in (".json", ".npz") and not (folder / file.name).exists():
                shutil.copy2(file, folder / file.name)
    return folder
