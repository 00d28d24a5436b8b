"""What ``mgcore gpu-day`` does on a GPU: checks, rates, Tables 4.1 and 4.2.

A part is a list of tasks.  A task is a function that returns a small object for the JSON file.  On
a CPU the same tasks run at small sizes, so that the whole command can be rehearsed without a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from mgcore.data.images import load_digits
from mgcore.lab.cost.plain_script import train as train_plain_script
from mgcore.lab.cost.rates import BATCH, ONE_BY_ONE, lowerings_on, seconds, training_epoch
from mgcore.lab.protocol import DEFAULT_TRIALS, NEWTONS, Protocol, study_protocol
from mgcore.lab.records.checkpoints import PhaseState
from mgcore.lab.records.files import RecordError
from mgcore.lab.records.schema import Trial
from mgcore.lab.records.study import committed
from mgcore.lab.run.fingerprint import TOLERANCE, deviation, fingerprint_of
from mgcore.lab.run.workers import use_tf32
from mgcore.lab.trial.trial import COARSE_FIELDS, run_trial
from mgcore.lab.trial.vectorized import advance, in_groups, room
from mgcore.lab.trial.work import flops, phase_work, phases
from mgcore.lab.verdict.agreement import (
    interval,
    rounding_spread,
    same_seeds,
    table_cells,
)
from mgcore.lab.verdict.metrics import cell
from mgcore.thesis.ensemble import (
    EnsembleTrainer,
    ensemble_gradient,
    repeat_itself,
    stack,
    unstack,
)
from mgcore.thesis.lowerings import LOWERING, matrices
from mgcore.thesis.network import Weights, initial_weights, step_flops
from mgcore.thesis.objective import Objective
from mgcore.thesis.sgd import train_epoch

Result = dict[str, Any]
Results = Mapping[str, Mapping[str, Result]]  # by part and task
Task = Callable[[], Result]

# Tables 4.1 and 4.2, the images on which they are reproduced first.
TABLES = ("baseline-prolonged", "pooling-prolonged", "baseline-original", "pooling-original")
MODES = ("float32", "TF32")
# Largest relative distance between the device and a CPU: of weights after 50 steps in float64, and
# of a gradient in float32.
SAME_WEIGHTS, SAME_GRADIENT = 1e-10, 1e-5


@dataclass(frozen=True)
class Settings:
    """What every part needs to know.

    Attributes
    ----------
    device : {"cuda", "cpu"}
    tier : {"smoke", "class", "paper"}
    dataset : str
    results : mapping
        What earlier parts have found: the lowering and the tilings to use.
    """

    device: str
    tier: str
    dataset: str
    results: Results = field(default_factory=dict)

    @property
    def large(self) -> bool:
        """Whether sizes are those of a GPU."""
        return self.device == "cuda"

    @property
    def modes(self) -> tuple[str, ...]:
        """How float32 is multiplied: a CPU has no TF32."""
        return MODES if self.large else MODES[:1]


@dataclass(frozen=True)
class Part:
    """A list of tasks, and how long they take.

    Attributes
    ----------
    what : str
        What the part does, for the plan.
    tasks : callable
        From the settings to the tasks by name, in the order in which they run.
    seconds : callable
        From the settings and a task's name to its expected seconds.
    """

    what: str
    tasks: Callable[[Settings], dict[str, Task]]
    seconds: Callable[[Settings, str], float]


# Checks


def checks(settings: Settings) -> dict[str, Task]:
    """Compare the device's path with the sequential one on the CPU."""
    tasks: dict[str, Task] = {"fingerprint of the code": partial(check_fingerprint, settings)}
    for lowering in lowerings_on(settings.device):
        for pooling in (False, True):
            name = f"{lowering}, {'pooling' if pooling else 'no pooling'}"
            tasks[f"{name}, 50 steps in float64"] = partial(
                check_steps, settings.device, lowering, pooling
            )
            tasks[f"{name}, gradients in float32"] = partial(
                check_gradients, settings.device, lowering, pooling
            )
    if settings.large:
        tasks["captured steps beside called ones"] = partial(check_capture, settings.device)
        tasks["out of memory halves a group"] = check_memory
    return tasks


