"""Many networks at once, held to one after another by the same step."""

import importlib.util
from functools import lru_cache

import pytest
import torch

from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.lab.trial.trial import draw_split, fresh_weights, grid_images
from mgcore.thesis.ensemble import (
    EnsembleTrainer,
    ensemble_gradient,
    ensemble_logits,
    evaluate_ensemble,
    stack,
    unstack,
)
from mgcore.thesis.lowerings import check_lowering
from mgcore.thesis.network import refine_weights
from mgcore.thesis.objective import Objective, evaluate
from mgcore.thesis.sgd import sgd_update, train_epoch

BATCH = 8
# Triton's are tested in tests/thesis/test_triton_convolution.py.
LOWERINGS_HERE = ("grouped", "unfold", "shifted")
EVERY = pytest.mark.parametrize("lowering", LOWERINGS_HERE)
POOLING = pytest.mark.parametrize("pooling", [False, True])


def arms(pooling, dtype="float64", trials=2, **changes):
    """Return the objective, every arm's start and trial, and the images of all trials."""
    protocol = Protocol.printed(
        "smoke", dataset="strokes", pooling=pooling, resolution=8, n_coarse=24, n_fine=64,
        n_validation=30, subset=8, batch=BATCH, dtype=dtype, **changes,
    )  # fmt: skip
    starts, of, images = [], [], []
    for trial in range(trials):
        digits, chosen = draw_split(protocol, trial)
        images.append(grid_images(protocol, digits, chosen, "fine"))
        coarse = fresh_weights(protocol, trial, "coarse")
        for arm in CONDITIONS:
            start = fresh_weights(protocol, trial, "fine")
            if arm != "new":
                stencils = "copy" if arm == "transfer" else "galerkin"
                start = refine_weights(coarse, protocol.coarse_side, stencils=stencils)
            starts.append({k: w.to(images[0].training.dtype) for k, w in start.items()})
            of.append(trial)
    x = torch.cat([one.training for one in images])
    y = torch.cat([one.training_labels for one in images])
    return protocol.objective("fine"), starts, torch.tensor(of), x, y


def norm(weights):
    return float(torch.cat([w.flatten() for w in weights.values()]).norm())


def apart(one, other):
    """Relative distance of two sets of weights."""
    return norm({k: one[k] - other[k] for k in one}) / norm(other)


def zeros_like(starts):
    return [{name: torch.zeros_like(w) for name, w in start.items()} for start in starts]


def epochs(of, count):
    """Yield the images' order and the rate of two epochs of five steps and one of two steps.

    The arms of a trial share an order.
    """
    draw = torch.Generator().manual_seed(3)
    for epoch, steps in enumerate((5, 5, 2), start=1):
        order = torch.stack([torch.randperm(count, generator=draw) for _ in range(2)])
        yield order[of, : steps * BATCH], 0.02 / epoch


@lru_cache
def trained_one_after_another(pooling, **sgd):
    """Return the weights of every network after its own training."""
    objective, starts, of, images, labels = arms(pooling)
    each, speeds, count = unstack(stack(starts)), zeros_like(starts), len(images) // 2
    for order, rate in epochs(of, count):
        for i, trial in enumerate(of.tolist()):
            mine = slice(trial * count, (trial + 1) * count)
            train_epoch(
                objective, each[i], speeds[i], images[mine], labels[mine], order[i],
                rate=rate, batch=BATCH, **sgd,
            )  # fmt: skip
    return each


def train_both_ways(pooling, lowering, momentum, nesterov, rule="torch", **options):
    """Train networks together, and compare each with its training alone."""
    objective, starts, of, images, labels = arms(pooling)
    sgd = {"momentum": momentum, "nesterov": nesterov, "rule": rule}
    together, count = stack(starts), len(images) // 2
    trainer = EnsembleTrainer(
        objective, together, stack(zeros_like(starts)), images, labels, lowering=lowering,
        batch=BATCH, **sgd, **options,
    )  # fmt: skip
    for order, rate in epochs(of, count):
        trainer.epoch(order + count * of[:, None], rate)
    each = trained_one_after_another(pooling, **sgd)
    for one, other, start in zip(unstack(together), each, starts, strict=True):
        assert apart(one, other) < 1e-10
        assert apart(one, start) > 1e-3  # they went somewhere


@EVERY
@pytest.mark.parametrize(
    ("pooling", "momentum", "nesterov"), [(False, 0.9, True), (True, 0.9, True), (True, 0.0, False)]
)
def test_training_together_in_float64_is_that_of_one_after_another(
    lowering, pooling, momentum, nesterov
):
    train_both_ways(pooling, lowering, momentum, nesterov)


@pytest.mark.parametrize(
    ("momentum", "nesterov", "rule"),
    [(0.9, True, "torch"), (0.5, False, "torch"), (0.0, False, "torch"), (0.9, True, "package"),
     (0.9, False, "package")],
)  # fmt: skip
def test_a_step_that_reads_everything_from_the_device_is_the_same(momentum, nesterov, rule):
    """The function that a GPU captures, repeated here by a capture that calls it."""
    captures = []

    def capture(step):
        captures.append(step)
        return step

    train_both_ways(
        True, "shifted", momentum, nesterov, rule=rule, resident=True, capture=capture
    )  # fmt: skip
    assert len(captures) == 1  # one for all epochs of five steps; two steps are too few for one


