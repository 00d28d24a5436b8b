"""What a trial's file must hold, whoever wrote it: its checksum says only that it is unaltered."""

from __future__ import annotations

from typing import Any

Trial = dict[str, Any]


def complaint(trial: Trial) -> str | None:
    """Return what is wrong with the shape of a trial, in a few words, or None.

    Parameters
    ----------
    trial : dict
        ``metrics``: for every network a list of rows by epoch, each with ``epoch``, ``images`` and
        numbers.  ``circumstances``: among others ``seconds``, with ``whole``.  ``measures``, where
        there are any: numbers and lists of numbers by name.
    """
    metrics, about = trial.get("metrics"), trial.get("circumstances")
    if not _mapping(metrics) or not metrics:
        return "metrics is no object of networks"
    for name, history in metrics.items():
        if not isinstance(history, list) or not history or not all(map(_mapping, history)):
            return f"metrics of {name!r} is no list of rows"
        for place, row in enumerate(history):
            if row.get("epoch") != place or isinstance(row["epoch"], bool):
                return f"metrics of {name!r} has no row for epoch {place}"
            if not all(_number(value) or isinstance(value, str) for value in row.values()):
                return f"metrics of {name!r} has no number somewhere in epoch {place}"
            rates = [row[key] for key in row if key.endswith("_accuracy")]
            if not all(_number(rate) and 0 <= rate <= 100 for rate in rates):
                return f"metrics of {name!r} has no accuracy in percent in epoch {place}"
    if not _mapping(about):
        return "circumstances is no object"
    seconds = about.get("seconds")
    if not _mapping(seconds) or not _number(seconds.get("whole")):
        return "circumstances has no seconds of the whole trial"
    measures = trial.get("measures", {})
    if not (_mapping(measures) and all(map(_mapping, measures.values())) and _numbers(measures)):
        return "measures holds what is no number"
    return None


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(value: Any) -> bool:
    """Whether a nest of objects and lists, however deep, holds numbers alone."""
    nest = [value]
    while nest:
        one = nest.pop()
        if isinstance(one, dict | list):
            nest.extend(one.values() if isinstance(one, dict) else one)
        elif not _number(one):
            return False
    return True
