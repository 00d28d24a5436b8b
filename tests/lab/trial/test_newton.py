"""Epochs of Newton's methods: what each does by a plain loop, what it costs, what a kill costs."""

import math

import pytest
import torch

from mgcore.lab.trial import newton
from mgcore.lab.trial.newton import classifier_method, joint_method
from mgcore.lab.trial.phases import Images, run_phase, stream
from mgcore.optimize import block_newton
from mgcore.optimize.block_newton import Block, block_newton_step
from mgcore.optimize.trust_region import trust_region_step
from mgcore.thesis.classifier import ClassifierProblem, features
from mgcore.thesis.curvature import flatten, local_model, objective_value, unflatten
from mgcore.thesis.network import CLASSIFIER, STENCILS, initial_weights, step_flops

KINDS = pytest.mark.parametrize("kind", ["steihaug", "meganet"])
METHODS = {"classifier": classifier_method, "joint": joint_method}


def images(protocol):
    draw = torch.Generator().manual_seed(8)
    n, count = protocol.resolution, protocol.n_fine
    x = torch.rand(count + 12, 1, n, n, generator=draw, dtype=torch.float64)
    y = torch.randint(10, (count + 12,), generator=draw)
    return Images(x[:count], y[:count], x[count:], y[count:])


def start(protocol):
    return initial_weights(
        protocol.resolution, protocol.pooling, torch.Generator().manual_seed(9),
        stencil_scale="he", classifier_bias=protocol.classifier_bias,
    )  # fmt: skip


def run(protocol, stage="joint", **options):
    options = {"checkpoint": None, "epochs": 3} | options
    return run_phase(
        protocol, 2, "fine", start(protocol), images(protocol),
        method=METHODS[stage](protocol), **options,
    )  # fmt: skip


def order_of(protocol, epoch):
    return torch.randperm(protocol.n_fine, generator=stream(protocol.seed, 2, "fine", epoch))


def equal(one, other):
    return all(torch.equal(one[k], other[k]) for k in {*one, *other})


def cached(protocol, gradients, values):
    """The work on cached features by its definition: passes over them, in gradients."""
    side = protocol.resolution // (2 if protocol.pooling else 1)
    flops = (2 * gradients + values) * 2 * (64 * side**2) * 10
    return protocol.n_fine * flops / step_flops(protocol.resolution, protocol.pooling)


@pytest.mark.parametrize("pooling", [False, True])
def test_a_classifier_epoch_is_one_trust_region_step_on_all_images(tiny, pooling):
    protocol = tiny(trust_radius=0.5, cg_iterations=4, pooling=pooling)
    now, data = run(protocol, "classifier"), images(protocol)
    weights, objective = start(protocol), protocol.objective("fine")
    problem = ClassifierProblem(
        objective, features(objective, weights, data.training), data.training_labels
    )
    x, radius, work = problem.pack(weights), 0.5, protocol.n_fine / 3
    for row in now.history[1:]:
        taken = trust_region_step(problem.local(x), problem.value, x, radius, cg_iterations=4)
        x, radius = taken.x, taken.radius
        work += cached(protocol, 1 + taken.step.iterations, 1)
        assert row["work"] == pytest.approx(work, abs=0.05)
        assert row["radius"] == radius and row["products"] == taken.step.iterations
        assert (row["accepted"], row["boundary"]) == (taken.accepted, taken.step.hits_boundary)
        assert row["negative"] == 0
    assert equal(now.weights, weights | problem.unpack(x))
    assert radius != 0.5 and now.history[-1]["training_loss"] < now.history[0]["training_loss"]


@pytest.mark.parametrize("bias", [False, True])
def test_a_classifier_epoch_of_the_package_is_one_damped_step_on_all_images(tiny, bias):
    protocol = tiny(newton="meganet", classifier_bias=bias)
    now, data = run(protocol, "classifier"), images(protocol)
    weights, objective = start(protocol), protocol.objective("fine")
    problem = ClassifierProblem(
        objective, features(objective, weights, data.training), data.training_labels, bias
    )
    x, work, share = problem.pack(weights), protocol.n_fine / 3, 1.0
    for row in now.history[1:]:
        here = problem.local(x)
        step = block_newton_step(
            [Block(here.gradient, here.hvp)], here.value,
            lambda s, x=x: problem.value(x + s[0]), share,
        )  # fmt: skip
        x, share = x + step.steps[0], step.share
        work += cached(protocol, 1 + step.nhev, step.nfev)
        assert row["work"] == pytest.approx(work, abs=0.05)
        assert row["products"] == step.nhev and row["accepted"] == step.accepted == 1
        assert "radius" not in row and row["boundary"] == row["negative"] == 0
    assert equal(now.weights, weights | problem.unpack(x))


