"""The protocol of an experiment, the named studies, and the tables that the thesis prints.

:class:`Protocol` holds every choice with its source, :func:`study_protocol` makes the protocol of a
named study, and :mod:`mgcore.lab.protocol.printed_tables` holds the thesis's numbers.
"""

from mgcore.lab.protocol.protocol import CONDITIONS, GRIDS, NEWTONS, TIERS, Protocol, check_grid
from mgcore.lab.protocol.studies import (
    CHAPTERS,
    DEFAULT_TRIALS,
    STUDIES,
    default_dataset,
    study_protocol,
)

__all__ = [
    "CHAPTERS",
    "CONDITIONS",
    "DEFAULT_TRIALS",
    "GRIDS",
    "NEWTONS",
    "STUDIES",
    "TIERS",
    "Protocol",
    "check_grid",
    "default_dataset",
    "study_protocol",
]