def test_a_capture_replaces_every_step_after_the_first_ones():
    """A repeated step must not depend on what was passed to the epoch of its capture."""
    objective, starts, of, images, labels = arms(False, trials=1)
    calls = {"captured": 0, "replayed": 0}

    def capture(step):
        calls["captured"] += 1

        def replay():
            calls["replayed"] += 1
            step()

        return replay

    trainer = EnsembleTrainer(
        objective, stack(starts), stack(zeros_like(starts)), images, labels, batch=BATCH,
        resident=True, capture=capture,
    )  # fmt: skip
    reference = EnsembleTrainer(
        objective, stack(starts), stack(zeros_like(starts)), images, labels, batch=BATCH
    )
    draw = torch.Generator().manual_seed(1)
    for rate in (0.02, 0.01, 0.005):
        order = torch.randperm(len(images), generator=draw).expand(3, -1)
        trainer.epoch(order, rate)
        reference.epoch(order, rate)
    assert calls == {"captured": 1, "replayed": 3 * 8 - 3}
    assert apart(trainer.weights, reference.weights) < 1e-12


@POOLING
def test_one_step_in_float32_from_every_state_of_training(pooling):
    """From every state on the way of one after another, for every arm: nothing is amplified."""
    objective, starts, of, images, labels = arms(pooling, "float32", trials=1)
    states = unstack(stack(starts))
    velocity = [{k: torch.zeros_like(w) for k, w in s.items()} for s in states]
    draw = torch.Generator().manual_seed(4)
    for _ in range(20):
        chosen = torch.randint(len(images), (1, BATCH), generator=draw)[of]
        x, y = images[chosen], labels[chosen]
        together = {
            lowering: unstack(ensemble_gradient(objective, stack(states), x, y, lowering))
            for lowering in LOWERINGS_HERE
        }
        for i, weights in enumerate(states):
            leaves = {k: w.requires_grad_() for k, w in weights.items()}
            one = objective.gradient(leaves, x[i], y[i])
            for w in weights.values():
                w.requires_grad_(False)
            for lowering, gradients in together.items():
                assert apart(gradients[i], one) < 1e-5, lowering
            sgd_update(weights, velocity[i], one, 0.02, 0.9, True)


@EVERY
@POOLING
@pytest.mark.parametrize("padding", ["zeros", "circular"])
@pytest.mark.parametrize("bias", [True, False])
def test_logits_and_measurements_are_those_of_each(lowering, pooling, padding, bias):
    objective, starts, of, images, labels = arms(
        pooling, padding=padding, classifier_bias=bias, normalisation="standardised"
    )
    assert objective.padding == padding and ("classifier.bias" in starts[0]) == bias
    weights = stack(starts)
    if bias:
        weights["classifier.bias"] += torch.arange(10) / 50
    mine = torch.arange(len(images)).view(2, -1)[of]  # each network has the images of its trial
    logits = ensemble_logits(objective, weights, images[mine[:, :5]], lowering)
    measured = evaluate_ensemble(
        objective, weights, images, labels, mine, batch=7, lowering=lowering
    )
    for i, one in enumerate(unstack(weights)):
        expected = objective.logits(one, images[mine[i, :5]])
        torch.testing.assert_close(logits[i], expected, rtol=1e-12, atol=1e-12)
        expected = evaluate(objective, one, images[mine[i]], labels[mine[i]])
        assert measured[i] == pytest.approx(expected, rel=1e-12)


@EVERY
def test_constants_made_under_vmap_do_not_escape(lowering):
    """A size that nothing has pooled before: the pooling's matrix is made here first."""
    objective = Objective(20, True)
    weights = {
        "conv1.weight": torch.ones(2, 32, 1, 3, 3), "conv2.weight": torch.ones(2, 64, 32, 3, 3),
        "classifier.weight": torch.ones(2, 10, 6400),
    }  # fmt: skip
    images, labels = torch.ones(2, 3, 1, 20, 20), torch.zeros(2, 3, dtype=torch.int64)
    ensemble_gradient(objective, weights, images, labels, lowering)
    assert objective.logits({k: w[0] for k, w in weights.items()}, images[0]).isfinite().all()


def test_bad_arguments_get_one_sentence():
    objective, starts, of, images, labels = arms(False, trials=1)
    weights = stack(starts)
    with pytest.raises(ValueError) as raised:
        ensemble_logits(objective, weights, images[:1].expand(3, 1, -1, -1, -1), "im2col")
    assert str(raised.value) == (
        "lowering must be one of 'grouped', 'unfold', 'shifted', 'triton', 'triton-x3', got "
        "'im2col'."
    )

    def trainer(**options):
        return EnsembleTrainer(
            objective, weights, stack(zeros_like(starts)), images, labels, **options
        )

    order = torch.arange(6).expand(3, -1)
    with pytest.raises(ValueError) as raised:
        trainer(batch=7).epoch(order, 1.0)
    assert str(raised.value) == "batch must be at most the 6 images, got 7."
    with pytest.raises(FloatingPointError) as raised:
        trainer(batch=3).epoch(order, float("inf"))
    assert str(raised.value) == "training diverged: conv1.weight is no longer finite."


def test_triton_is_refused_in_a_sentence_where_it_cannot_run(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs Triton, which is not installed"):
        check_lowering("triton", "cuda")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ValueError, match="needs a CUDA device, got 'cpu'"):
        check_lowering("triton-x3", "cpu")
    check_lowering("triton", "cuda")
