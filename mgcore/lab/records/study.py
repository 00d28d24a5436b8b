"""A study as it is shown: its record and the trials of it that count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mgcore.lab.protocol import Protocol
from mgcore.lab.records.record import Record, records_folder


@dataclass(frozen=True)
class Study:
    """A study as a chapter shows it.

    Attributes
    ----------
    name : str
    record : Record
    trials : list of dict
        The trials that are shown.
    recorded : bool
        Whether they are the committed record's.
    """

    name: str
    record: Record
    trials: list[dict[str, Any]]
    recorded: bool

    @property
    def protocol(self) -> Protocol:
        """The protocol of the record."""
        return self.record.protocol


def committed(study: str, tier: str) -> Record | None:
    """Return the committed record of a study at a tier, or None where no trial of it is there."""
    folder = records_folder() / f"{study}-{tier}"
    if not (folder / "protocol.json").exists():
        return None
    record = Record(folder)
    return record if record.numbers() else None


def recorded(study: str, tier: str) -> Study | None:
    """Return a study with all trials of its committed record, or None where there is none."""
    record = committed(study, tier)
    return Study(study, record, record.trials(), recorded=True) if record else None