def check_fingerprint(settings: Settings) -> Result:
    """Compare the fingerprint of the code, on this machine's CPU, with the records'."""
    worst = 0.0
    for study in TABLES:
        record = committed(study, settings.tier)
        if record is not None and record.fingerprint is not None:
            worst = max(worst, deviation(record.fingerprint, fingerprint_of(record.protocol))[0])
    return {"distance": worst, "allowed": TOLERANCE, "agrees": worst <= TOLERANCE}


def _small_networks(
    pooling: bool, count: int = 6, side: int = 8
) -> tuple[Objective, list[dict[str, Tensor]], Tensor, Tensor]:
    """Return an objective, networks, images of noise and labels, on the CPU, in float64."""
    draw = torch.Generator().manual_seed(0)
    objective = Objective(side, pooling, alpha_theta=1e-3, alpha_w=1e-3)
    networks = [initial_weights(side, pooling, draw) for _ in range(count)]
    images = torch.randn(160, 1, side, side, generator=draw, dtype=torch.float64)
    return objective, networks, images, torch.randint(10, (160,), generator=draw)


def _moved(weights: Weights, device: str) -> dict[str, Tensor]:
    return {name: w.to(device, copy=True) for name, w in weights.items()}


def _distance(one: Weights, other: Weights) -> float:
    """Return the relative distance of two sets of weights, in float64 on the CPU."""
    a, b = (torch.cat([x[k].double().cpu().flatten() for k in sorted(x)]) for x in (one, other))
    return float((a - b).norm() / b.norm())


def check_steps(device: str, lowering: str, pooling: bool) -> Result:
    """Train six networks for 50 steps in float64, together and one after another on the CPU."""
    use_tf32(False)
    objective, networks, images, labels = _small_networks(pooling)
    starts = [_moved(one, "cpu") for one in networks]
    options: dict[str, Any] = {"batch": 16, "momentum": 0.9, "nesterov": True}
    velocity = [{k: torch.zeros_like(w) for k, w in one.items()} for one in networks]
    trainer = EnsembleTrainer(
        objective, _moved(stack(networks), device), _moved(stack(velocity), device),
        images.to(device), labels.to(device), lowering=lowering, resident=True, **options,
    )  # fmt: skip
    draw = torch.Generator().manual_seed(1)
    for epoch in range(1, 6):
        order = torch.stack([torch.randperm(160, generator=draw) for _ in networks])
        trainer.epoch(order.to(device), 0.02 / epoch)
        for weights, speed, mine in zip(networks, velocity, order, strict=True):
            train_epoch(
                objective, weights, speed, images, labels, mine, rate=0.02 / epoch, **options
            )
    # Beside the way that the weights went, which is shorter than the weights are.
    worst = max(
        _distance(one, other) / _distance(start, other)
        for one, other, start in zip(unstack(trainer.weights), networks, starts, strict=True)
    )
    return {"distance": worst, "allowed": SAME_WEIGHTS, "agrees": worst <= SAME_WEIGHTS}


def check_gradients(device: str, lowering: str, pooling: bool) -> Result:
    """Compare gradients in float32 with the CPU's in float64, from ten stored states."""
    use_tf32(False)
    objective, networks, images, labels = _small_networks(
        pooling, count=3, side=28 if device == "cuda" else 8
    )
    speed = [{k: torch.zeros_like(w) for k, w in one.items()} for one in networks]
    draw, worst = torch.Generator().manual_seed(2), 0.0
    for _ in range(10):
        mine = torch.randint(160, (3, 16), generator=draw)
        whole = stack([{k: w.float() for k, w in one.items()} for one in networks])
        found = ensemble_gradient(
            objective, _moved(whole, device), images[mine].float().to(device),
            labels[mine].to(device), lowering, in_place=True,
        )  # fmt: skip
        for i, (weights, one) in enumerate(zip(networks, unstack(found), strict=True)):
            # From the state that float32 can hold, so that only the gradient's rounding is left.
            at = {k: w.float().double().requires_grad_() for k, w in weights.items()}
            exact = objective.gradient(at, images[mine[i]], labels[mine[i]])
            worst = max(worst, _distance(one, exact))
            train_epoch(
                objective, weights, speed[i], images, labels, mine[i], rate=0.02, batch=16,
                momentum=0.9, nesterov=True,
            )  # fmt: skip
    return {"distance": worst, "allowed": SAME_GRADIENT, "agrees": worst <= SAME_GRADIENT}


