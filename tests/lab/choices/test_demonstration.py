"""The demonstration measures one trained network on both preparations of the same images."""

from mgcore.lab.choices.demonstration import DEMONSTRATION, demonstrate_gap
from mgcore.lab.choices.sharpness import CONDITIONS
from mgcore.lab.run.workers import settled_within
from mgcore.lab.trial.measures import measure
from mgcore.lab.trial.trial import run_trial


def test_accuracies_are_those_that_a_trial_records():
    """A smaller demonstration, trained and measured as a study's trial is."""
    small = DEMONSTRATION.changed(
        n_coarse=40, n_fine=30, n_validation=60, coarse_epochs=1, fine_epochs=2, resolution=8
    )
    assert small.fine_training == "prolonged" and small.fine_validation == "original"
    found = demonstrate_gap(1, small)
    with settled_within():
        result = run_trial(small, 1)
        prepared = measure(small, 1, result["kept"])["preparation"]
    assert tuple(found) == CONDITIONS
    for condition, accuracies in found.items():
        assert accuracies.training == result["metrics"][condition][-1]["training_accuracy"]
        assert accuracies.smoothed == prepared[condition]["prolonged"]
        assert accuracies.original == prepared[condition]["original"]
