"""Hessian products against dense matrices, and the forms of them against each other."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import profile

from mgcore.thesis.curvature import (
    flatten,
    local_model,
    objective_value,
    pass_bytes,
    unflatten,
)
from mgcore.thesis.hessian_products import softmax_hessian
from mgcore.thesis.network import initial_weights
from mgcore.thesis.objective import Objective

PENALTIES = {"alpha_theta": 0.3, "alpha_w": 0.2, "h": 0.5}
CASES = pytest.mark.parametrize(
    ("pooling", "padding"), [(p, q) for p in (False, True) for q in ("zeros", "circular")]
)
BOTH = pytest.mark.parametrize("hessian", ["full", "gauss-newton"])


def problem(pooling=False, padding="zeros", bias=True, count=5, seed=3, **penalties):
    """A network of 2 and 3 channels on 4×4 images, small enough for its dense Hessian."""
    draw = torch.Generator().manual_seed(seed)
    side = 2 if pooling else 4

    def normal(*shape, scale=1.0):
        return scale * torch.randn(shape, generator=draw, dtype=torch.float64)

    weights = {
        "conv1.weight": normal(2, 1, 3, 3), "conv2.weight": normal(3, 2, 3, 3, scale=0.5),
        "classifier.weight": normal(10, 3 * side**2, scale=0.3),
    }  # fmt: skip
    if bias:
        weights["classifier.bias"] = normal(10)
    objective = Objective(4, pooling, padding, **penalties)
    labels = torch.randint(10, (count,), generator=draw)
    return objective, weights, normal(count, 1, 4, 4), labels


def direction(weights, seed=4):
    count = sum(w.numel() for w in weights.values())
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whole(objective, weights, images, labels):
    """The objective as a function of one vector, from its definition."""

    def value(x):
        moved = unflatten(x, weights)
        loss = F.cross_entropy(objective.logits(moved, images), labels)
        return loss + objective.penalty(moved)

    return value


def dense(objective, weights, images, labels, hessian):
    """The Hessian or its Gauss–Newton part as a matrix."""
    x = flatten(weights)
    if hessian == "full":
        return torch.func.hessian(whole(objective, weights, images, labels))(x)
    logits = objective.logits(weights, images)
    jacobian = torch.func.jacrev(lambda y: objective.logits(unflatten(y, weights), images))(x)
    penalty = torch.func.hessian(lambda y: objective.penalty(unflatten(y, weights)))(x)
    for row, j in zip(logits.softmax(dim=1), jacobian, strict=True):
        penalty += j.T @ (torch.diag(row) - torch.outer(row, row)) @ j / len(images)
    return penalty


def chunks_of(count, objective):
    """The memory in which `count` images fit."""
    return count * pass_bytes(objective, 1, 8)


def relative(a, b):
    return float((a - b).norm() / b.norm())


@BOTH
@CASES
@pytest.mark.parametrize("penalties", [{}, PENALTIES])
def test_value_gradient_and_product_are_those_of_the_dense_matrix(
    pooling, padding, hessian, penalties
):
    given = problem(pooling, padding, **penalties)
    x, value = flatten(given[1]), whole(*given)
    here = local_model(*given, hessian)
    assert here.value == pytest.approx(float(value(x)), rel=1e-14)
    assert relative(here.gradient, torch.func.grad(value)(x)) < 1e-13
    matrix = dense(*given, hessian)
    for seed in range(3):
        d = direction(given[1], seed)
        assert relative(here.hvp(d), matrix @ d) < 1e-12


@BOTH
@CASES
def test_products_are_symmetric_and_linear(pooling, padding, hessian):
    given = problem(pooling, padding, **PENALTIES)
    here = local_model(*given, hessian)
    u, v = direction(given[1], 1), direction(given[1], 2)
    assert float(u @ here.hvp(v)) == pytest.approx(float(v @ here.hvp(u)), rel=1e-12)
    assert relative(here.hvp(2 * u - 3 * v), 2 * here.hvp(u) - 3 * here.hvp(v)) < 1e-12
    assert torch.equal(here.hvp(u), here.hvp(u))  # what is kept is not used up


@CASES
def test_the_gradients_remainder_is_of_second_order(pooling, padding):
    objective, weights, images, labels = problem(pooling, padding, **PENALTIES)
    here = local_model(objective, weights, images, labels)
    d = direction(weights)
    product, sizes = here.hvp(d), []
    steps = [2.0**-k for k in range(12, 17)]  # so short that no ReLU changes sides
    for t in steps:
        moved = unflatten(flatten(weights) + t * d, weights)
        there = local_model(objective, moved, images, labels).gradient
        sizes.append(float((there - here.gradient - t * product).norm()))
    slopes = [math.log2(a / b) for a, b in zip(sizes, sizes[1:], strict=False)]
    assert all(1.95 < slope < 2.05 for slope in slopes), slopes


@BOTH
@CASES
@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_chunks_give_what_the_kept_pass_gives(pooling, padding, hessian, chunk):
    given = problem(pooling, padding, **PENALTIES)
    kept = local_model(*given, hessian)
    chunked = local_model(*given, hessian, memory=chunks_of(chunk, given[0]))
    assert chunked.value == pytest.approx(kept.value, rel=1e-14)
    assert relative(chunked.gradient, kept.gradient) < 1e-12
    d = direction(given[1])
    assert relative(chunked.hvp(d), kept.hvp(d)) < 1e-12


@pytest.mark.parametrize("hessian", ["full", "gauss-newton"])
@pytest.mark.parametrize("memory", [0, 2**30])
def test_both_forms_work_where_gradients_are_switched_off(hessian, memory):
    given = problem(True, "zeros", **PENALTIES)
    here = local_model(*given, hessian, memory=memory)
    d = direction(given[1])
    with torch.no_grad():
        off = local_model(*given, hessian, memory=memory)
        assert torch.equal(off.gradient, here.gradient) and torch.equal(off.hvp(d), here.hvp(d))


@BOTH
def test_the_networks_own_layout_without_a_bias(hessian):
    """All 18,720 stencil entries at once: kept against chunked, and the gradient by autograd."""
    draw = torch.Generator().manual_seed(5)
    objective = Objective(8, True, **PENALTIES)
    weights = initial_weights(8, True, draw, stencil_scale="he", classifier_bias=False)
    images = torch.rand(3, 1, 8, 8, generator=draw, dtype=torch.float64)
    given = objective, weights, images, torch.tensor([3, 1, 4])
    kept = local_model(*given, hessian)
    chunked = local_model(*given, hessian, memory=0)  # one image at a time at least
    d = direction(weights)
    assert relative(chunked.hvp(d), kept.hvp(d)) < 1e-12
    leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
    gradient = objective.gradient(leaves, *given[2:])
    assert list(gradient) == list(weights) and "classifier.bias" not in weights
    assert relative(kept.gradient, flatten(gradient)) < 1e-13


def test_memory_decides_between_the_two_forms(monkeypatch):
    from mgcore.thesis import curvature

    used = []
    for name in ("_kept", "_chunked"):
        real = getattr(curvature, name)
        monkeypatch.setattr(
            curvature,
            name,
            lambda *a, name=name, real=real: (used.append((name, *a[4:])), real(*a))[1],
        )
    given = problem()
    for memory, form in ((5, ("_kept", "full")), (4, ("_chunked", "full", 4))):
        local_model(*given, "full", chunks_of(memory, given[0]))
        assert used[-1] == form
    local_model(*given, "gauss-newton")
    assert used[-1] == ("_kept", "gauss-newton")


def peak_bytes(function):
    """Return the most memory that torch held during a call, by its own account."""
    cpu = torch.profiler.ProfilerActivity.CPU
    with profile(activities=[cpu], profile_memory=True) as watched:
        function()
    held = most = 0
    taken = [e for e in watched.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(taken, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@pytest.mark.parametrize("pooling", [False, True])
def test_the_estimate_of_memory_is_that_of_a_kept_pass_and_a_product(pooling):
    draw = torch.Generator().manual_seed(5)
    objective = Objective(28, pooling)
    weights = {k: w.float() for k, w in initial_weights(28, pooling, draw).items()}
    d, sizes = direction(weights).float(), []
    for count in (4, 12):  # the difference is free of the weights' own
        images = torch.rand(count, 1, 28, 28, generator=draw)

        def twice(images=images):
            here = local_model(objective, weights, images, torch.arange(len(images)) % 10)
            return here.hvp(d) + here.hvp(d)

        sizes.append(peak_bytes(twice))
    estimate = pass_bytes(objective, 8)
    assert 0.75 * estimate < sizes[1] - sizes[0] < estimate
    assert pass_bytes(objective, 8, 8) == estimate * 2 == 8 * pass_bytes(objective, 1, 8)


def test_gauss_newton_is_never_indefinite_where_the_hessian_is():
    indefinite = 0
    for seed in range(8):
        given = problem(seed % 2 == 0, seed=seed, count=3)
        parts = [torch.linalg.eigvalsh(dense(*given, kind)) for kind in ("full", "gauss-newton")]
        assert parts[1][0] > -1e-12 * parts[1][-1]
        indefinite += bool(parts[0][0] < -1e-3 * parts[0][-1])
        here = local_model(*given, "gauss-newton")
        for again in range(5):
            d = direction(given[1], again)
            assert float(d @ here.hvp(d)) > 0
    assert indefinite == 8


def test_a_penalty_enters_both_hessians_in_full():
    plain, penalised = problem(), problem(**PENALTIES)
    d = direction(plain[1])
    rough = torch.zeros_like(d)
    parts, given = unflatten(rough, plain[1]), unflatten(d, plain[1])
    for name in ("conv1.weight", "conv2.weight"):
        parts[name] += 0.3 * given[name]
    w = given["classifier.weight"].reshape(30, 4, 4)
    slope = torch.func.grad(
        lambda w: 0.5 * 0.2 / 0.25 * (w.diff(dim=1).square().sum() + w.diff(dim=2).square().sum())
    )
    parts["classifier.weight"] += slope(w).reshape(10, -1)
    for hessian in ("full", "gauss-newton"):
        difference = local_model(*penalised, hessian).hvp(d) - local_model(*plain, hessian).hvp(d)
        assert relative(difference, rough) < 1e-12


def test_the_value_is_summed_in_float64():
    objective, weights, images, labels = problem(count=40, **PENALTIES)
    single = {name: w.float() for name, w in weights.items()}
    images = images.float()
    logits = objective.logits(single, images).double()
    exact = -logits.log_softmax(dim=1)[torch.arange(40), labels].mean()
    exact += objective.penalty({name: w.double() for name, w in single.items()})
    kept = local_model(objective, single, images, labels)
    assert kept.value == objective_value(objective, single, images, labels)
    assert kept.value == pytest.approx(float(exact), rel=1e-15)
    rounded = float(objective.loss(single, images, labels) + objective.penalty(single))
    assert abs(rounded - float(exact)) > 1e-9  # which float32 would not show
    assert kept.gradient.dtype == torch.float32
    assert kept.hvp(torch.ones_like(kept.gradient)).dtype == torch.float32


def test_weights_are_left_alone():
    given = problem(**PENALTIES)
    before = {name: w.clone() for name, w in given[1].items()}
    here = local_model(*given)
    d = direction(given[1])
    kept = d.clone()
    assert not here.hvp(d).requires_grad and not here.gradient.requires_grad
    assert torch.equal(d, kept)
    assert all(torch.equal(w, before[name]) for name, w in given[1].items())
    assert not any(w.requires_grad for w in given[1].values())


def test_vectors_are_laid_out_in_the_order_of_the_mapping():
    weights = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([7.0])}
    vector = flatten(weights)
    assert vector.tolist() == [0, 1, 2, 3, 4, 5, 7]
    back = unflatten(vector, weights)
    assert list(back) == ["b", "a"] and all(torch.equal(back[k], weights[k]) for k in weights)
    vector[0] = 9.0
    assert back["b"][0, 0] == 9.0  # views


def test_softmax_hessian_is_the_cross_entropys():
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    d = torch.randn(4, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = torch.tensor([1, 2, 3, 4])
    matrix = torch.func.hessian(lambda z: F.cross_entropy(z.view(4, 10), labels))(logits.flatten())
    product = softmax_hessian(logits.softmax(dim=1), d)
    assert relative(product.flatten(), matrix @ d.flatten()) < 1e-13


@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0])
def test_softmax_hessian_is_definite_where_the_network_is_all_but_sure(scale):
    """In float32 too each row is right to rounding: relatively, and never negative."""
    draw = torch.Generator().manual_seed(3)
    logits = scale * torch.randn(500, 10, generator=draw)
    d = scale * torch.randn(500, 10, generator=draw)
    exact = softmax_hessian(logits.double().softmax(dim=1), d.double())
    assert float(exact.sum(dim=1).abs().max()) < 1e-12 * float(exact.abs().max())
    product = softmax_hessian(logits.softmax(dim=1), d)
    size = exact.norm(dim=1)
    assert ((product - exact).norm(dim=1) < 1e-5 * size)[size > 1e-30].all()  # float32's range
    assert ((d * product).sum(dim=1) >= 0).all()


@pytest.mark.parametrize("images, labels", [(0, 0), (3, 2), (2, 3), (0, 1)])
@pytest.mark.parametrize("memory", [0, 2**30])
def test_labels_that_do_not_go_with_images_are_one_sentence(images, labels, memory):
    objective, weights, x, y = problem()
    with pytest.raises(ValueError) as raised:
        local_model(objective, weights, x[:images], y[:labels], memory=memory)
    assert str(raised.value) == (
        f"There must be one label for each of at least one image, got {labels} labels for "
        f"{images} images."
    )


def test_an_unknown_hessian_is_one_sentence():
    with pytest.raises(ValueError) as raised:
        local_model(*problem(), "quasi")
    assert str(raised.value) == "hessian must be 'full' or 'gauss-newton', got 'quasi'."
