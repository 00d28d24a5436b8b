"""What is measured of every trial: the numbers of the modules it calls, on the right networks."""

import json
import math
from dataclasses import replace

import pytest
import torch

from mgcore.analysis.landscape import (
    directional_curvature,
    doubling_radius,
    filter_normalised_direction,
)
from mgcore.analysis.propagation import survival
from mgcore.data.images import normalise
from mgcore.grids import prolong, restrict
from mgcore.lab.protocol import TIERS
from mgcore.lab.trial import measures
from mgcore.lab.trial.measures import LOSS_IMAGES, PROPAGATED, measure
from mgcore.lab.trial.phases import PhaseState, stream
from mgcore.lab.trial.trial import run_trial
from mgcore.thesis.objective import evaluate

DIRECTIONS, IMAGES, SHOWN = 2, 10, 5  # fewer than the book's, for speed
SIZES = {"fine_epochs": 1, "coarse_epochs": 2}
VARIANTS = {
    "plain": {},
    "pooled": {"pooling": True, "fine_validation": "prolonged", "fine_training": "prolonged"},
}


@pytest.fixture(scope="module", autouse=True)
def fewer():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "DIRECTIONS", DIRECTIONS)
        patch.setattr(measures, "LOSS_IMAGES", {"smoke": IMAGES})
        patch.setattr(measures, "PROPAGATED", {"smoke": SHOWN})
        yield


@pytest.fixture(scope="module")
def trials(tiny, fewer):
    """Protocol, what trial 3 kept, its result and its measures, for each variant."""
    made = {}
    for name, changes in VARIANTS.items():
        protocol = tiny(**SIZES, **changes)
        result = run_trial(protocol, 3)
        kept = result["kept"]
        made[name] = protocol, kept, result, measure(protocol, 3, kept)
    return made


each = pytest.mark.parametrize("variant", VARIANTS)


@each
def test_landscapes_are_of_the_coarse_minimum_and_of_the_fine_starts(trials, variant):
    protocol, kept, _, measured = trials[variant]
    found = measured["landscape"]
    assert set(found) == {"coarse", "transfer", "multigrid"}
    centres = {arm: kept.starts[arm] for arm in ("transfer", "multigrid")}
    centres["coarse"] = kept.phases["coarse"].weights
    for name, weights in centres.items():
        grid = "coarse" if name == "coarse" else "fine"
        images = kept.images(grid)
        some = images.training[:IMAGES], images.training_labels[:IMAGES]
        objective, draw = protocol.objective(grid), stream(0, 3, "measures", grid)

        def loss(moved, objective=objective, some=some):
            return evaluate(objective, moved, *some)["loss"]

        for k in range(DIRECTIONS):  # the two fine starts have the same draws
            direction = filter_normalised_direction(weights, draw)
            assert found[name]["radius"][k] == doubling_radius(loss, weights, direction)
            assert found[name]["curvature"][k] == directional_curvature(loss, weights, direction)
            length = math.sqrt(sum(float(d.square().sum()) for d in direction.values()))
            assert found[name]["length"] == pytest.approx(length, rel=1e-12)
        filters = [w for w in weights.values() if w.ndim > 1]
        length = math.sqrt(sum(float(w.square().sum()) for w in filters))
        assert found[name]["length"] == pytest.approx(length, rel=1e-12)
        assert found[name]["loss"] == evaluate(objective, weights, *some)["loss"]
        assert len(set(found[name]["radius"])) > 1 and len(found[name]["radius"]) == DIRECTIONS


