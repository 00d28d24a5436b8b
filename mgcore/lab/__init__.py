"""The studies of the book: protocol, run, record, verdict.

This package uses :mod:`mgcore`; nothing there knows of it.
"""

from mgcore.lab.protocol import Protocol
from mgcore.lab.protocol.studies import STUDIES, study_protocol
from mgcore.lab.records.files import RecordError
from mgcore.lab.records.record import Record
from mgcore.lab.run.study import run_study

__all__ = ["STUDIES", "Protocol", "Record", "RecordError", "run_study", "study_protocol"]
