"""One training run: its method, what is measured when, and what a kill or a damaged file costs."""

import json
import math
import os

import numpy as np
import pytest
import torch

from mgcore.lab.records.files import RecordError
from mgcore.lab.trial import phases
from mgcore.lab.trial.phases import Images, run_phase, stream
from mgcore.thesis.network import initial_weights
from mgcore.thesis.objective import evaluate
from mgcore.thesis.sgd import learning_rate, train_epoch


@pytest.fixture
def protocol(tiny):
    return tiny(fine_epochs=4)


def images(protocol, grid="fine"):
    n = protocol.objective(grid).resolution
    draw = torch.Generator().manual_seed(8)
    count = {"fine": protocol.n_fine, "coarse": protocol.n_coarse}[grid]
    x = torch.rand(count + 12, 1, n, n, generator=draw, dtype=torch.float64)
    y = torch.randint(10, (count + 12,), generator=draw)
    return Images(x[:count], y[:count], x[count:], y[count:])


def start(protocol, grid="fine"):
    n = protocol.objective(grid).resolution
    return initial_weights(n, protocol.pooling, torch.Generator().manual_seed(9))


def run(protocol, checkpoint=None, grid="fine", trial=0, **more):
    return run_phase(
        protocol, trial, grid, start(protocol, grid), images(protocol, grid),
        checkpoint=checkpoint, **more,
    )  # fmt: skip


def same(one, other):
    """Whether two phases ended in the same weights, velocities and measurements, bit by bit."""
    pairs = [(one.weights, other.weights), (one.velocity, other.velocity)]
    equal = all(torch.equal(a[k], b[k]) for a, b in pairs for k in a)
    return equal and one.history == other.history and one.epoch == other.epoch


@pytest.mark.parametrize("grid", ["coarse", "fine"])
def test_a_phase_is_its_epochs_in_order(protocol, grid):
    """The rates and orders of the schedule, on the objective of the grid, by a plain loop."""
    there = run(protocol, grid=grid, trial=3)
    weights, data = start(protocol, grid), images(protocol, grid)
    velocity = {k: torch.zeros_like(w) for k, w in weights.items()}
    epochs = {"coarse": 3, "fine": 4}[grid]
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(data.training), generator=stream(protocol.seed, 3, grid, epoch))
        train_epoch(
            protocol.objective(grid), weights, velocity, data.training, data.training_labels,
            order, rate=learning_rate(epoch, 0.02, 0.5), batch=8, momentum=0.9, nesterov=True,
        )  # fmt: skip
    assert there.epoch == epochs
    assert all(torch.equal(there.weights[k], weights[k]) for k in weights)


def test_first_and_last_epochs_are_measured_on_everything_the_others_on_a_subset(protocol):
    now, data, objective = run(protocol), images(protocol), protocol.objective("fine")
    kinds = [(row["epoch"], row["images"]) for row in now.history]
    assert kinds == [(0, "all"), (1, "all"), (2, "subset"), (3, "subset"), (4, "all")]
    last = evaluate(objective, now.weights, data.training, data.training_labels)
    assert {k: now.history[-1][f"training_{k}"] for k in last} == last
    last = evaluate(objective, now.weights, data.validation, data.validation_labels)
    assert {k: now.history[-1][f"validation_{k}"] for k in last} == last
    first = evaluate(objective, start(protocol), data.training, data.training_labels)
    assert {k: now.history[0][f"training_{k}"] for k in first} == first
    # Half of the subset is training, half validation, and it is always the same images.
    part = run(protocol.changed(fine_epochs=2))
    middle = evaluate(objective, part.weights, data.training[:4], data.training_labels[:4])
    assert {k: now.history[2][f"training_{k}"] for k in middle} == middle
    middle = evaluate(objective, part.weights, data.validation[:4], data.validation_labels[:4])
    assert {k: now.history[2][f"validation_{k}"] for k in middle} == middle


def test_the_start_is_not_changed_and_is_brought_to_the_protocols_arithmetic(protocol):
    begin = start(protocol)
    before = {k: w.clone() for k, w in begin.items()}
    now = run_phase(protocol, 0, "fine", begin, images(protocol), checkpoint=None)
    assert all(torch.equal(begin[k], before[k]) for k in begin)
    assert all(w.dtype == torch.float64 for w in now.weights.values())
    single = protocol.changed(dtype="float32")
    data = images(protocol)
    data = Images(
        data.training.float(), data.training_labels,
        data.validation.float(), data.validation_labels,
    )  # fmt: skip
    now = run_phase(single, 0, "fine", begin, data, checkpoint=None)
    assert all(w.dtype == torch.float32 for w in now.weights.values())


def nudge(protocol, objective, images, now, order):
    """A method: add to the weights what depends on the order, and count in the state."""
    for w in now.weights.values():
        w += 1e-3 * float(order[0])
    now.method_state["sum"] = now.method_state.get("sum", 0.1) + float(order[0]) / 3
    return {"first": int(order[0]), "epoch_was": now.epoch}


