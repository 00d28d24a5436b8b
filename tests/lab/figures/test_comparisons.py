"""Figures that compare studies: what is drawn where."""

import numpy as np
import pytest
from handmade import study

from mgcore.lab.figures import comparisons
from mgcore.lab.protocol.printed_tables import TABLE_4_1, TABLE_4_2


def test_a_gap_is_drawn_at_its_mean_with_the_thesis_beside_it():
    one = study()
    panels = {
        "no pooling": ({"a": one.trials}, TABLE_4_1),
        "pooling": ({"a": one.trials, "b": one.trials}, TABLE_4_2),
    }
    figure = comparisons.gap_plot(panels)
    left, right = figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["multigrid", "transfer", "new"]
    for ax, table, lanes in ((left, TABLE_4_1, 1), (right, TABLE_4_2, 2)):
        drawn = [float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1]
        assert sum(x == pytest.approx(16.0) for x in drawn) == 3 * lanes  # 91 − 75
        for arm in table:
            gap = table[arm]["training"][1] - table[arm]["validation"][1]
            assert any(x == pytest.approx(gap) for x in drawn)


def test_work_goes_on_where_the_classifiers_stage_ended():
    work, values = comparisons.by_work(study(), "transfer", "training")
    # The classifier's three rows (the last with a work of its own), then the network's.
    np.testing.assert_allclose(work, [0, 1, 3, 3, 4, 5])
    np.testing.assert_allclose(values, [[5, 40, 50, 10, 80, 90], [5, 42, 50, 10, 82, 92]])


def test_every_method_has_a_line_in_every_panel_and_the_legend_says_how_many_trials():
    figure = comparisons.optimizers_by_work({"SGD": study(), "joint": study(offs=(1.0,))}, "x")
    assert len(figure.axes) == 6
    thick = [[line for line in ax.lines if line.get_linewidth() > 1] for ax in figure.axes]
    assert all(len(lines) == 2 for lines in thick)
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == ["SGD (2 trials)", "CG-Steihaug for both (one trial)"]
    lowest = thick[0][0].get_ydata()[-1]
    assert lowest == pytest.approx(100 - 91)  # training error of the mean
