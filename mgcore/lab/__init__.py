"""The studies of the book: protocol, run, record, verdict.

This package uses :mod:`mgcore`; nothing there knows of it.
"""

from mgcore.lab.files import RecordError
from mgcore.lab.protocol import Protocol
from mgcore.lab.record import Record
from mgcore.lab.run import run_study
from mgcore.lab.studies import STUDIES, study_protocol

__all__ = ["STUDIES", "Protocol", "Record", "RecordError", "run_study", "study_protocol"]
