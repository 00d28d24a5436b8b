"""What a trial's file must hold, whoever wrote it."""

import copy

import pytest

from mgcore.lab.records.record import Record
from mgcore.lab.records.schema import complaint

ROW = {"images": "all", "training_accuracy": 9.5, "validation_accuracy": 100, "training_loss": 2.5}
TRIAL = {
    "metrics": {"new": [{"epoch": 0, **ROW}, {"epoch": 1, **ROW}]},
    "measures": {"landscape": {"coarse": {"radius": [1.0, 2], "loss": 0.5}}},
    "circumstances": {"device": "cpu", "seconds": {"whole": 1.5}},
}


def test_every_committed_trial_is_one():
    from mgcore.lab.records.record import records_folder

    numbers = []
    for file in records_folder().glob("*/protocol.json"):
        record = Record(file.parent)
        numbers += [trial["trial"] for trial in record.trials()]
    assert len(numbers) > 20
    assert complaint(TRIAL) is None
    assert complaint({k: v for k, v in TRIAL.items() if k != "measures"}) is None


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("metrics",), {}, "metrics is no object of networks"),
        (("metrics",), [1], "metrics is no object of networks"),
        (("metrics", "new"), [], "metrics of 'new' is no list of rows"),
        (("metrics", "new"), {"0": ROW}, "metrics of 'new' is no list of rows"),
        (("metrics", "new", 1), 3, "metrics of 'new' is no list of rows"),
        (("metrics", "new", 1, "epoch"), 2, "metrics of 'new' has no row for epoch 1"),
        (("metrics", "new", 1, "epoch"), True, "metrics of 'new' has no row for epoch 1"),
        (("metrics", "new", 0, "work"), None, "no number somewhere in epoch 0"),
        (("metrics", "new", 0, "work"), True, "no number somewhere in epoch 0"),
        (("metrics", "new", 0, "training_accuracy"), 101, "no accuracy in percent in epoch 0"),
        (("metrics", "new", 0, "training_accuracy"), "9", "no accuracy in percent in epoch 0"),
        (("metrics", "new", 0, "training_accuracy"), float("nan"), "no accuracy in percent"),
        (("circumstances",), None, "circumstances is no object"),
        (("circumstances", "seconds"), 3, "no seconds of the whole trial"),
        (("circumstances", "seconds", "whole"), "3", "no seconds of the whole trial"),
        (("measures",), [], "measures holds something that is no number"),
        (("measures", "landscape"), 1.0, "measures holds something that is no number"),
        (
            ("measures", "landscape", "coarse", "radius", 0),
            "1",
            "measures holds something that is no number",
        ),
    ],
)
def test_what_is_no_trial_is_told_what_it_lacks(path, value, words):
    trial = copy.deepcopy(TRIAL)
    place = trial
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert words in complaint(trial)