def check_capture(device: str) -> Result:
    """Train by captured steps and by steps that the host calls, in float64."""
    objective, networks, images, labels = _small_networks(False)
    found = []
    for capture in (None, repeat_itself):
        trainer = EnsembleTrainer(
            objective, _moved(stack(networks), device),
            {k: torch.zeros_like(w) for k, w in _moved(stack(networks), device).items()},
            images.to(device), labels.to(device), batch=16, capture=capture,
        )  # fmt: skip
        for rate in (0.02, 0.01):
            order = torch.arange(160, device=device).expand(len(networks), -1)
            trainer.epoch(order, rate)
        found.append(trainer.weights)
    distance = _distance(found[0], found[1])
    return {"distance": distance, "allowed": 1e-12, "agrees": distance <= 1e-12}


def check_memory() -> Result:
    """Ask for more memory than there is; two of four blocks fit."""
    block = int(0.35 * torch.cuda.mem_get_info()[0])
    sizes = [
        len(group)
        for group, _ in in_groups(
            range(4), 4, lambda g: torch.empty(len(g), block, dtype=torch.uint8, device="cuda")
        )
    ]
    return {"groups": sizes, "agrees": sizes == [2, 2]}


# Rates


def rates(settings: Settings) -> dict[str, Task]:
    """Measure products, memory, tilings, and every lowering at both sizes."""
    device = settings.device
    tasks: dict[str, Task] = {}
    for mode in settings.modes:
        tasks[f"SGEMM, {mode}"] = partial(measure_product, device, mode)
    tasks["copy"] = partial(measure_copy, device)
    if "triton" in lowerings_on(device) and settings.large:
        for precision in ("ieee", "tf32x3", "tf32"):
            tasks[f"tilings, {precision}"] = partial(measure_tilings, precision)
    for mode in settings.modes:
        for lowering in lowerings_on(device):
            if mode == "TF32" and lowering == "triton-x3":
                continue  # it would multiply as in float32
            for side, pooling in _networks(settings):
                tasks[_rate_name(lowering, side, pooling, mode)] = partial(
                    measure_training, settings, lowering, side, pooling, mode
                )
    for side, pooling in _networks(settings)[:2]:
        tasks[_rate_name(f"{LOWERING}, not captured", side, pooling, "float32")] = partial(
            measure_training, settings, LOWERING, side, pooling, "float32", captured=False
        )
    return tasks


