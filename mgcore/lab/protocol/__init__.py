"""What an experiment is: every choice with its source, the named studies, the printed tables."""

from mgcore.lab.protocol.protocol import CONDITIONS, NEWTONS, TIERS, Protocol

__all__ = ["CONDITIONS", "NEWTONS", "TIERS", "Protocol"]
