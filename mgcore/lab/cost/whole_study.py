"""Rate of a whole study, beside its bare training steps and beside a plain PyTorch script.

Processes start, data are drawn and the fingerprint is computed before the clock starts; everything
else that a study does is measured.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch

from mgcore.lab.cost import plain_script
from mgcore.lab.cost.rates import Row, sgemm_rate, step_rate
from mgcore.lab.protocol import Protocol
from mgcore.lab.run.fingerprint import fingerprint
from mgcore.lab.run.study import run_study
from mgcore.lab.run.workers import cores, everywhere, run_parallel, settle_process
from mgcore.lab.trial.newton import classifier_method
from mgcore.lab.trial.phases import Images, run_phase
from mgcore.lab.trial.trial import draw_split, fresh_weights, grid_images
from mgcore.lab.trial.work import figures_work, flops, phase_work, phases, trial_work
from mgcore.thesis.network import forward_flops

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

TRIALS = 4  # of the comparison with the plain script


class Comparison(NamedTuple):
    """Four trials of one network by this project, and the same work by the plain script.

    Attributes
    ----------
    resolution : int
    ours, plain : float
        FLOP/s: training and evaluation, divided by the whole time.
    our_accuracy, plain_accuracy : float
        Mean validation accuracy at the end, in percent.
    threads : int
        Threads of the plain script.
    """

    resolution: int
    ours: float
    plain: float
    our_accuracy: float
    plain_accuracy: float
    threads: int


def compare_with_plain_script(
    grid: str, pooling: bool = False, count: int = 2000, epochs: int = 2, resolution: int = 28,
    threads: int | None = None,
) -> Comparison:  # fmt: skip
    """Train four networks of one grid, one thread per process, then by the plain script.

    Parameters
    ----------
    grid : {"coarse", "fine"}
    pooling : bool
    count, epochs : int
        Stroke digits, and passes over them.
    resolution : int
        Pixels along a side of the fine grid.
    threads : int, optional
        Threads of the plain script; torch's own number by default.

    Raises
    ------
    ValueError
        If the plain script fails.
    """
    protocol = Protocol.calibrated(
        "class", dataset="strokes", pooling=pooling, n_coarse=count, n_fine=count,
        n_validation=count // 2, coarse_epochs=epochs, fine_epochs=epochs, resolution=resolution,
    )  # fmt: skip
    everywhere(_draw, protocol)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        jobs: Iterator[tuple] = ((protocol, grid, n, folder) for n in range(TRIALS))
        accuracies = list(run_parallel(_train_one, jobs, cores()))
        seconds = time.perf_counter() - began
    plain = _run_plain(protocol, grid, count, epochs, threads)
    side = protocol.objective(grid).resolution
    work = phase_work(protocol, next(p for p in phases(protocol) if p.grid == grid))
    # The script evaluates only at the end, and only on validation images.
    image = forward_flops(side, pooling)
    evaluated = sum(n for piece, n in work.items() if piece.operation == "forward")
    plain_flops = flops(work) - (evaluated - protocol.n_validation) * image
    return Comparison(
        side, TRIALS * flops(work) / seconds, TRIALS * plain_flops / plain["seconds"],
        fmean(accuracies), fmean(plain["accuracies"]), plain["threads"],
    )  # fmt: skip


def _draw(protocol: Protocol) -> None:
    """Draw the digits; the process keeps them for the study."""
    draw_split(protocol, 0)


def _train_one(protocol: Protocol, grid: str, trial: int, folder: str) -> float:
    """Train one network as a study does, with checkpoints; return its accuracy in percent."""
    digits, chosen = draw_split(protocol, trial)
    images = grid_images(protocol, digits, chosen, grid)
    start = fresh_weights(protocol, trial, grid)
    file = Path(folder, f"{trial}.npz")
    progress = run_phase(protocol, trial, grid, start, images, checkpoint=file)
    return progress.history[-1]["validation_accuracy"]


def _run_plain(
    protocol: Protocol, grid: str, count: int, epochs: int, threads: int | None
) -> dict[str, Any]:
    """Run the plain script; return ``seconds``, ``accuracies`` and ``threads``."""
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
    environment["PYTHONUTF8"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.npz"
        arrays: dict[str, Any] = start
        np.savez(
            file, images=np.concatenate([images.training, images.validation]),
            labels=np.concatenate([images.training_labels, images.validation_labels]), **arrays,
        )  # fmt: skip
        command = [sys.executable, plain_script.__file__, str(file), json.dumps(options)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ValueError(f"The plain script failed: {last}")
    return json.loads(done.stdout)


def study_rate(protocol: Protocol, trials: int | None = None) -> tuple[float, float, float]:
    """Run a study of one trial per core and measure its rate.

    Returns
    -------
    rate : float
        FLOP/s: training and all evaluations, divided by the whole time, which includes data
        preparation, penalties, figures, checkpoints and the record.
    evaluation : float
        Share of evaluation in the trials' time.
    memory : float
        Peak resident memory of a process, GiB.
    """
    trials = trials or cores()
    everywhere(_draw, protocol)
    fingerprint(protocol.dataset)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        record = run_study(
            protocol, trials, "cpu", record=Path(folder, "record"), cache=Path(folder, "cache"),
            progress=False,
        )  # fmt: skip
        elapsed = time.perf_counter() - began
        spent = [trial["circumstances"]["seconds"] for trial in record.trials(trials)]
    evaluation = sum(s["evaluation"] for one in spent for k, s in one.items() if k != "whole")
    share = evaluation / sum(one["whole"] for one in spent)
    return study_flops(protocol, trials) / elapsed, share, max(everywhere(peak_memory))


def study_flops(protocol: Protocol, trials: int) -> float:
    """Return the FLOPs of a study's training and evaluations; trial 0 also makes the figures."""
    return trials * flops(trial_work(protocol)) + flops(figures_work(protocol))