def _networks(settings: Settings) -> list[tuple[int, bool]]:
    """Return the pixels along a side and the pooling of every network, the largest first."""
    fine = study_protocol(TABLES[0], settings.tier, settings.dataset).resolution
    return [(side, pooling) for side in (fine, fine // 2) for pooling in (False, True)]


def _rate_name(method: str, side: int, pooling: bool, mode: str) -> str:
    return f"{method}, {side}×{side}, {'pooling' if pooling else 'no pooling'}, {mode}"


def _timed(work: Callable[[], object], device: str, budget: float) -> float:
    """Return the median seconds of a call with everything that it leaves on the device."""

    def whole() -> None:
        work()
        if device == "cuda":
            torch.cuda.synchronize()

    return seconds(whole, budget)


def measure_product(device: str, mode: str) -> Result:
    """Measure a product of two large matrices, in FLOP/s."""
    use_tf32(mode == "TF32")
    size = 8192 if device == "cuda" else 512
    a = torch.rand(size, size, device=device)
    b = torch.rand(size, size, device=device)
    return {"flops": 2 * size**3 / _timed(lambda: a @ b, device, 0.5)}


def measure_copy(device: str) -> Result:
    """Measure a copy on the device, in bytes read and written per second."""
    a = torch.rand(1 << (29 if device == "cuda" else 24), device=device)
    b = torch.empty_like(a)
    return {"bytes_per_second": 8 * a.numel() / _timed(lambda: b.copy_(a), device, 0.3)}


def measure_tilings(precision: str) -> Result:
    """Time Triton's kernels at 28×28 without pooling by several tilings; return the fastest."""
    from mgcore.thesis import triton_convolution as kernels

    draw = torch.Generator(device="cuda").manual_seed(0)
    x = torch.randn(60, BATCH, 28, 28, 32, device="cuda", generator=draw)
    w = torch.randn(60, 64, 32, 3, 3, device="cuda", generator=draw)
    slope = torch.randn(60, BATCH, 28, 28, 64, device="cuda", generator=draw)
    places = matrices(w).contiguous()
    turned = places.flip(1).mT.contiguous()

    def layers() -> None:
        y = kernels.correlate(x, places, 1, precision, relu=True)
        kernels.correlate(slope, turned, 1, precision, mask=y)

    def weights() -> None:
        kernels.weight_gradient(x, slope, slope, 1, precision)

    of_layers = [(128, 8, 2), (128, 4, 2), (64, 4, 2), (128, 8, 3)]
    of_weights = [(64, 8, 2), (32, 4, 2), (64, 4, 3)]
    times: dict[str, float | str] = {}

    def fastest(candidates: list[tuple[int, int, int]], work: Callable[[], None], at: int) -> None:
        best = float("inf")
        for candidate in candidates:
            before = kernels.TILINGS.get(precision, kernels.Tiling())
            values = list(before)
            values[at : at + 3] = candidate
            kernels.TILINGS[precision] = kernels.Tiling(*values)
            name = f"{work.__name__} {candidate}"
            try:
                times[name] = _timed(work, "cuda", 0.1)
            except Exception as error:  # a tiling may need more registers or shared memory
                times[name] = " ".join(str(error).split())[:200]
            value = times[name]
            if isinstance(value, float) and value < best:
                best = value
            else:
                kernels.TILINGS[precision] = before

    fastest(of_layers, layers, 0)
    fastest(of_weights, weights, 3)
    return {"tiling": list(kernels.TILINGS.get(precision, kernels.Tiling())), "seconds": times}


def use_tilings(settings: Settings) -> None:
    """Let Triton's kernels use the tilings that were the fastest on this device."""
    found = {
        name.removeprefix("tilings, "): result["tiling"]
        for name, result in settings.results.get("rates", {}).items()
        if "tiling" in result
    }
    if found:
        from mgcore.thesis import triton_convolution as kernels

        kernels.TILINGS.update({name: kernels.Tiling(*tiling) for name, tiling in found.items()})


def measure_training(
    settings: Settings, method: str, side: int, pooling: bool, mode: str,
    networks: int | None = None, captured: bool = True,
) -> Result:  # fmt: skip
    """Measure training of several networks, in FLOP/s over all of them."""
    use_tilings(settings)
    use_tf32(mode == "TF32")
    count = networks or (60 if settings.large else 3)
    if method == ONE_BY_ONE:
        count = min(count, 3)  # the rate does not depend on how many follow one another
    steps = 20 if settings.large else 4
    epoch = training_epoch(method, count, side, pooling, settings.device, steps, BATCH, captured)
    spent = _timed(epoch, settings.device, 0.3)
    return {
        "flops": count * steps * BATCH * step_flops(side, pooling) / spent,
        "seconds_per_step": spent / steps, "networks": count,
    }  # fmt: skip


# Tables


def tables(mode: str, settings: Settings) -> dict[str, Task]:
    """Train the networks of Tables 4.1 and 4.2, and compare with the record."""
    return {study: partial(make_table, settings, study, mode) for study in TABLES}


def best_lowering(settings: Settings, side: int, pooling: bool, mode: str) -> str:
    """Return the fastest lowering among those whose gradients agree; the default if none was."""
    found = settings.results.get("rates", {})
    checked = settings.results.get("checks", {})
    best, fastest = LOWERING, 0.0
    for lowering in lowerings_on(settings.device):
        rate = found.get(_rate_name(lowering, side, pooling, mode), {}).get("flops", 0.0)
        name = f"{lowering}, {'pooling' if pooling else 'no pooling'}, gradients in float32"
        if rate > fastest and checked.get(name, {}).get("agrees"):
            best, fastest = lowering, rate
    return best


@lru_cache(maxsize=4)
def _coarse_networks(key: str, mode: str) -> dict[int, PhaseState]:
    """Return a place for the coarse networks that studies share, by trial."""
    return {}


def make_table(settings: Settings, study: str, mode: str) -> Result:
    """Run all trials of a study on the device, without checkpoints, and compare with the record.

    The clock runs from the images in memory to the last measurement; loss surfaces and the other
    measures of a trial are no part of a table.
    """
    use_tilings(settings)
    use_tf32(mode == "TF32")
    protocol = study_protocol(study, settings.tier, settings.dataset)
    lowering = best_lowering(settings, protocol.resolution, protocol.pooling, mode)
    count, sizes = DEFAULT_TRIALS[settings.tier], []
    load_digits(
        protocol.dataset, protocol.n_coarse + protocol.n_fine + protocol.n_validation,
        protocol.resolution,
    )  # fmt: skip
    known = _coarse_networks(protocol.key(*COARSE_FIELDS), mode)
    shared = set(known) >= set(range(count))
    trials: list[Trial] = []

    def train(group: Any) -> dict[int, dict[str, PhaseState]]:
        return advance(
            protocol, {number: _no_tick for number in group}, device=settings.device, cache=None,
            lowering=lowering, coarse=known if shared else None,
        )  # fmt: skip

    began = time.perf_counter()
    size = min(count, room(protocol, settings.device))
    spent = {"training": 0.0, "evaluation": 0.0}
    for group, states in in_groups(range(count), size, train):
        sizes.append(len(group))
        for number, networks in states.items():
            known[number] = networks["coarse"]
            metrics = {name: state.history for name, state in networks.items()}
            trials.append({"trial": number, "metrics": metrics})
            for name, state in networks.items():
                if not (shared and name == "coarse"):
                    for what in spent:
                        spent[what] += state.seconds[what]
    whole = time.perf_counter() - began
    return {
        "seconds": whole, **spent, "trials": count, "groups": sizes, "lowering": lowering,
        "coarse networks": "trained before" if shared else "trained here",
        "flops": count * _training_flops(protocol, not shared) / whole,
        **_agreement(protocol, study, settings.tier, trials),
    }  # fmt: skip


def _no_tick(work: float) -> None:
    pass


def _training_flops(protocol: Protocol, coarse: bool) -> float:
    """Return the operations of training and measuring the networks of a trial."""
    return sum(
        flops(phase_work(protocol, phase))
        for phase in phases(protocol) if coarse or phase.grid == "fine"
    )  # fmt: skip


def _agreement(protocol: Protocol, study: str, tier: str, trials: list[Trial]) -> Result:
    """Compare trials with the committed record by the statistics of the book."""
    own = {name: [cell(trial, name) for trial in trials] for name in table_cells(trials)}
    try:
        record = committed(study, tier)
    except RecordError:  # outside the project
        record = None
    if record is None or record.protocol.key() != protocol.key():
        sentence = "There is no record of this study to compare with."
        return {"cells": own, "agrees": None, "sentence": sentence}
    recorded = record.trials()
    outcome = same_seeds(trials, recorded, rounding_spread(protocol))
    return {
        "cells": own,
        "means": {name: interval(values)[0] for name, values in own.items()},
        "recorded means": {
            name: interval(cell(trial, name) for trial in recorded)[0] for name in own
        },
        "agrees": outcome.agrees, "method": outcome.method, "sentence": outcome.sentence,
    }  # fmt: skip


# Numbers of networks, and other ways of training


def ensembles(settings: Settings) -> dict[str, Task]:
    """Measure training by number of networks, one network after another, and the plain script."""
    tasks: dict[str, Task] = {}
    counts = (1, 3, 20, 60) if settings.large else (1, 3)
    for side, pooling in _networks(settings)[::2]:
        for mode in settings.modes:
            tasks[_rate_name(ONE_BY_ONE, side, pooling, mode)] = partial(
                measure_training, settings, ONE_BY_ONE, side, pooling, mode
            )
        tasks[_rate_name("plain script", side, pooling, "float32")] = partial(
            measure_plain_script, settings, side, pooling
        )
        for count in counts:
            lowering = best_lowering(settings, side, pooling, "float32")
            name = "1 network" if count == 1 else f"{count} networks"
            tasks[_rate_name(name, side, pooling, "float32")] = partial(
                measure_training, settings, lowering, side, pooling, "float32", count
            )
    return tasks


def measure_plain_script(settings: Settings, side: int, pooling: bool) -> Result:
    """Measure the plain PyTorch script on the device, in FLOP/s."""
    use_tf32(False)
    draw = torch.Generator().manual_seed(0)
    count = 40 * BATCH if settings.large else 4 * BATCH
    start = {k: w.float() for k, w in initial_weights(side, pooling, draw).items()}
    images = torch.rand(count, 1, side, side, generator=draw)
    options = {
        "seed": 0, "pooling": pooling, "rate": 1e-4, "momentum": 0.9, "nesterov": True,
        "batch": BATCH, "epochs": 1, "alpha_theta": 1e-4, "alpha_w": 1e-4,
        "device": settings.device,
    }  # fmt: skip
    labels = torch.arange(count) % 10
    spent = _timed(
        lambda: train_plain_script(images, labels, count, start, options), settings.device, 0.5
    )
    return {"flops": count * step_flops(side, pooling) / spent}


# Newton's methods


def newton(settings: Settings) -> dict[str, Task]:
    """Retrain small networks by every Newton method, on the device and on the CPU, in float64."""
    return {
        f"{retraining}, {method}": partial(check_newton, settings.device, retraining, method)
        for retraining in ("classifier", "joint")
        for method in NEWTONS
    }


def check_newton(device: str, retraining: str, method: str) -> Result:
    """Compare one small trial; conjugate gradients amplify rounding, so a loose bound holds."""
    protocol = Protocol.calibrated(
        "smoke", dataset="strokes", n_coarse=128, n_fine=64, n_validation=64, coarse_epochs=1,
        fine_epochs=1, classifier_epochs=2, subset=16, cg_iterations=3, retraining=retraining,
        newton=method,
    )  # fmt: skip
    losses, spent = [], {}
    for where in ("cpu", device):
        began = time.perf_counter()
        metrics = run_trial(protocol, 0, device=where)["metrics"]
        spent[where] = time.perf_counter() - began
        losses.append([row["training_loss"] for name in sorted(metrics) for row in metrics[name]])
    worst = max(abs(a - b) / max(abs(a), 1e-3) for a, b in zip(*losses, strict=True))
    return {"distance": worst, "allowed": 1e-4, "agrees": worst <= 1e-4, "seconds": spent}


def _table_seconds(mode: str, settings: Settings, study: str) -> float:
    """Predict the seconds of a study from the measured rate, or from a cautious guess."""
    protocol = study_protocol(study, settings.tier, settings.dataset)
    lowering = best_lowering(settings, protocol.resolution, protocol.pooling, mode)
    name = _rate_name(lowering, protocol.resolution, protocol.pooling, mode)
    measured = settings.results.get("rates", {}).get(name, {}).get("flops")
    guess = {"float32": 15e12, "TF32": 30e12}[mode] if settings.large else 2e10
    count = DEFAULT_TRIALS[settings.tier]
    # The small coarse networks and the evaluations run at a lower rate than the fine networks.
    return 1.0 + 1.5 * count * _training_flops(protocol, True) / (measured or guess)


def _check_seconds(settings: Settings, name: str) -> float:
    slow = "triton" in name or "fingerprint" in name  # kernels are compiled; twelve paths are run
    return 8.0 if slow and settings.large else 2.0


def _rate_seconds(settings: Settings, name: str) -> float:
    if name.startswith("tilings"):
        return 25.0
    return 1.5 if settings.large else 1.0


# In the order of worth.
PARTS: dict[str, Part] = {
    "checks": Part("the device's path beside the CPU's", checks, _check_seconds),
    "rates": Part("products, memory, every lowering", rates, _rate_seconds),
    "tables, float32": Part(
        "Tables 4.1 and 4.2 in float32", partial(tables, "float32"),
        partial(_table_seconds, "float32"),
    ),
    "tables, TF32": Part(
        "Tables 4.1 and 4.2 in TF32", partial(tables, "TF32"), partial(_table_seconds, "TF32")
    ),
    "ensembles": Part(
        "rates by number of networks, and beside other ways", ensembles, _rate_seconds
    ),
    "newton": Part("Newton's methods beside the CPU's", newton, lambda settings, name: 5.0),
}  # fmt: skip


def parts_on(device: str) -> list[str]:
    """Return the names of the parts that a device can run, in the order of worth."""
    return [name for name in PARTS if device == "cuda" or name != "tables, TF32"]
