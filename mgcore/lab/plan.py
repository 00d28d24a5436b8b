"""What a study will cost on this machine: time, memory and disk, predicted from two seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mgcore.lab.bench import step_rate, trial_flops
from mgcore.lab.execute import cores, settle_process
from mgcore.lab.protocol import Protocol

OVERHEAD = 1.08  # of a whole trial over its bare steps: penalties, momentum, gathering, checkpoints
_rates: dict[tuple[int, bool], float] = {}


@dataclass(frozen=True)
class Cost:
    """Predicted cost of a study."""

    tflop: float
    seconds: float
    memory_gib: float
    disk_mb: float


def predict(protocol: Protocol, trials: int, workers: int | None = None) -> Cost:
    """Predict the cost of `trials` trials on the cores of this machine.

    Parameters
    ----------
    protocol : Protocol
    trials : int
    workers : int, optional
        Processes; as many as cores by default.

    Returns
    -------
    Cost
        Of the study: wall-clock seconds, peak memory of all workers, disk for the record and the
        checkpoints together.
    """
    settle_process()
    workers = min(workers or cores(), trials)
    flops = trial_flops(protocol)
    seconds = 0.0
    for (grid, _), work in flops.items():
        size = protocol.resolution // (2 if grid == "coarse" else 1)
        key = (size, protocol.pooling)
        if key not in _rates:
            _rates[key] = step_rate(size, protocol.pooling, protocol.batch, budget=0.5)
        slower = 4 if protocol.dtype == "float64" else 1
        seconds += slower * work / _rates[key]
    pixels = protocol.resolution**2
    images = (protocol.n_coarse + protocol.n_fine + 2 * protocol.n_validation) * pixels * 4
    weights = 8 * 64 * pixels * 10 * 4
    return Cost(
        tflop=trials * sum(flops.values()) / 1e12,
        seconds=OVERHEAD * seconds * math.ceil(trials / workers),
        memory_gib=workers * (0.45 * 2**30 + 2 * images + weights) / 2**30,
        disk_mb=trials * 0.02 + 1 + workers * 2 * 64 * pixels * 10 * 4 / 1e6 + trials * 1.4,
    )
