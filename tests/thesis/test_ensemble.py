"""Many networks at once, held to one after another by the same step."""

import pytest
import torch

from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.lab.trial.trial import draw_split, fresh_weights, grid_images
from mgcore.thesis.ensemble import (
    LOWERINGS,
    ensemble_gradient,
    ensemble_logits,
    evaluate_ensemble,
    stack,
    train_ensemble_epoch,
    unstack,
)
from mgcore.thesis.network import refine_weights
from mgcore.thesis.objective import Objective, evaluate
from mgcore.thesis.sgd import sgd_update, train_epoch

BATCH = 8
EVERY = pytest.mark.parametrize("lowering", LOWERINGS)
POOLING = pytest.mark.parametrize("pooling", [False, True])


def arms(pooling, dtype="float64", trials=2, **changes):
    """Return the objective, every arm's start and set, and the images of some trials."""
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
    x = torch.stack([one.training for one in images])
    y = torch.stack([one.training_labels for one in images])
    return protocol.objective("fine"), starts, torch.tensor(of), x, y


def norm(weights):
    return float(torch.cat([w.flatten() for w in weights.values()]).norm())


def apart(one, other):
    """Relative distance of two sets of weights."""
    return norm({k: one[k] - other[k] for k in one}) / norm(other)


def at_rest(starts):
    """Return velocities of zero for all networks, stacked."""
    return stack([{k: 0 * w for k, w in start.items()} for start in starts])


def order_of(steps, sets, count):
    draw = torch.Generator().manual_seed(3)
    return [torch.stack([torch.randperm(count, generator=draw) for _ in range(sets)])
            for _ in range(steps)]  # fmt: skip


@pytest.mark.parametrize(
    ("pooling", "momentum", "nesterov"), [(False, 0.9, True), (True, 0.9, True), (True, 0.0, False)]
)
def test_fifty_steps_in_float64_are_those_of_one_after_another(pooling, momentum, nesterov):
    """Every condition of two trials, through epochs of eight steps and one of two."""
    objective, starts, of, images, labels = arms(pooling)
    options = {"batch": BATCH, "momentum": momentum, "nesterov": nesterov}
    together = {lowering: (stack(starts), at_rest(starts)) for lowering in LOWERINGS}
    apart_, speeds = unstack(stack(starts)), unstack(at_rest(starts))
    steps = 0
    for epoch, order in enumerate(order_of(7, 2, images.shape[1]), 1):
        order = order[:, : min(8, 50 - steps) * BATCH]
        steps += order.shape[1] // BATCH
        for lowering, (weights, velocity) in together.items():
            train_ensemble_epoch(
                objective, weights, velocity, images, labels, order, of, rate=0.02 / epoch,
                lowering=lowering, **options,
            )  # fmt: skip
        for weights, speed, which in zip(apart_, speeds, of.tolist(), strict=True):
            train_epoch(
                objective, weights, speed, images[which], labels[which], order[which],
                rate=0.02 / epoch, **options,
            )  # fmt: skip
    assert steps == 50
    for lowering, (weights, _) in together.items():
        for one, other, start in zip(unstack(weights), apart_, starts, strict=True):
            assert apart(one, other) < 1e-10, lowering
            assert apart(one, start) > 1e-3  # they went somewhere


@POOLING
def test_one_step_in_float32_from_fifty_states(pooling):
    """From every state on the way of one after another, for every condition: no amplification."""
    objective, starts, of, images, labels = arms(pooling, "float32", trials=1)
    states = unstack(stack(starts))
    velocity = [{k: torch.zeros_like(w) for k, w in s.items()} for s in states]
    draw = torch.Generator().manual_seed(4)
    for _ in range(50):
        chosen = torch.randint(images.shape[1], (1, BATCH), generator=draw)
        x, y = images[of[:, None], chosen[of]], labels[of[:, None], chosen[of]]
        many = {
            lowering: unstack(ensemble_gradient(objective, stack(states), x, y, lowering))
            for lowering in LOWERINGS
        }
        for i, weights in enumerate(states):
            leaves = {k: w.requires_grad_() for k, w in weights.items()}
            one = objective.gradient(leaves, x[i], y[i])
            for w in weights.values():
                w.requires_grad_(False)
            for lowering, gradients in many.items():
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
    logits = ensemble_logits(objective, weights, images[of][:, :5], lowering)
    measured = evaluate_ensemble(objective, weights, images, labels, of, batch=7, lowering=lowering)
    for i, one in enumerate(unstack(weights)):
        mine = objective.logits(one, images[of[i], :5])
        torch.testing.assert_close(logits[i], mine, rtol=1e-12, atol=1e-12)
        expected = evaluate(objective, one, images[of[i]], labels[of[i]])
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
    objective, starts, of, images, labels = arms(False)
    weights = stack(starts)
    with pytest.raises(ValueError) as raised:
        ensemble_logits(objective, weights, images[of][:, :1], "im2col")
    assert str(raised.value) == "lowering must be 'grouped' or 'unfold', got 'im2col'."
    order = torch.arange(6).expand(2, -1)
    with pytest.raises(ValueError) as raised:
        train_ensemble_epoch(
            objective, weights, weights, images, labels, order, of, rate=1.0, batch=7
        )
    assert str(raised.value) == "batch must be at most the 6 images, got 7."
    velocity = {k: torch.zeros_like(w) for k, w in weights.items()}
    with pytest.raises(FloatingPointError) as raised:
        train_ensemble_epoch(
            objective, weights, velocity, images, labels, order, of, rate=float("inf"), batch=3
        )
    assert str(raised.value) == "training diverged: conv1.weight is no longer finite."
