"""A study as a chapter shows it: its record, and the trials that are shown."""

from __future__ import annotations

from dataclasses import dataclass

from mgcore.lab.protocol import Protocol
from mgcore.lab.records.record import Record, records_folder
from mgcore.lab.records.schema import Trial


@dataclass(frozen=True)
class Study:
    """A study and the trials of it that a chapter shows.

    Attributes
    ----------
    name : str
    record : Record
    trials : list of Trial
    recorded : bool
        Whether the trials are those of the committed record.
    """

    name: str
    record: Record
    trials: list[Trial]
    recorded: bool

    @property
    def protocol(self) -> Protocol:
        """The protocol of the record."""
        return self.record.protocol


def committed(study: str, tier: str) -> Record | None:
    """Return the committed record of a study at a tier, or None if it has no trial."""
    folder = records_folder() / f"{study}-{tier}"
    if not (folder / "protocol.json").exists():
        return None
    record = Record(folder)
    return record if record.numbers() else None


def recorded(study: str, tier: str) -> Study | None:
    """Return a study with all trials of its committed record, or None if there is none."""
    record = committed(study, tier)
    return Study(study, record, record.trials(), recorded=True) if record else None
