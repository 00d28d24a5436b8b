"""What an experiment is: every choice with its source, the named studies, the printed tables."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mgcore.lab.protocol.protocol import CONDITIONS, NEWTONS, TIERS, Protocol

__all__ = ["CONDITIONS", "NEWTONS", "TIERS", "Protocol"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in __all__:
            # Imported on first use: the names of the studies are known without loading torch.
            from mgcore.lab.protocol import protocol

            return getattr(protocol, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
