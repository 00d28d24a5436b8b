"""The numbers of a trial by name, on a trial made by hand."""

import copy
import math

import pytest

from mgcore.lab.records.files import NotRecordedError, RecordError
from mgcore.lab.verdict.metrics import CELL_NAMES, cell, is_cell


def rows(*pairs):
    return [{"training_accuracy": t, "validation_accuracy": v} for t, v in pairs]


TRIAL = {
    "trial": 7,
    "metrics": {
        "coarse": rows((10.0, 9.0), (60.0, 58.0), (70.0, 65.0), (80.0, 71.5)),
        "multigrid": rows((20.0, 21.0), (90.0, 50.0), (99.5, 63.25)),
        "transfer_classifier": rows((1.0, 2.0), (3.0, 5.0)),
    },
    "measures": {
        "landscape": {
            "transfer": {"radius": [1.0, 4.0, 0.5], "curvature": [1.0, 2.0, 6.0], "length": 10.0,
                         "loss": 0.25},
            "coarse": {"radius": [0.5], "curvature": [-3.0], "length": 2.0, "loss": 1.5},
        },
        "survival": {"new": {"conv1": {"mean": 0.1, "best": 0.2, "silent": 0.3},
                             "conv2": {"mean": 0.4, "best": 0.5, "silent": 0.6}},
                     "multigrid": {"pooled": {"mean": 0.7, "best": 0.8, "silent": 0.9}}},
        "preparation": {"multigrid": {"original": 63.25, "prolonged": 97.0}},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("coarse.0.training", 10.0), ("coarse.1.validation", 58.0), ("coarse.last.training", 80.0),
        ("coarse.last.gap", 8.5), ("multigrid.0.gap", -1.0), ("multigrid.1.gap", 40.0),
        ("multigrid.last.validation", 63.25), ("transfer_classifier.last.gap", -2.0),
        ("transfer_classifier.1.training", 3.0),
        ("landscape.transfer.radius", 2.0 ** (1 / 3)),  # the geometric mean
        ("landscape.transfer.reach", 10 * 2.0 ** (1 / 3)), ("landscape.coarse.reach", 1.0),
        ("landscape.transfer.curvature", 3.0), ("landscape.coarse.curvature", -3.0),
        ("landscape.transfer.rayleigh", 0.03), ("landscape.coarse.rayleigh", -0.75),
        ("landscape.transfer.loss", 0.25), ("landscape.coarse.loss", 1.5),
        ("survival.new.conv1.mean", 0.1), ("survival.new.conv1.best", 0.2),
        ("survival.new.conv2.silent", 0.6), ("survival.multigrid.pooled.best", 0.8),
        ("preparation.multigrid.original", 63.25), ("preparation.multigrid.prolonged", 97.0),
    ],
)  # fmt: skip
def test_every_reader(name, value):
    assert is_cell(name)
    assert cell(TRIAL, name) == pytest.approx(value, rel=1e-12)
    assert isinstance(cell(TRIAL, name), float)


@pytest.mark.parametrize(
    "name",
    ["", "multigrid", "multigrid.middle.gap", "multigrid.2.training", "multigrid.last.loss",
     "coarse_classifier.last.gap", "multigrid_classifier_classifier.1.gap",
     "landscape.new.radius", "landscape.transfer.length", "landscape.transfer",
     "survival.coarse.conv1.mean", "survival.new.conv3.mean", "survival.new.conv1.worst",
     "preparation.coarse.original", "preparation.new.coarse", "against:multigrid.last.gap",
     "multigrid.last.gap ", "xmultigrid.last.gap"],
)  # fmt: skip
def test_a_name_that_no_table_has_is_one_sentence(name):
    assert not is_cell(name)
    with pytest.raises(ValueError) as raised:
        cell(TRIAL, name)
    assert str(raised.value) == f"cell {name!r} has no known form. Use {CELL_NAMES}."


@pytest.mark.parametrize(
    "name",
    ["new.last.gap", "multigrid_classifier.last.training", "landscape.multigrid.radius",
     "survival.new.pooled.mean", "survival.transfer.conv1.mean", "preparation.new.original"],
)  # fmt: skip
def test_a_number_that_this_trial_does_not_have_is_one_sentence(name):
    assert is_cell(name)
    for trial in (TRIAL, {"trial": 7, "metrics": {}}):  # also where nothing was measured
        with pytest.raises(NotRecordedError) as raised:
            cell(trial, name)
        assert str(raised.value) == (
            f"cell {name!r} is not in trial 7. Name a cell that its protocol runs and measures."
        )


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("coarse.last.gap", ("metrics", "coarse", -1, "training_accuracy"), "80"),
        ("coarse.last.training", ("metrics", "coarse", -1, "training_accuracy"), None),
        ("landscape.transfer.radius", ("measures", "landscape", "transfer", "radius"), []),
        ("landscape.transfer.radius", ("measures", "landscape", "transfer", "radius", 0), -1.0),
        ("survival.new.conv1.mean", ("measures", "survival", "new", "conv1", "mean"), "none"),
    ],
)
def test_a_damaged_number_is_an_error_and_not_a_missing_one(name, path, value):
    trial = copy.deepcopy(TRIAL)
    place = trial
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(RecordError, match=f"trial 7 is damaged at '{name}'") as raised:
        cell(trial, name)
    assert not isinstance(raised.value, NotRecordedError)


def test_an_epoch_that_was_not_run_is_not_there():
    short = {"trial": 7, "metrics": {"new": rows((1.0, 2.0))}}
    assert cell(short, "new.last.training") == cell(short, "new.0.training") == 1.0
    with pytest.raises(ValueError, match="is not in trial 7"):
        cell(short, "new.1.training")
    assert math.isfinite(cell(TRIAL, "multigrid.1.gap"))
