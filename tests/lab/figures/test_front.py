"""The figure of the front page draws what it is given."""

from functools import cache

import numpy as np
import pytest

from mgcore.lab.figures.front import Answered, sharpness_sweep
from mgcore.lab.figures.style import LOOKS

STEPS = [0.0, 0.5, 1.0]
ACCURACY = {
    "transfer": np.array([[97.0, 96.5, 96.0], [95.0, 94.5, 94.0]]),
    "multigrid": np.array([[97.0, 80.0, 50.0], [97.0, 70.0, 46.0]]),
}
STRIP = [
    Answered(0.0, np.full((4, 4), 0.5), 3, {"transfer": 3, "multigrid": 3}),
    Answered(1.0, np.eye(4), 3, {"transfer": 3, "multigrid": 8}),
]


@cache
def sample_figures():
    """Return a maker of each figure."""
    return {"front": lambda: sharpness_sweep(STEPS, ACCURACY, STRIP)}


def test_each_trial_is_a_thin_line_and_the_mean_a_thick_one() -> None:
    below = sharpness_sweep(STEPS, ACCURACY, STRIP).axes[1]
    for name, values in ACCURACY.items():
        lines = [line for line in below.lines if line.get_color() == LOOKS[name].colour]
        thin, thick = lines[:-1], lines[-1]
        assert [list(line.get_ydata()) for line in thin] == values.tolist()
        assert list(thick.get_ydata()) == pytest.approx(values.mean(axis=0))
        assert all(line.get_linewidth() < thick.get_linewidth() for line in thin)
    assert [text.get_text() for text in below.texts] == ["copied 95.0 %", "Galerkin 48.0 %"]


def test_a_wrong_answer_has_another_sign() -> None:
    top = sharpness_sweep(STEPS, ACCURACY, STRIP).axes[0]
    said = [text.get_text() for text in top.texts]
    assert said == ["copied: 3 ✓", "Galerkin: 3 ✓", "copied: 3 ✓", "Galerkin: 8 ✗"]
    images = [place.images[0].get_array() for place in top.child_axes]
    assert np.array_equal(images[1], np.eye(4))
