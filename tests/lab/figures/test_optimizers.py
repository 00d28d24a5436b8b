"""Methods of retraining are compared at equal work."""

from functools import cache

import numpy as np
import pytest
from handmade import study

from mgcore.lab.figures import optimizers


@cache
def sample_figures():
    """Return a maker of each figure."""
    studies = {"SGD": study(), "joint": study(offs=(1.0,))}
    return {"work": lambda: optimizers.error_by_work(studies, "Title")}


def test_work_goes_on_where_the_classifiers_stage_ended():
    work, values = optimizers.accuracy_by_work(study(), "transfer", "training")
    # The classifier's three rows (the last with a work of its own), then the network's.
    np.testing.assert_allclose(work, [0, 1, 3, 3, 4, 5])
    np.testing.assert_allclose(values, [[5, 40, 50, 10, 80, 90], [5, 42, 50, 10, 82, 92]])


def test_every_trial_is_a_dot_at_its_last_error_and_a_lane_says_its_work():
    figure = optimizers.error_by_work({"SGD": study(), "joint": study(offs=(1.0,))}, "x")
    training, validation = figure.axes
    dots = [line for line in training.lines if line.get_alpha() == 0.5]
    assert [len(line.get_xdata()) for line in dots] == [2, 1] * 3
    means = [line.get_xdata()[0] for line in training.lines if line.get_marker() == "|"]
    assert means[0] == pytest.approx(100 - 91)
    lanes = [label.get_text() for label in training.get_yticklabels()]
    work, _ = optimizers.accuracy_by_work(study(), "new", "training")
    assert lanes[:2] == [f"{name} ({work[-1]:.0f})" for name in ("SGD", "CG-Steihaug for both")]
    assert [text.get_text() for text in validation.texts] == ["random", "copied", "Galerkin"]
