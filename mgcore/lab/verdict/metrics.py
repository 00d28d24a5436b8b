"""The numbers that a trial holds, by name: what claims, tables and prose refer to."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np

from mgcore.lab.records.schema import Trial

_RUN = r"(coarse|(?:new|transfer|multigrid)(?:_classifier)?)\.(0|1|last)\.(training|validation|gap)"
_LANDSCAPE = r"landscape\.(coarse|transfer|multigrid)\.(radius|reach|curvature|rayleigh|loss)"
_SURVIVAL = r"survival\.(new|transfer|multigrid)\.(conv1|pooled|conv2)\.(mean|best|silent)"
_PREPARATION = r"preparation\.(new|transfer|multigrid)\.(original|prolonged)"

ACCEPTED = (
    "run.epoch.metric as in 'multigrid.last.gap', landscape.network.what, survival.arm.layer.what, "
    "preparation.arm.images"
)


def _accuracy(trial: Trial, run: str, epoch: str, metric: str) -> float:
    row = trial["metrics"][run][-1 if epoch == "last" else int(epoch)]
    if metric == "gap":
        return row["training_accuracy"] - row["validation_accuracy"]
    return row[f"{metric}_accuracy"]


def _landscape(trial: Trial, network: str, what: str) -> float:
    found = trial["measures"]["landscape"][network]
    if what == "loss":
        return found["loss"]
    if what in ("curvature", "rayleigh"):
        return fmean(found["curvature"]) / (found["length"] ** 2 if what == "rayleigh" else 1.0)
    radius = math.exp(fmean(math.log(r) for r in found["radius"]))
    return radius * (found["length"] if what == "reach" else 1.0)


def _survival(trial: Trial, arm: str, layer: str, what: str) -> float:
    return trial["measures"]["survival"][arm][layer][what]


def _preparation(trial: Trial, arm: str, images: str) -> float:
    return trial["measures"]["preparation"][arm][images]


_READERS: list[tuple[re.Pattern[str], Callable[..., float]]] = [
    (re.compile(_RUN), _accuracy),
    (re.compile(_LANDSCAPE), _landscape),
    (re.compile(_SURVIVAL), _survival),
    (re.compile(_PREPARATION), _preparation),
]


def is_cell(name: str) -> bool:
    """Return whether `name` is spelled like a cell."""
    return any(pattern.fullmatch(name) for pattern, _ in _READERS)


def cell(trial: Trial, name: str) -> float:
    """Return one number of a trial.

    Parameters
    ----------
    trial : dict
        As :meth:`mgcore.lab.records.record.Record.trial` returns it.
    name : str
        ``"multigrid.last.gap"``: accuracy in percent, or training minus validation in points, of
        a run (``"coarse"``, an arm, or ``"new_classifier"`` and so on) after epoch 0, 1 or last.
        ``"landscape.transfer.radius"``: the radius at which the loss doubles around a network in
        multiples of filter-normalised directions, ``"…reach"`` in absolute units, both geometric
        means over directions; ``"…curvature"`` along them, ``"…rayleigh"`` the same for directions
        of length 1 (the Rayleigh quotient of the Hessian); ``"…loss"`` at the centre.
        ``"survival.multigrid.conv2.mean"``: see :class:`mgcore.analysis.propagation.Survival`.
        ``"preparation.multigrid.prolonged"``: validation accuracy in percent on such images.

    Raises
    ------
    ValueError
        For a name that no table has, or that this trial has no number for.
    """
    for pattern, read in _READERS:
        if match := pattern.fullmatch(name):
            try:
                return float(read(trial, *match.groups()))
            except (KeyError, IndexError, TypeError, ValueError):
                raise ValueError(
                    f"cell={name!r} is not in trial {trial.get('trial')}; accepted: what its "
                    "protocol runs and measures."
                ) from None
    raise ValueError(f"cell={name!r}; accepted: {ACCEPTED}.")


def trials_of(count: int) -> str:
    """Return ``"one trial"`` or ``"3 trials"``, for titles and captions."""
    return "one trial" if count == 1 else f"{count} trials"


def at_epoch(trials: Sequence[Trial], run: str, epoch: int, field: str) -> list[float]:
    """Return one value a trial: `field` of `run` ("coarse" or an arm) after `epoch`."""
    return [
        next(row[field] for row in trial["metrics"][run] if row["epoch"] == epoch)
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
