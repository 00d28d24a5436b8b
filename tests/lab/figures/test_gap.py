"""The generalization gap and its mechanism are drawn at the values given."""

from functools import cache

import numpy as np
import pytest
from handmade import study

from mgcore.lab.choices.gap_spectra import Spectrum
from mgcore.lab.choices.sharpness import Sweep
from mgcore.lab.figures import gap
from mgcore.lab.protocol.printed_tables import TABLE_4_1, TABLE_4_2

LINE = Spectrum(np.linspace(0, 1, 5), np.array([1.0, 1, 2, 3, 4]))
SHARES = {"transfer": 0.25, "multigrid": 2.0}
SQUARE = {
    name: np.arange(float(n * n)).reshape(n, n) - 8
    for name, n in (("fine", 8), ("fine filtered", 8), ("coarse", 4), ("coarse filtered", 4))
}


def swept():
    """Return a sweep of two trials over three steps."""
    accuracy = {
        "transfer": np.array([[90.0, 91, 89], [92, 91, 91]]),
        "multigrid": np.array([[70.0, 95, 40], [60, 93, 50]]),
    }
    return Sweep("study-class", np.array([-0.5, 0, 1]), accuracy, {}, [0, 1], {})


@cache
def sample_figures():
    """Return a maker of each figure."""
    trials = study().trials
    panels = {
        "no pooling": ({"a": trials}, TABLE_4_1),
        "pooling": ({"a": trials}, TABLE_4_2),
    }
    gains = dict.fromkeys(SHARES, LINE)
    return {
        "gaps": lambda: gap.generalization_gaps(panels),
        "square": lambda: gap.commuting_square(SQUARE),
        "sharpness": lambda: gap.sharpness(swept()),
        "mechanism": lambda: gap.mechanism({"x": LINE, "P R x": LINE}, gains, SHARES),
    }


def test_a_gap_is_drawn_at_its_mean_with_the_thesis_beside_it():
    one = study()
    panels = {
        "no pooling": ({"a": one.trials}, TABLE_4_1),
        "pooling": ({"a": one.trials, "b": one.trials}, TABLE_4_2),
    }
    figure = gap.generalization_gaps(panels)
    left, right = figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["Galerkin", "copied", "random"]
    for ax, table, lanes in ((left, TABLE_4_1, 1), (right, TABLE_4_2, 2)):
        drawn = [float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1]
        assert sum(x == pytest.approx(16.0) for x in drawn) == 3 * lanes  # 91 − 75
        for arm in table:
            printed = table[arm]["training"][1] - table[arm]["validation"][1]
            assert any(x == pytest.approx(printed) for x in drawn)


def test_unseen_shares_are_bars_in_percent():
    *_, right = sample_figures()["mechanism"]().axes
    assert [bar.get_width() for bar in right.patches] == [25, 200]
    assert [text.get_text() for text in right.texts] == ["25 %", "200 %"]


def test_every_arrow_of_the_square_joins_the_images_that_its_map_connects():
    figure = gap.commuting_square(SQUARE)
    shown = {ax.get_title(): ax.images[0].get_array().shape[0] for ax in figure.axes}
    assert list(shown.values()) == [8, 8, 4, 4]
    labels = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert labels >= {"P", "R", "K fine", "K coarse"}


def test_a_sweep_is_drawn_as_its_trials_and_their_mean():
    (ax,) = gap.sharpness(swept()).axes
    drawn = [tuple(map(float, line.get_ydata())) for line in ax.lines]
    assert {(70.0, 95.0, 40.0), (60.0, 93.0, 50.0), (65.0, 94.0, 45.0)} <= set(drawn)
    assert [float(line.get_xdata()[0]) for line in ax.lines[-2:]] == [0, 1]