def test_a_method_decides_what_an_epoch_does_and_notes_what_it_returns(protocol):
    asked = []

    def method(mine, objective, some, now, order):
        asked.append((mine, objective, some is data, order.tolist()))
        return nudge(mine, objective, some, now, order)

    data = images(protocol)
    now = run_phase(
        protocol, 5, "fine", start(protocol), data, checkpoint=None, method=method, epochs=2
    )
    orders = [
        torch.randperm(len(data.training), generator=stream(protocol.seed, 5, "fine", epoch))
        for epoch in (1, 2)
    ]
    expected = [(protocol, protocol.objective("fine"), True, order.tolist()) for order in orders]
    assert asked == expected and now.epoch == 2  # not the protocol's four
    assert [row["images"] for row in now.history] == ["all"] * 3  # the last is the method's last
    assert "first" not in now.history[0]
    for epoch, (row, order) in enumerate(zip(now.history[1:], orders, strict=True)):
        assert (row["first"], row["epoch_was"]) == (int(order[0]), epoch)
    moved = sum(1e-3 * float(order[0]) for order in orders)
    for name, w in start(protocol).items():
        torch.testing.assert_close(now.weights[name], w + moved)
    assert now.history[2]["training_loss"] != now.history[0]["training_loss"]


def test_sgd_is_the_method_unless_another_is_named(protocol):
    assert same(run(protocol, method=phases.sgd), run(protocol))
    assert run(protocol, epochs=1).epoch == 1 and run(protocol).method_state == {}


@pytest.mark.parametrize("killed", [1, 2, 3])
def test_the_state_of_a_method_is_kept_exactly(protocol, tmp_path, killed):
    whole, file, done = run(protocol, method=nudge), tmp_path / "checkpoint.npz", []

    def stop(work):
        done.append(work)
        if len(done) == killed:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(protocol, file, method=nudge, tick=stop)
    again = run(protocol, file, method=nudge)
    assert (
        same(again, whole)
        and again.method_state == whole.method_state
        and set(whole.method_state) == {"sum"}
    )


def test_a_checkpoint_without_a_state_is_one_of_before(protocol, tmp_path):
    file = tmp_path / "checkpoint.npz"
    whole = run(protocol, file)
    with np.load(file, allow_pickle=False) as kept:
        arrays = dict(kept)
    about = json.loads(str(arrays["about"]))
    del about["state"]
    np.savez(file, **arrays | {"about": np.array(json.dumps(about))})
    again = run(protocol, file)
    assert same(again, whole) and again.method_state == {}


@pytest.mark.parametrize("killed", [1, 2, 3, 4])
def test_a_kill_costs_the_epoch_that_was_being_trained(protocol, tmp_path, monkeypatch, killed):
    """Stop after the last step of an epoch, before its checkpoint; then run again."""
    whole, file, trained = run(protocol), tmp_path / "checkpoint.npz", []

    def count(*arguments, **options):
        trained.append(options["rate"])
        train_epoch(*arguments, **options)
        if len(trained) == killed:
            raise KeyboardInterrupt

    monkeypatch.setattr(phases, "train_epoch", count)
    with pytest.raises(KeyboardInterrupt):
        run(protocol, file)
    ticks = []
    assert same(run(protocol, file, tick=ticks.append), whole)
    assert len(trained) == 4 + 1
    assert sum(ticks) == 4 * protocol.n_fine  # the bar counts what was done before, too
    assert same(run(protocol, file), whole) and len(trained) == 5


def test_resuming_trains_only_the_missing_epochs(protocol, tmp_path, monkeypatch):
    file = tmp_path / "checkpoint.npz"
    run(protocol.changed(fine_epochs=3), file)
    trained = []

    def count(*arguments, **options):
        trained.append(options["rate"])
        train_epoch(*arguments, **options)

    monkeypatch.setattr(phases, "train_epoch", count)
    again = run(protocol, file)
    assert trained == [learning_rate(4, 0.02, 0.5)] and again.epoch == 4


@pytest.mark.parametrize("fault", ["empty", "half", "tail", "flipped", "text"])
def test_a_damaged_checkpoint_costs_time_and_nothing_else(protocol, tmp_path, fault):
    whole, file = run(protocol), tmp_path / "checkpoint.npz"
    run(protocol.changed(fine_epochs=2), file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    good = file.read_bytes()
    file.write_bytes({
        "empty": b"", "half": good[: len(good) // 2], "tail": good[:-30],
        "flipped": bytes(content), "text": b"not a checkpoint",
    }[fault])  # fmt: skip
    assert same(run(protocol, file), whole)


def test_a_checkpoint_is_replaced_whole_or_not_at_all(protocol, tmp_path, monkeypatch):
    file = tmp_path / "cache" / "checkpoint.npz"
    run(protocol.changed(fine_epochs=2), file)
    before = file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    for step in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, full)
            with pytest.raises(
                RecordError, match="cannot be written .No space left on device.. Free some space"
            ):
                run(protocol, file)
        assert file.read_bytes() == before
        assert [f.name for f in file.parent.iterdir()] == ["checkpoint.npz"]
    with np.load(file, allow_pickle=False) as arrays:
        assert "about" in arrays.files


def test_a_stream_depends_on_seed_trial_and_purpose():
    drawn = {
        tuple(torch.rand(2, generator=stream(*key)).tolist())
        for key in [(0, 0, "split"), (1, 0, "split"), (0, 1, "split"), (0, 0, "weights"),
                    (0, 0, "weights", "fine"), (0, 0, "fine", 1), (0, 0, "fine", 2),
                    (1, 1, "split"), (11, 0, "split"), (1, 10, "split")]
    }  # fmt: skip
    assert len(drawn) == 10
    torch.manual_seed(1)
    one = torch.rand(3, generator=stream(4, 2, "split"))
    torch.manual_seed(2)
    assert torch.equal(one, torch.rand(3, generator=stream(4, 2, "split")))
    assert stream(0, 0, "split").initial_seed() < 2**63


def test_divergence_is_reported(protocol):
    with pytest.raises(FloatingPointError, match="training diverged: "):
        run(protocol.changed(learning_rate=1e200))
    assert math.isfinite(run(protocol).history[-1]["training_loss"])
