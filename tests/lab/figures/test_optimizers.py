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


def test_every_method_has_a_line_in_every_panel_and_the_legend_says_how_many_trials():
    figure = optimizers.error_by_work({"SGD": study(), "joint": study(offs=(1.0,))}, "x")
    assert len(figure.axes) == 6
    thick = [[line for line in ax.lines if line.get_linewidth() > 1] for ax in figure.axes]
    assert all(len(lines) == 2 for lines in thick)
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == ["SGD (2 trials)", "CG-Steihaug for both (one trial)"]
    lowest = thick[0][0].get_ydata()[-1]
    assert lowest == pytest.approx(100 - 91)  # training error of the mean