def peak_memory() -> float:
    """Return the peak resident memory of this process in GiB, or NaN if the system has no count."""
    if resource is None:
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** (30 if sys.platform == "darwin" else 20)


def newton_memory(count: int = 10_000, resolution: int = 28) -> float:
    """Return the peak memory of a fresh process that trains the unpooled classifier, in GiB."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_classifier_peak, count, resolution).result()


def _classifier_peak(count: int, resolution: int) -> float:
    """Take one outer iteration on images of noise: the cached features take the memory."""
    settle_process()
    protocol = Protocol.calibrated(
        "class", dataset="strokes", resolution=resolution, n_coarse=32, n_fine=count,
        n_validation=32, retraining="classifier", classifier_epochs=1, subset=64,
    )  # fmt: skip
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(count, 1, resolution, resolution, generator=draw)
    y = torch.randint(10, (count,), generator=draw)
    run_phase(
        protocol, 0, "fine", fresh_weights(protocol, 0, "fine"), Images(x, y, x[:32], y[:32]),
        checkpoint=None, method=classifier_method(protocol), epochs=1,
    )  # fmt: skip
    return peak_memory()


def study_rows(
    budget: float = 1.0,
    counts: tuple[int, int, int] = (4000, 1000, 1000),
    newton_count: int = 10_000,
    resolution: int = 28,
) -> list[Row]:
    """Measure a study of one trial per core, and the bare steps of which it consists.

    It is the paper tier's study with a tenth of the images and the smoke tier's few points of
    loss surfaces, so that training, evaluation and measures have about the paper tier's shares.

    Parameters
    ----------
    budget : float
        Seconds for each rate.
    counts : tuple of int
        Coarse, fine and validation images.
    newton_count : int
        Images whose features are cached.
    resolution : int
    """
    coarse, fine, validation = counts
    protocol = Protocol.calibrated(
        "paper", dataset="strokes", resolution=resolution, n_coarse=coarse, n_fine=fine,
        n_validation=validation, subset=fine // 5,
    ).changed(tier="smoke")  # fmt: skip
    settle_process()
    alone = sgemm_rate(budget)
    before = _bare_rate(protocol, budget)
    rate, evaluation, memory = study_rate(protocol)
    bare, n = (before + _bare_rate(protocol, budget)) / 2, cores()
    sgemm = f"{n} × SGEMM alone"
    rows = [
        Row("study", "bare steps, weighted as in the study", bare / 1e9, "GFLOP/s",
            bare / (n * alone), sgemm),
        Row("study", "a whole study", rate / 1e9, "GFLOP/s", rate / bare, "bare steps"),
        Row("study", "a whole study", rate / 1e9, "GFLOP/s", rate / (n * alone), sgemm),
        Row("study", "evaluation, share of the trials' time", 100 * evaluation, "%"),
        Row("memory", "peak of a process, SGD", memory, "GiB"),
        Row("memory", "peak of a process, the classifier's Newton phase",
            newton_memory(newton_count, resolution), "GiB"),
    ]  # fmt: skip
    return [row for row in rows if not math.isnan(row.value)]


def _bare_rate(protocol: Protocol, budget: float) -> float:
    """Return the rate of bare steps of all processes, weighted by the work on each grid."""
    work = trial_work(protocol)
    sides = protocol.resolution // 2, protocol.resolution
    each = everywhere(_step_rates, sides, protocol.pooling, budget)
    seconds = sum(
        flops(Counter({p: n for p, n in work.items() if p.resolution == side})) / fmean(rates)
        for side, rates in zip(sides, zip(*each, strict=True), strict=True)
    )
    return len(each) * flops(work) / seconds


def _step_rates(sides: tuple[int, ...], pooling: bool, budget: float) -> list[float]:
    settle_process()
    return [step_rate(side, pooling, budget) for side in sides]


def plain_rows(count: int = 2000, epochs: int = 2, resolution: int = 28) -> list[Row]:
    """Measure four trials and the plain script at the same work, on the fine and coarse grid."""
    rows = []
    for grid, passes in (("fine", epochs), ("coarse", 2 * epochs)):
        both = compare_with_plain_script(grid, False, count, passes, resolution)
        network = f"{both.resolution}×{both.resolution}"
        rows += [
            Row("plain script", f"plain script, {both.threads} threads, {network}",
                both.plain / 1e9, "GFLOP/s"),
            Row("plain script", f"four trials, {network}", both.ours / 1e9, "GFLOP/s",
                both.ours / both.plain, "plain script"),
            Row("plain script", f"accuracy, plain script, {network}", both.plain_accuracy, "%"),
            Row("plain script", f"accuracy, four trials, {network}", both.our_accuracy, "%"),
        ]  # fmt: skip
    return rows
