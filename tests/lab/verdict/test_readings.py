"""What is read off the figures' arrays, on surfaces and maps of known shape."""

import numpy as np
import pytest

from mgcore.lab.verdict import readings
from mgcore.lab.verdict.readings import READINGS, SMOOTH, concave_share, descent

GRID = np.linspace(-1, 1, 21)
X, Y = np.meshgrid(GRID, GRID)
BOWL, SADDLE, HILL = 3 + X**2 + 2 * Y**2, 3 + X**2 - Y**2, 3 - X**2 - Y**2


@pytest.mark.parametrize(("surface", "share"), [(BOWL, 0.0), (SADDLE, 1.0), (HILL, 1.0)])
def test_the_share_of_concave_points(surface, share):
    assert concave_share(surface) == share
    assert concave_share(1e-3 * surface + 5) == share


def test_a_plane_and_rounding_are_not_concave():
    assert concave_share(X + 2 * Y) == 0
    noise = 1e-9 * np.random.default_rng(0).normal(size=X.shape)
    assert concave_share(BOWL + noise) == 0


def test_half_a_surface_that_bends_down_is_half():
    half = np.where(X < 0, X**3, 0 * X)  # concave for negative X
    assert concave_share(half) == pytest.approx(0.5, abs=0.06)


def test_descent_is_relative_to_the_centre():
    assert descent(BOWL) == 0
    assert descent(3 + X) == pytest.approx(1 / 3)


def arrays(blocks=None, **surfaces):
    found = {f"surface/{name}": surface for name, surface in surfaces.items()}
    return found if blocks is None else found | {"blocks": blocks}


def test_smooth_maps_are_told_from_noise():
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(100, 14, 14))
    i = (np.arange(14) + 0.5) / 14
    slow = np.cos(np.pi * i)[None, :, None] * np.ones((100, 14, 14))
    slow = slow * rng.uniform(1, 2, size=(100, 1, 1)) + 0.001 * noise
    assert readings.classifier_smooth(arrays(slow)).word == "reproduced"
    assert readings.classifier_smooth(arrays(noise)).word == "not reproduced"
    between = readings.classifier_smooth(arrays(np.concatenate([slow[:55], noise[:45]])))
    assert between.word == "not decidable" and f"{SMOOTH:g}" in between.shown


def test_the_word_on_convexity_follows_from_both_starts():
    both = readings.starts_non_convex(arrays(transfer=SADDLE, multigrid=HILL))
    assert both.word == "reproduced" and "transfer 100%" in both.shown
    one = readings.starts_non_convex(arrays(transfer=BOWL, multigrid=HILL))
    assert one.word == "not reproduced" and "transfer 0%" in one.shown


def test_what_one_figure_cannot_decide_is_said():
    surfaces = arrays(coarse=BOWL, transfer=3 + X, multigrid=BOWL)
    assert readings.coarse_not_highly_convex(surfaces).word == "not decidable"
    clearer = readings.transfer_clearer_descent(surfaces)
    assert clearer.word == "not decidable"
    assert "transfer 33%" in clearer.shown and "multigrid 0%" in clearer.shown


@pytest.mark.parametrize("name", READINGS)
def test_the_committed_record_has_what_is_read(name):
    finding = READINGS[name]()
    assert finding.word and any(ch.isdigit() for ch in finding.shown)