@each
def test_survival_is_of_the_last_epoch_in_every_layer(trials, variant):
    protocol, kept, _, measured = trials[variant]
    images = kept.fine_images.validation[:SHOWN]
    layers = ["conv1", "pooled", "conv2"] if protocol.pooling else ["conv1", "conv2"]
    assert set(measured["survival"]) == {"new", "transfer", "multigrid"}
    for arm, found in measured["survival"].items():
        assert list(found) == layers
        weights = kept.phases[arm].weights
        first = torch.nn.functional.conv2d(images, weights["conv1.weight"], padding=1).relu()
        assert found["conv1"] == survival(images, first)._asdict()
        for layer in layers:
            assert 0 < found[layer]["mean"] <= found[layer]["best"] <= 1
            assert 0 <= found[layer]["silent"] < 1


def test_a_network_that_passes_the_image_on_keeps_all_of_it(trials):
    protocol, kept, _, _ = trials["plain"]
    weights = {name: torch.zeros_like(w) for name, w in kept.phases["new"].weights.items()}
    weights["conv1.weight"][:, :, 1, 1] = 1.0
    weights["conv2.weight"][torch.arange(64), torch.arange(64) % 32, 1, 1] = 1.0
    state = PhaseState(1, weights, {}, [{"validation_accuracy": 0.0}])
    identity = replace(kept, phases={"new": state})
    found = measure(protocol, 3, identity)
    for layer in ("conv1", "conv2"):
        assert found["survival"]["new"][layer] == pytest.approx(
            {"mean": 1.0, "best": 1.0, "silent": 0.0}
        )


@each
def test_preparations_are_evaluated_on_the_validation_images_of_the_trial(trials, variant):
    protocol, kept, result, measured = trials[variant]
    index = kept.indices[2]
    x = normalise(kept.digits.images[index], protocol.normalisation, torch.float64)
    labels, objective = kept.digits.labels[index], protocol.objective("fine")
    for arm, found in measured["preparation"].items():
        weights = kept.phases[arm].weights
        for how, images in (("original", x), ("prolonged", prolong(restrict(x)))):
            assert found[how] == evaluate(objective, weights, images, labels)["accuracy"]
        last = result["metrics"][arm][-1]  # of which one is the preparation of the protocol
        assert found[protocol.fine_validation] == last["validation_accuracy"]
    assert set(measured["preparation"]) == {"new", "transfer", "multigrid"}


@each
def test_measures_are_plain_numbers_that_depend_on_seed_and_trial_alone(trials, variant):
    protocol, kept, _, measured = trials[variant]
    torch.manual_seed(1)
    assert measure(protocol, 3, kept) == measured == json.loads(json.dumps(measured))
    other = measure(protocol, 4, kept)["landscape"]["coarse"]
    assert other["radius"] != measured["landscape"]["coarse"]["radius"]
    assert other["loss"] == measured["landscape"]["coarse"]["loss"]


def test_arms_that_were_not_run_are_not_measured(tiny):
    protocol = tiny(**SIZES)
    result = run_trial(protocol, 0, conditions=("new",))
    kept = result["kept"]
    found = measure(protocol, 0, kept)
    assert found["landscape"] == {}
    assert set(found["survival"]) == set(found["preparation"]) == {"new"}


def test_no_more_images_are_looked_at_than_the_tiers_number(trials):
    assert set(LOSS_IMAGES) == set(PROPAGATED) == set(TIERS)
    protocol, kept, _, measured = trials["plain"]
    images = kept.fine_images
    training, validation = images.training.clone(), images.validation.clone()
    training[IMAGES:] = validation[SHOWN:] = math.nan
    fewer = replace(kept, fine_images=replace(images, training=training, validation=validation))
    found = measure(protocol, 3, fewer)
    assert found["landscape"] == measured["landscape"]
    assert found["survival"] == measured["survival"]


def test_a_study_of_the_classifier_is_measured_by_its_arms(tiny):
    protocol = tiny(**SIZES, retraining="classifier", classifier_epochs=1)
    result = run_trial(protocol, 0, conditions=("new",))
    kept = result["kept"]
    assert set(kept.phases) == {"new_classifier", "new"}
    assert set(measure(protocol, 0, kept)["survival"]) == {"new"}
