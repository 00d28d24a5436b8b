"""The record of a study: a folder with the protocol, one file per trial, and the fingerprint.

The folder holds ``protocol.json``, ``trial-000.json`` …, ``figures.npz`` (arrays of trial 0) and
``canary.json`` (the fingerprint of the code's behaviour; the file keeps its old name), each with a
checksum.  Records are found from the working folder or an argument, never from the folder in which
:mod:`mgcore` is installed.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from mgcore.lab.protocol import Protocol
from mgcore.lab.records.checkpoints import DAMAGE
from mgcore.lab.records.files import (
    NotRecordedError,
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
        The study's folder; made by :meth:`create`.

    Raises
    ------
    NotRecordedError
        If there is no record in the folder.
    RecordError
        If the record cannot be read.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not (self.folder / "protocol.json").exists():
            raise NotRecordedError(
                f"record: {self.folder} holds no record. Name the folder of a study."
            )
        try:
            content = read_json(self._protocol_file)
            self.protocol = Protocol.from_json(content.get("protocol"))
            written = content.get("criteria")
            # Older records have one hash of all claims, which cannot be compared claim by claim.
            self.criteria = written if isinstance(written, dict) else {}
        except (ValueError, TypeError) as error:
            if isinstance(error, RecordError):
                raise
            raise RecordError(f"record: {self._protocol_file} is no protocol: {error}") from None

    @classmethod
    def create(
        cls, folder: Path | str, protocol: Protocol, criteria: Mapping[str, str] | None = None
    ) -> Record:
        """Open the record of `protocol` in `folder`, or make a new one.

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
                    f"{mine[name]!r}. Use that protocol or another folder."
                )
            return record
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(
                f"record: {folder} cannot be made ({error.strerror}). Choose a folder that you may "
                "write to."
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
        NotRecordedError
            If the trial has no file.
        RecordError
            If its file is truncated, altered, or another protocol's or trial's.
        """
        file = self._trial_file(number)
        content = read_json(file)
        if content.get("protocol") != self.protocol.key() or content.get("trial") != number:
            raise RecordError(
                f"record: {file} belongs to another protocol or trial. It must hold trial {number} "
                f"of the protocol in {self._protocol_file}; delete it to run that trial again."
            )
        if wrong := complaint(content):
            raise RecordError(
                f"record: {file} is no trial: {wrong}. Restore the file as it was written, or "
                "delete it to run that trial again."
            )
        return cast(Trial, content)

    def trials(self, count: int | None = None) -> list[Trial]:
        """Return the first `count` trials, or all of them.

        Raises
        ------
        RecordError
            If there are fewer, or one is damaged.
        """
        numbers = self.numbers() if count is None else list(range(count))
        return [self.trial(number) for number in numbers]

    def add(self, trial: Trial) -> None:
        """Write one trial to its file."""
        content = {"trial": trial["trial"], "protocol": self.protocol.key()} | trial
        write_json(self._trial_file(trial["trial"]), content)

    def set_aside(self, number: int | None) -> Path:
        """Rename a damaged file so that its trial is run again; return the new name.

        Parameters
        ----------
        number : int or None
            The trial; None for the arrays of the figures, which trial 0 makes.
        """
        file = self.folder / "figures.json" if number is None else self._trial_file(number)
        aside = file.with_suffix(".damaged")
        try:
            os.replace(file, aside)
        except OSError as error:
            raise RecordError(
                f"record: {file} is damaged and cannot be renamed ({error.strerror}). Choose a "
                "folder that you may write to."
            ) from None
        return aside

    @property
    def fingerprint(self) -> dict[str, Any] | None:
        """The fingerprint of the code that made the record, or None before the first run."""
        file = self.folder / "canary.json"
        values = read_json(file).get("values") if file.exists() else {}
        if not isinstance(values, dict) or {type(v) for v in values.values()} - {int, float}:
            raise RecordError(
                f"record: {file} is no fingerprint. Restore the file as it was written."
            )
        return values or None

    @fingerprint.setter
    def fingerprint(self, values: dict[str, Any]) -> None:
        write_json(self.folder / "canary.json", {"values": values})

    def write_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Write the small arrays of trial 0 that the figures need, and their checksum."""
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
        NotRecordedError
            If the record has none.
        RecordError
            If they are truncated or altered.
        """
        file = self.folder / "figures.npz"
        expected = read_json(self.folder / "figures.json").get("figures.npz")
        try:
            content = file.read_bytes()
            if hashlib.sha256(content).hexdigest() == expected:
                with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                    return {name: arrays[name] for name in arrays.files}
        except DAMAGE:
            pass  # the file is no archive of arrays although its checksum is right
        raise RecordError(
            f"record: {file} is missing, truncated or altered. Restore the file as it was "
            "written, or delete figures.json: the study then makes both again."
        )

    def has_arrays(self) -> bool:
        """Return whether the record has the arrays of the figures."""
        return (self.folder / "figures.json").exists()


def reader_folder(study: str, protocol: Protocol, seed_from: Path | None = None) -> Path:
    """Return the folder of a reader's own run of `study`, outside the committed records.

    Parameters
    ----------
    study : str
    protocol : Protocol
        Each protocol has its own folder below ``_build/records`` beside the book.
    seed_from : Path, optional
        A record of the same protocol.  Its files are copied where they are missing, so that a run
        adds trials to the copy; the record itself is never changed.

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
