"""The studies of the book: protocol, run, record, verdict.

This package uses :mod:`mgcore`; nothing there knows of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mgcore.lab.protocol import Protocol
    from mgcore.lab.protocol.studies import STUDIES, study_protocol
    from mgcore.lab.records.files import RecordError
    from mgcore.lab.records.record import Record
    from mgcore.lab.run.study import run_study

__all__ = ["STUDIES", "Protocol", "Record", "RecordError", "run_study", "study_protocol"]

# Imported on first use: ``mgcore list`` answers without loading torch, which takes seconds.
_MODULES = {
    "STUDIES": "protocol.studies",
    "Protocol": "protocol",
    "Record": "records.record",
    "RecordError": "records.files",
    "run_study": "run.study",
    "study_protocol": "protocol.studies",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES})
