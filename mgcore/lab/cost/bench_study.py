"""Measured rate of whole studies: beside the bare step, and beside a plain PyTorch script.

Processes are started, data drawn and the canary run before the clock; all else of a study counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from mgcore.lab.cost import plain_script
from mgcore.lab.cost.bench import trial_flops
from mgcore.lab.cost.plan import figures_work, trial_work
from mgcore.lab.protocol import Protocol
from mgcore.lab.run.fingerprint import fingerprint
from mgcore.lab.run.study import run_study
from mgcore.lab.run.workers import cores, everywhere, run_parallel, settle_process
from mgcore.lab.trial.newton import classifier_method
from mgcore.lab.trial.phases import run_phase
from mgcore.lab.trial.trial import draw_split, fresh_weights, grid_images
from mgcore.thesis.network import forward_flops, step_flops

TRIALS = 4  # of a comparison


class Duel(NamedTuple):
    """A study of four trials of one network, and the plain script at the same work.

    Attributes
    ----------
    resolution : int
    ours, plain : float
        FLOP/s of training and evaluation over all the time.
    our_accuracy, plain_accuracy : float
        Mean validation accuracy at the end, in percent.
    threads : int
        Of the plain script.
    """

    resolution: int
    ours: float
    plain: float
    our_accuracy: float
    plain_accuracy: float
    threads: int


def duel(
    grid: str, pooling: bool = False, count: int = 2000, epochs: int = 2, resolution: int = 28,
    threads: int | None = None,
) -> Duel:  # fmt: skip
    """Train four networks of one grid by processes of one thread, then by the plain script.

    Parameters
    ----------
    grid : {"coarse", "fine"}
    pooling : bool
    count, epochs : int
        Images, stroke digits, and passes over them.
    resolution : int
        Pixels along a side of the fine grid.
    threads : int, optional
        Of the plain script; as many as torch takes by itself by default.
    """
    protocol = Protocol.calibrated(
        "class", dataset="strokes", pooling=pooling, n_coarse=count, n_fine=count,
        n_validation=count // 2, coarse_epochs=epochs, fine_epochs=epochs, resolution=resolution,
    )  # fmt: skip
    everywhere(_ready, protocol)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        jobs: Iterator[tuple] = ((protocol, grid, n, folder) for n in range(TRIALS))
        ours = list(run_parallel(_one, jobs, cores()))
        seconds = time.perf_counter() - began
    side = protocol.objective(grid).resolution
    training = TRIALS * epochs * (count // protocol.batch * protocol.batch)
    training *= step_flops(side, pooling)
    image = forward_flops(side, pooling)
    measured = TRIALS * len({0, 1, epochs}) * (count + protocol.n_validation) * image
    told = _plain(protocol, grid, count, epochs, threads)
    return Duel(
        side, (training + measured) / seconds,
        (training + TRIALS * protocol.n_validation * image) / told["seconds"],
        fmean(ours), fmean(told["accuracies"]), told["threads"],
    )  # fmt: skip


def _ready(protocol: Protocol) -> None:
    """Draw the digits, which the process then keeps."""
    draw_split(protocol, 0)


def _one(protocol: Protocol, grid: str, trial: int, folder: str) -> float:
    """Train one network as a study does, with checkpoints; return its accuracy in percent."""
    digits, chosen = draw_split(protocol, trial)
    images = grid_images(protocol, digits, chosen, grid)
    start = fresh_weights(protocol, trial, grid)
    file = Path(folder, f"{trial}.npz")
    now = run_phase(protocol, trial, grid, start, images, checkpoint=file)
    return now.history[-1]["validation_accuracy"]


def _plain(protocol: Protocol, grid: str, count: int, epochs: int, threads: int | None) -> dict:
    """Run the plain script at the same work."""
    digits, chosen = draw_split(protocol, 0)
    images = grid_images(protocol, digits, chosen, grid)
    objective = protocol.objective(grid)
    options = {
        "count": count, "epochs": epochs, "trials": TRIALS, "pooling": protocol.pooling,
        "rate": protocol.learning_rate, "momentum": protocol.momentum, "batch": protocol.batch,
        "nesterov": protocol.nesterov and protocol.momentum > 0,
        "alpha_theta": objective.alpha_theta, "alpha_w": objective.alpha_w,
    }  # fmt: skip
    start = {k: w.float().numpy() for k, w in fresh_weights(protocol, 0, grid).items()}
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    environment |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.npz"
        np.savez(
            file, images=np.concatenate([images.training, images.validation]),
            labels=np.concatenate([images.training_labels, images.validation_labels]), **start,
        )  # fmt: skip
        command = [sys.executable, plain_script.__file__, str(file), json.dumps(options)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise ValueError(f"the plain script stopped: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def study_rate(protocol: Protocol, trials: int | None = None) -> tuple[float, float, float]:
    """Run a study of one trial a core; return its FLOP/s, its share of evaluation, and memory.

    Parameters
    ----------
    protocol : Protocol
    trials : int, optional

    Returns
    -------
    rate : float
        FLOP/s of training and evaluation over all the time, data preparation, penalties, figures,
        checkpoints and record included.
    evaluation : float
        Share of the trials' time.
    memory : float
        Peak resident memory of a process, GiB.
    """
    trials = trials or cores()
    everywhere(_ready, protocol)
    fingerprint(protocol.dataset)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        record = run_study(
            protocol, trials, "cpu", record=Path(folder, "record"), cache=Path(folder, "cache"),
            progress=False,
        )  # fmt: skip
        took = time.perf_counter() - began
        spent = [trial["circumstances"]["seconds"] for trial in record.trials(trials)]
    evaluation = sum(s["evaluation"] for one in spent for k, s in one.items() if k != "whole")
    share = evaluation / sum(one["whole"] for one in spent)
    work = trials * sum(trial_flops(protocol).values()) + measure_flops(protocol, trials)
    return work / took, share, max(everywhere(peak_memory))


def measure_flops(protocol: Protocol, trials: int) -> float:
    """Return the FLOPs of measures and figures, which are evaluations too.

    Those of a search for the radius at which a loss doubles are counted at its usual length.
    """
    counted = sum(work for (_, what), work in trial_flops(protocol).items() if what == "evaluation")

    def forward(work) -> float:
        return sum(
            images * forward_flops(piece.resolution, piece.pooling)
            for piece, images in work.items() if piece.what == "forward"
        )  # fmt: skip

    return trials * (forward(trial_work(protocol)) - counted) + forward(figures_work(protocol))


def peak_memory() -> float:
    """Return the most resident memory that this process has had, in GiB."""
    import resource  # POSIX only

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2 ** (30 if sys.platform == "darwin" else 20)


def newton_memory(count: int = 10_000, resolution: int = 28) -> float:
    """Return the peak of a fresh process that trains the classifier alone, unpooled, in GiB.

    One outer iteration on `count` images of noise: the features are what takes the memory.
    """
    command = [sys.executable, "-c", _NEWTON, str(count), str(resolution)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


_NEWTON = """
import sys
from mgcore.lab import bench_study
print(bench_study.classifier_peak(*map(int, sys.argv[1:])))
"""


def classifier_peak(count: int, resolution: int) -> float:
    """Take one outer iteration of the classifier's Newton method here; return the peak, GiB."""
    import torch

    from mgcore.lab.trial.phases import Images

    settle_process()
    protocol = Protocol.calibrated(
        "class", dataset="strokes", resolution=resolution, n_coarse=32, n_fine=count,
        n_validation=32, retraining="classifier", classifier_epochs=1, subset=64,
    )  # fmt: skip
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(count, 1, resolution, resolution, generator=draw)
    y = torch.randint(10, (count,), generator=draw)
    start = fresh_weights(protocol, 0, "fine")
    run_phase(
        protocol, 0, "fine", start, Images(x, y, x[:32], y[:32]), checkpoint=None,
        method=classifier_method(protocol), epochs=1,
    )  # fmt: skip
    return peak_memory()
