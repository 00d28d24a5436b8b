"""The numbers of a trial by name, for claims, tables and prose."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, cast

import numpy as np

from mgcore.lab.records.files import NotRecordedError, RecordError
from mgcore.lab.records.schema import Trial

_RUN = r"(coarse|(?:new|transfer|multigrid)(?:_classifier)?)\.(0|1|last)\.(training|validation|gap)"
_LANDSCAPE = r"landscape\.(coarse|transfer|multigrid)\.(radius|reach|curvature|rayleigh|loss)"
_SURVIVAL = r"survival\.(new|transfer|multigrid)\.(conv1|pooled|conv2)\.(mean|best|silent)"
_PREPARATION = r"preparation\.(new|transfer|multigrid)\.(original|prolonged)"

CELL_NAMES = (
    "run.epoch.metric as in 'multigrid.last.gap', landscape.network.quantity, "
    "survival.condition.layer.quantity or preparation.condition.images"
)


def _accuracy(trial: Trial, run: str, epoch: str, metric: str) -> float:
    row = cast(dict[str, Any], trial["metrics"][run][-1 if epoch == "last" else int(epoch)])
    if metric == "gap":
        return row["training_accuracy"] - row["validation_accuracy"]
    return row[f"{metric}_accuracy"]


def _landscape(trial: Trial, network: str, quantity: str) -> float:
    landscape = trial["measures"]["landscape"][network]
    if quantity == "loss":
        return landscape["loss"]
    if quantity in ("curvature", "rayleigh"):
        return fmean(landscape["curvature"]) / (
            landscape["length"] ** 2 if quantity == "rayleigh" else 1.0
        )
    radius = math.exp(fmean(math.log(r) for r in landscape["radius"]))
    return radius * (landscape["length"] if quantity == "reach" else 1.0)


def _survival(trial: Trial, condition: str, layer: str, quantity: str) -> float:
    return trial["measures"]["survival"][condition][layer][quantity]


def _preparation(trial: Trial, condition: str, images: str) -> float:
    return trial["measures"]["preparation"][condition][images]


_READERS: list[tuple[re.Pattern[str], Callable[..., float]]] = [
    (re.compile(_RUN), _accuracy),
    (re.compile(_LANDSCAPE), _landscape),
    (re.compile(_SURVIVAL), _survival),
    (re.compile(_PREPARATION), _preparation),
]


def is_cell(name: str) -> bool:
    """Return whether `name` has the form of a cell's name."""
    return any(pattern.fullmatch(name) for pattern, _ in _READERS)


def cell(trial: Trial, name: str) -> float:
    """Return one number of a trial.

    Parameters
    ----------
    trial : dict
        As :meth:`mgcore.lab.records.record.Record.trial` returns it.
    name : str
        ``"multigrid.last.gap"``: accuracy in percent, or training minus validation in points, of
        a run (``"coarse"``, a condition, or ``"new_classifier"`` and so on) after epoch 0, 1
        or last.
        ``"landscape.transfer.radius"``: the radius at which the loss doubles around a network in
        multiples of filter-normalised directions, ``"…reach"`` in absolute units, both geometric
        means over directions; ``"…curvature"`` along them, ``"…rayleigh"`` the same for directions
        of length 1 (the Rayleigh quotient of the Hessian); ``"…loss"`` at the centre.
        ``"survival.multigrid.conv2.mean"``: see :class:`mgcore.analysis.propagation.Survival`.
        ``"preparation.multigrid.prolonged"``: validation accuracy in percent on such images.

    Raises
    ------
    ValueError
        If `name` is not the name of a cell.
    NotRecordedError
        If the trial has no such number.
    RecordError
        If the trial has something else than a number there, because its file is damaged.
    """
    for pattern, read in _READERS:
        if match := pattern.fullmatch(name):
            try:
                return float(read(trial, *match.groups()))
            except (KeyError, IndexError):
                raise NotRecordedError(
                    f"cell {name!r} is not in trial {trial.get('trial')}. Name a cell that its "
                    "protocol runs and measures."
                ) from None
            except (TypeError, ValueError, ArithmeticError) as error:
                raise RecordError(
                    f"record: trial {trial.get('trial')} is damaged at {name!r} ({error}). Restore "
                    "its file, or delete it to run the trial again."
                ) from None
    raise ValueError(f"cell {name!r} has no known form. Use {CELL_NAMES}.")


def trials_of(count: int) -> str:
    """Return ``"one trial"`` or ``"3 trials"``, for titles and captions."""
    return "one trial" if count == 1 else f"{count} trials"


def at_epoch(trials: Sequence[Trial], run: str, epoch: int, field: str) -> list[float]:
    """Return `field` of `run` ("coarse" or a condition) after `epoch`, for each trial."""
    return [
        next(
            cast(dict[str, Any], row)[field]
            for row in trial["metrics"][run]
            if row["epoch"] == epoch
        )
        for trial in trials
    ]


def roughness(blocks: np.ndarray) -> np.ndarray:
    """Return ‖∇W‖ / ‖W‖ of maps W, the gradient by forward differences of neighbours.

    Parameters
    ----------
    blocks : ndarray, shape (..., m, n)

    Returns
    -------
    ndarray, shape (...)
        0 for a constant map (and for one that is zero), about 2 for white noise
        (:func:`white_noise_roughness`), √8 at most (a chessboard, for large m).
    """
    w = np.asarray(blocks, dtype=np.float64)
    gradient = sum(np.square(np.diff(w, axis=axis)).sum((-2, -1)) for axis in (-2, -1))
    own = np.square(w).sum((-2, -1))
    return np.sqrt(np.divide(gradient, own, out=np.zeros_like(own), where=own > 0))


def white_noise_roughness(side: int) -> float:
    """Return √(4 (1 − 1/m)): the root mean square over the eigenvectors of the Laplacian."""
    return float(np.sqrt(4 * (1 - 1 / side)))
