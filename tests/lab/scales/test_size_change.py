"""The change of image size: what each method starts from, the pilot, the runner and the reader."""

import pytest
import torch
from torch import nn

from mgcore.lab.records.files import RecordError
from mgcore.lab.scales import size_change
from mgcore.lab.scales.size_change import (
    CHANGES,
    EPOCHS,
    METHODS,
    Change,
    accuracies,
    draw,
    network,
    pilot,
    read_size_changes,
    run_seed,
    run_size_changes,
    start,
)
from mgcore.lab.scales.tasks import accuracy

SMALL = Change("strokes", 8, 16)


@pytest.fixture(scope="module")
def images():
    return draw(SMALL, 0, 48, 24)


@pytest.fixture(scope="module")
def old(images):
    """A network of the old size, with running statistics of its training images."""
    model = network(0)
    with torch.no_grad():
        model(images.old)
    return model.eval()


def test_the_two_sizes_show_the_same_digits_and_no_digit_is_in_both_sets(images):
    assert images.old.shape == (48, 1, 8, 8) and images.new_held_out.shape == (24, 1, 16, 16)
    assert abs(float(images.new.mean())) < 1e-5 and float(images.new.std()) == pytest.approx(1)
    shrunk = nn.functional.avg_pool2d(images.new, 2)
    assert float((shrunk - images.old).abs().mean()) < 0.15
    assert float((shrunk[1:] - images.old[:-1]).abs().mean()) > 0.4
    both = torch.cat([images.new, images.new_held_out]).flatten(1)
    assert len(both.unique(dim=0)) == 72


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_starts_from(method, old, images):
    before = {name: value.clone() for name, value in old.state_dict().items()}
    model, training, held_out, parameters = start(method, old, images, 0)
    side = 8 if method == "resized" else 16
    assert training.shape[-1] == held_out.shape[-1] == side and len(held_out) == 24
    kernels, parameters = (
        [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)],
        [*parameters],
    )
    trained = [any(kernel is one for one in parameters) for kernel in kernels]
    assert trained == [method != "classifier"] * 3
    same = [torch.equal(a, b) for a, b in zip(kernels, _kernels(old), strict=True)]
    assert same == [method in ("copied", "resized", "classifier")] * 3
    assert not model.training
    assert all(torch.equal(before[name], value) for name, value in old.state_dict().items())


def _kernels(model):
    return [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]


def test_retraining_the_classifier_leaves_the_kernels(old, images, monkeypatch):
    kept = {}
    begin = size_change.start

    def remember(method, *arguments):
        found = begin(method, *arguments)
        kept[method] = found[0]
        return found

    monkeypatch.setattr(size_change, "start", remember)
    for method in ("classifier", "copied"):
        accuracies(method, old, images, 0, 0.01)
    for method, moved in (("classifier", False), ("copied", True)):
        pairs = zip(_kernels(kept[method]), _kernels(old), strict=True)
        assert [torch.equal(a, b) for a, b in pairs] == [not moved] * 3
    assert not torch.equal(kept["classifier"][-1].weight, old[-1].weight)


def test_resized_images_before_retraining_are_classified_as_the_old_ones(old, images):
    value = accuracies("resized", old, images, 0, 0.01)[0]
    small = nn.functional.avg_pool2d(images.new_held_out, 2)
    assert value == accuracy(old, small, images.held_out_labels)


def test_the_pilot_tries_every_rate_and_divergence_counts_as_nothing(images, monkeypatch):
    monkeypatch.setattr(size_change, "OLD_EPOCHS", 1)
    found = pilot(SMALL, images, (0.01, 1e30))
    assert list(found) == list(METHODS)
    assert all(set(by_rate) == {"0.01", "1e+30"} for by_rate in found.values())
    assert found["copied"]["1e+30"] < found["copied"]["0.01"]


def test_a_seed_is_repeatable_and_has_every_method(images, monkeypatch):
    monkeypatch.setattr(size_change, "OLD_EPOCHS", 1)
    one, two = (run_seed(SMALL, 3, dict.fromkeys(METHODS, 0.003), images) for _ in range(2))
    assert one == two and list(one["accuracy"]) == list(METHODS)
    assert all(len(values) == len(EPOCHS) for values in one["accuracy"].values())


def test_only_absent_files_are_computed_and_damage_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(size_change, "CHANGES", {SMALL.name: SMALL})
    rates = {m: {"0.01": 50.0, "0.003": 60.0} for m in METHODS}
    monkeypatch.setattr(size_change, "pilot", lambda change: rates)
    run = []

    def seed_of(change, seed, chosen):
        run.append((change.name, seed, chosen["copied"]))
        return {"change": change.name, "seed": seed, "accuracy": {}}

    monkeypatch.setattr(size_change, "run_seed", seed_of)
    run_size_changes(tmp_path, workers=1, seeds=2)
    assert run == [(SMALL.name, 0, 0.003), (SMALL.name, 1, 0.003)]
    run_size_changes(tmp_path, workers=1, seeds=3)
    assert run[2:] == [(SMALL.name, 2, 0.003)]
    assert [one["seed"] for one in read_size_changes(tmp_path)[SMALL.name]] == [0, 1, 2]
    file = tmp_path / f"{SMALL.name}-1.json"
    file.write_text(file.read_text().replace("1", "2", 1))
    with pytest.raises(RecordError):
        read_size_changes(tmp_path)


def test_the_changes_have_whole_and_other_factors():
    factors = {(c.new % c.old == 0) for c in CHANGES.values()}
    assert factors == {True, False} and all(c.new > c.old for c in CHANGES.values())