@KINDS
def test_the_network_is_held_fixed_and_features_are_computed_once(tiny, kind, monkeypatch):
    calls, real = [], newton.features
    monkeypatch.setattr(newton, "features", lambda *a: (calls.append(1), real(*a))[1])
    protocol = tiny(newton=kind)
    now, begin = run(protocol, "classifier"), start(protocol)
    assert len(calls) == 1 and now.epoch == 3
    assert all(torch.equal(now.weights[name], begin[name]) for name in STENCILS)
    assert not torch.equal(now.weights[CLASSIFIER], begin[CLASSIFIER])
    run(protocol, "classifier")  # another arm has other features
    assert len(calls) == 2


def steps_by_hand(protocol, epochs, batches_of):
    """Trust-region steps on the minibatches of each epoch; return the end and the rows."""
    weights, data = start(protocol), images(protocol)
    objective, radius, rows = protocol.objective("fine"), protocol.trust_radius, []
    for epoch in range(1, epochs + 1):
        taken = []
        for chosen in batches_of(epoch, taken):
            some = data.training[chosen], data.training_labels[chosen]
            one = trust_region_step(
                local_model(objective, weights, *some, protocol.hessian),
                lambda x, w=weights, some=some: objective_value(objective, unflatten(x, w), *some),
                flatten(weights), radius, cg_iterations=protocol.cg_iterations,
            )  # fmt: skip
            radius = one.radius
            weights = {k: w.clone() for k, w in unflatten(one.x, weights).items()}
            taken.append(one)
        rows.append((taken, radius))
    return weights, rows


def cost(protocol, taken):
    """Of one step in gradients: its own, one value, and its products."""
    return protocol.batch * (1 + 1 / 3 + protocol.product_cost * taken.step.iterations)


def agrees(row, taken, radius):
    steps = [one.step for one in taken]
    assert row["steps"] == len(taken) and row["radius"] == radius
    assert row["products"] == sum(step.iterations for step in steps)
    assert row["boundary"] == sum(step.hits_boundary for step in steps)
    assert row["negative"] == sum(step.negative_curvature for step in steps)
    assert row["accepted"] == sum(one.accepted for one in taken)


@pytest.mark.parametrize("hessian", ["full", "gauss-newton"])
def test_a_pass_takes_a_step_on_every_minibatch_in_the_order_of_sgd(tiny, hessian):
    protocol = tiny(n_fine=20, hessian=hessian, newton_epoch="pass", cg_iterations=3)
    now = run(protocol, epochs=2)

    def batches(epoch, taken):
        return order_of(protocol, epoch)[:16].split(8)  # the last four images are dropped

    weights, rows = steps_by_hand(protocol, 2, batches)
    assert equal(now.weights, weights)
    work = 0.0
    for row, (taken, radius) in zip(now.history[1:], rows, strict=True):
        agrees(row, taken, radius)
        assert row["steps"] == 2
        work += sum(cost(protocol, one) for one in taken)
        assert row["work"] == pytest.approx(work, abs=0.05)
    if hessian == "gauss-newton":
        assert all(row["negative"] == 0 for row in now.history[1:])


@pytest.mark.parametrize("product_cost", [0.0, 2.0])
def test_an_epoch_ends_when_the_work_of_an_epoch_of_sgd_is_spent(tiny, product_cost):
    protocol = tiny(n_fine=64, batch=4, cg_iterations=2, product_cost=product_cost)
    now, spent = run(protocol), [0.0]

    def batches(epoch, taken):
        for chosen in order_of(protocol, epoch).split(4):
            before = spent[-1] + sum(cost(protocol, one) for one in taken)
            if before >= 64 * epoch:
                break
            yield chosen
        spent.append(spent[-1] + sum(cost(protocol, one) for one in taken))

    weights, rows = steps_by_hand(protocol, 3, batches)
    assert equal(now.weights, weights)
    for epoch, (row, (taken, radius)) in enumerate(zip(now.history[1:], rows, strict=True), 1):
        agrees(row, taken, radius)
        assert row["work"] == pytest.approx(spent[epoch], abs=0.05)
        assert 64 * epoch <= spent[epoch] < 64 * epoch + cost(protocol, taken[-1])
        assert 2 <= len(taken) < 16


