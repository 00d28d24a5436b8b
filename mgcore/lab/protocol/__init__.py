"""The protocol of an experiment, the named studies, and the tables that the thesis prints.

:class:`Protocol` holds every choice with its source, :func:`study_protocol` makes the protocol of a
named study, and :mod:`mgcore.lab.protocol.printed_tables` holds the thesis's numbers.
"""

from typing import TYPE_CHECKING, Any

from mgcore.lab.protocol.studies import (
    CHAPTERS,
    DEFAULT_TRIALS,
    STUDIES,
    default_dataset,
    study_protocol,
)

if TYPE_CHECKING:
    from mgcore.lab.protocol.protocol import (
        CONDITION_NAMES,
        CONDITIONS,
        GRIDS,
        NEWTONS,
        TIERS,
        Protocol,
        check_grid,
    )

# Imported on first use: the names of the studies are known without loading torch.
_LATE = (
    "CONDITIONS", "CONDITION_NAMES", "GRIDS", "NEWTONS", "TIERS", "Protocol", "check_grid",
)  # fmt: skip
__all__ = [
    "CHAPTERS", "CONDITIONS", "CONDITION_NAMES", "DEFAULT_TRIALS", "GRIDS", "NEWTONS", "STUDIES",
    "TIERS", "Protocol", "check_grid", "default_dataset", "study_protocol",
]  # fmt: skip

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _LATE:
            from mgcore.lab.protocol import protocol

            return getattr(protocol, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