def test_after_a_step_that_costs_more_than_an_epoch_the_next_does_nothing(tiny):
    """Products on 8 of 16 images until two epochs' work and more is spent."""
    now = run(tiny(), epochs=4)
    first, second = now.history[1:3]
    assert first["steps"] == 1 and first["work"] > 2 * 16
    assert second["steps"] == second["products"] == second["accepted"] == 0
    assert second["work"] == first["work"] and second["radius"] == first["radius"]


@pytest.mark.parametrize("bias", [False, True])
def test_a_joint_epoch_of_the_package_is_one_damped_step_on_all_images(tiny, bias, monkeypatch):
    """Gradient and value of all images; the stencils' curvature of a few images alone."""
    monkeypatch.setattr(block_newton, "ITERATIONS", 3)  # more of them amplify rounding
    monkeypatch.setattr(newton, "MEMORY_BATCH", 7)
    protocol = tiny(n_fine=20, newton="meganet", classifier_bias=bias)
    now, data = run(protocol, epochs=2), images(protocol)
    objective, weights, work, share = protocol.objective("fine"), start(protocol), 0.0, 1.0
    everything = data.training, data.training_labels
    count = sum(weights[name].numel() for name in STENCILS)
    for epoch, row in enumerate(now.history[1:], 1):
        whole = local_model(objective, weights, *everything, "gauss-newton")
        few = order_of(protocol, epoch)[:7]
        part = local_model(objective, weights, *(x[few] for x in everything), "gauss-newton")
        x = flatten(weights)

        def block(model, where, whole=whole, x=x):
            def product(d):
                padded = torch.zeros_like(x)
                padded[where] = d
                return model.hvp(padded)[where]

            return Block(whole.gradient[where], product)

        def moved(steps, x=x, weights=weights):
            return unflatten(x + torch.cat(steps), weights)

        assert list(weights)[:3] == [*STENCILS, CLASSIFIER]
        blocks = [block(part, slice(count)), block(whole, slice(count, None))]
        step = block_newton_step(
            blocks, whole.value, lambda s: objective_value(objective, moved(s), *everything), share
        )
        share = step.share
        weights = {name: w.clone() for name, w in moved(step.steps).items()}
        assert row["accepted"] == step.accepted == 1 and row["products"] == step.nhev
        work += 20 * (1 + (1 + step.nfev) / 3) + 7 * (1 + 2 * step.nhev)
        work += cached(protocol, 1 + step.nhev, 0)
        assert row["work"] == pytest.approx(work, abs=0.05)
    for name, w in weights.items():
        torch.testing.assert_close(now.weights[name], w, rtol=1e-9, atol=1e-12)
    assert now.history[-1]["training_objective"] < now.history[0]["training_objective"]


def test_images_are_taken_in_pieces_that_do_not_matter(tiny, monkeypatch):
    monkeypatch.setattr(block_newton, "ITERATIONS", 3)  # more of them amplify rounding
    protocol = tiny(n_fine=20, newton="meganet")
    whole = run(protocol, epochs=1)
    monkeypatch.setattr(newton, "CHUNK", 7)
    pieces = run(protocol, epochs=1)
    for name, w in whole.weights.items():
        torch.testing.assert_close(pieces.weights[name], w, rtol=1e-10, atol=1e-12)
    assert pieces.history[1]["work"] == whole.history[1]["work"]


@pytest.mark.parametrize("stage", METHODS)
def test_a_failed_line_search_leaves_everything_as_it_was_and_ends_the_method(
    tiny, monkeypatch, stage
):
    protocol = tiny(newton="meganet")
    monkeypatch.setattr(newton, "objective_value", lambda *a: 1.0)
    monkeypatch.setattr(newton.ClassifierProblem, "value", lambda *a: float("inf"))
    now, begin = run(protocol, stage, epochs=3), start(protocol)
    assert equal(now.weights, begin)
    first, *rest = now.history[1:]
    assert first["accepted"] == 0 and first["products"] > 0
    values = 10  # all that the search may take
    cost = {"joint": 16 * (1 + (1 + values) / 3), "classifier": cached(protocol, 1, values)}
    assert first["work"] > cost[stage]
    for row in rest:  # the package stops; nothing more is computed, or counted
        assert row["products"] == row["accepted"] == 0 and row["work"] == first["work"]


@KINDS
@pytest.mark.parametrize("stage", METHODS)
@pytest.mark.parametrize("killed", [1, 2])
def test_a_kill_after_an_epoch_changes_nothing(tiny, tmp_path, stage, kind, killed):
    """Not the weights, not the history, not the work that is counted."""
    protocol = tiny(
        newton=kind, n_fine=24, cg_iterations=3, newton_epoch="pass", trust_radius=0.3, pooling=True
    )
    whole, file, done = run(protocol, stage), tmp_path / "checkpoint.npz", []

    def stop(work):
        done.append(work)
        if len(done) == killed:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(protocol, stage, checkpoint=file, tick=stop)
    ticks = []
    again = run(protocol, stage, checkpoint=file, tick=ticks.append)
    assert ticks == [24 * killed] + [24] * (3 - killed)
    assert again.history == whole.history and again.method_state == whole.method_state
    assert equal(again.weights, whole.weights)


@KINDS
@pytest.mark.parametrize("stage", METHODS)
def test_rows_tell_what_an_epoch_did_and_work_never_decreases(tiny, stage, kind):
    now = run(tiny(newton=kind, cg_iterations=3), stage)
    told = {"work", "products", "accepted", "boundary", "negative"}
    told |= {"radius"} if kind == "steihaug" else set()
    told |= {"steps"} if (kind, stage) == ("steihaug", "joint") else set()
    measured = set(now.history[0])
    assert all(set(row) == measured | told for row in now.history[1:])
    work = [row["work"] for row in now.history[1:]]
    assert work == sorted(work) and work[0] > 0
    assert now.method_state["work"] == pytest.approx(work[-1], abs=0.05)


@pytest.mark.parametrize("kind", ["steihaug", "meganet"])
def test_single_precision_stays_single(tiny, kind):
    protocol = tiny(newton=kind, dtype="float32", cg_iterations=2, trust_radius=0.05)
    data = images(protocol)
    data = Images(
        data.training.float(), data.training_labels,
        data.validation.float(), data.validation_labels,
    )  # fmt: skip
    for stage in METHODS:
        now = run_phase(
            protocol, 0, "fine", start(protocol), data, checkpoint=None,
            method=METHODS[stage](protocol), epochs=1,
        )  # fmt: skip
        assert all(w.dtype == torch.float32 for w in now.weights.values())
        assert now.history[1]["training_objective"] < now.history[0]["training_objective"]


@pytest.mark.parametrize("part", ["product", "gradient"])
@pytest.mark.parametrize("stage", ["classifier", "joint"])
def test_what_is_not_finite_refuses_the_step_and_the_run_goes_on(tiny, monkeypatch, part, stage):
    """The first outer iteration fails; the radius shrinks, and later steps are taken."""
    calls = []

    def broken(local):
        calls.append(local)
        if len(calls) > 1:
            return local
        if part == "gradient":
            return local._replace(gradient=local.gradient * math.nan)
        return local._replace(hvp=lambda d: d * math.inf)

    protocol = tiny(trust_radius=0.5, cg_iterations=4)
    if stage == "classifier":
        real = ClassifierProblem.local
        monkeypatch.setattr(ClassifierProblem, "local", lambda self, x: broken(real(self, x)))
    else:
        real_model = newton.local_model
        monkeypatch.setattr(newton, "local_model", lambda *a, **k: broken(real_model(*a, **k)))
    state = run(protocol, stage)
    first, last = state.history[1], state.history[-1]
    assert last["training_loss"] < state.history[0]["training_loss"]
    assert all(w.isfinite().all() for w in state.weights.values())
    if stage == "classifier":
        assert (first["accepted"], first["radius"]) == (0, 0.125)
        assert first["products"] == (1 if part == "product" else 0)
        assert first["training_loss"] == state.history[0]["training_loss"]
    else:
        assert first["accepted"] < first["steps"]
