"""Figures of the baseline's chapter show the values that they are given."""

import math
from functools import cache

import matplotlib as mpl
import numpy as np
import pytest
from drawing import all_drawn, texts
from scipy.interpolate import RegularGridInterpolator

from mgcore.lab.figures import baseline
from mgcore.lab.figures.baseline import rise
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.verdict.metrics import roughness


def make_trials(count, epochs=4, spread=1.0):
    """Return trials whose accuracies are known: 90 at the last epoch on average, plus the arm."""

    def history(base, shift):
        rows = []
        for epoch in range(epochs + 1):
            accuracy = base * epoch / epochs + shift * spread
            row = {"epoch": epoch, "images": "all" if epoch in (0, 1, epochs) else "subset"}
            row |= {"training_accuracy": accuracy, "validation_accuracy": accuracy / 2}
            rows.append(row)
        return rows

    return [
        {
            "trial": number,
            "metrics": {
                run: history(base, number - (count - 1) / 2)
                for run, base in zip(("coarse", *CONDITIONS), (80, 85, 90, 95), strict=True)
            },
        }
        for number in range(count)
    ]


def make_arrays():
    rng = np.random.default_rng(3)
    steps = np.linspace(-1, 1, 7)
    x, y = np.meshgrid(steps, steps, indexing="ij")
    stored = {
        "blocks": rng.normal(size=(100, 6, 6)),
        "blocks_of": np.stack([rng.integers(0, 10, 100), rng.integers(0, 64, 100)], axis=1),
        "digits/images": rng.random((2, 12, 12)),
        "digits/labels": np.array([0, 7]),
        "surface_steps": steps.astype(np.float32),
    }
    for layer in ("conv1", "conv2"):
        stored[f"channels/{layer}"] = np.array([4, 2])
        for arm in CONDITIONS:
            stored[f"maps/{arm}/{layer}"] = rng.random((2, 2, 12, 12)).astype(np.float16)
    for scale, name in enumerate(("coarse", "transfer", "multigrid"), start=1):
        stored[f"surface/{name}"] = scale * (1 + x**2 + 2 * y**2)
    return stored


def with_pooling(arrays):
    pooled = {"channels/pooled": np.array([4, 2])}
    pooled |= {f"maps/{arm}/pooled": np.zeros((2, 2, 6, 6), np.float16) for arm in CONDITIONS}
    return arrays | pooled


@cache
def sample_figures():
    """Return a maker of each figure."""
    two = {"as they are": make_trials(3), "prolonged": make_trials(3)}
    arrays = make_arrays()
    return {
        "error": lambda: baseline.error_by_epoch(two),
        "accuracy": lambda: baseline.accuracies(two),
        "blocks": lambda: baseline.classifier_blocks(arrays),
        "surfaces": lambda: baseline.loss_surfaces(arrays),
        "propagation": lambda: baseline.propagation(arrays),
        "pooled": lambda: baseline.propagation(with_pooling(arrays), channel=1),
    }


@pytest.fixture(scope="module")
def arrays():
    return make_arrays()


@pytest.fixture(scope="module")
def drawn():
    return all_drawn(sample_figures())


def test_rise_on_an_exponential_paraboloid():
    # log J is r², which linear interpolation on a fine grid meets closely.
    steps = np.linspace(-1, 1, 201)
    x, y = np.meshgrid(steps, steps, indexing="ij")
    centre, factor = rise(steps, 3 * np.exp(x**2 + y**2))
    assert centre == pytest.approx(3, rel=1e-9)
    assert factor == pytest.approx(math.exp(0.25), rel=1e-3)


def contours(ax):
    """Return the points of each contour line of a map, without the filled areas."""
    lines = []
    for drawn in ax.collections[1:]:
        for path in drawn.get_paths():
            lines += [line for line in path.to_polygons(closed_only=False) if len(line)]
    return lines


def test_direction_one_lies_across(arrays):
    # Varies with direction 1 alone; the centre is 20, so that ×2, ×5 and ×10 are inside.
    values = np.tile(np.geomspace(1, 400, 7)[:, None], (1, 7))
    ramp = arrays | {f"surface/{n}": values for n in ("coarse", "transfer", "multigrid")}
    lines = contours(baseline.loss_surfaces(ramp).axes[0])
    assert lines
    for line in lines:
        assert np.ptp(line[:, 0]) < 1e-9
    crossed = sorted({round(float(line[0, 0]), 6) for line in lines})
    np.testing.assert_allclose(crossed, np.log([2, 5, 10]) / np.log(20), atol=1e-6)


def test_maps_and_profiles_show_multiples_of_the_centre(drawn, arrays):
    axes, steps = drawn["surfaces"].axes, np.asarray(arrays["surface_steps"], float)
    for ax, profile, name in zip(axes[:3], axes[3:6], ("coarse", "transfer", "multigrid"),
                                 strict=True):  # fmt: skip
        values = arrays[f"surface/{name}"]
        log = RegularGridInterpolator([steps] * 2, np.log(values / values[3, 3]))
        reached = np.exp(log(np.clip(np.concatenate(contours(ax)), -1, 1)))
        np.testing.assert_allclose(reached, 2, rtol=0.02)  # no other level is inside
        line, mark = profile.lines
        for radius, mean in zip(line.get_xdata()[::10], line.get_ydata()[::10], strict=True):
            assert mean == pytest.approx(rise(steps, values, radius)[1], rel=1e-9)
        assert mark.get_xydata()[0] == pytest.approx([0.5, rise(steps, values)[1]])
        band = profile.collections[0].get_paths()[0].vertices
        assert band[:, 1].max() == pytest.approx(3, rel=0.01)  # 1 + 2 y² on the unit circle
    assert {"×2"} == {text for text in texts(drawn["surfaces"]) if text.startswith("×")}


def test_surface_tells_its_numbers(drawn):
    assert any("at the centre: 2\n½ away: ×" in text for text in texts(drawn["surfaces"]))


def points(ax, marker):
    return [line for line in ax.lines if line.get_marker() == marker]


def test_diamonds_are_at_the_thesis_numbers():
    (ax,) = baseline.accuracies({"a": make_trials(3)}).axes
    seen = [value for line in points(ax, "D") for value in line.get_xdata()]
    assert sorted(seen) == sorted(
        [88.4, 97.9, 97.5, 85.0, 93.5, 62.9, 96.4, 99.4, 99.9, 91.9, 94.6, 63.6]
    )


def test_a_bar_reaches_from_validation_to_training_accuracy():
    (ax,) = baseline.accuracies({"a": make_trials(3)}, thesis=None).axes
    bars = [list(line.get_xdata()) for line in ax.lines if line.get_alpha() == 0.35]
    last = [[base / 2, base] for base in (85, 90, 95)]
    np.testing.assert_allclose(bars, [[x / 4, y / 4] for x, y in last] + last)
    assert not points(ax, "D")


def test_error_by_epoch_shows_validation_error_means_and_the_thesis():
    (ax,) = baseline.error_by_epoch({"a": make_trials(3)}).axes
    marked = points(ax, "v")[0]
    np.testing.assert_allclose(marked.get_xdata(), [0, 1, 4])
    np.testing.assert_allclose(marked.get_ydata(), [100, 100 - 95 / 8, 100 - 95 / 2])
    ticks = np.concatenate([line.get_ydata() for line in points(ax, "_")])
    np.testing.assert_allclose(ticks, [15, 8.1, 6.5, 5.4, 37.1, 36.4])
    labels = [text.get_text() for text in ax.texts]
    assert labels == ["Galerkin\n52 %", "copied\n55 %", "random\n58 %"]


def test_error_by_epoch_draws_trials_as_lines_while_they_can_be_told_apart():
    for count, lines in ((baseline.LINES, 3 * baseline.LINES), (baseline.LINES + 1, 0)):
        figure = baseline.error_by_epoch({"a": make_trials(count)})
        thin = [line for line in figure.axes[0].lines if line.get_linewidth() == 0.6]
        assert len(thin) == lines
        ranges = figure.axes[0].findobj(mpl.collections.PolyCollection)
        assert len(ranges) == 3 * (lines == 0)


def test_no_error_has_a_place_on_the_axis():
    trials = make_trials(2, spread=0.0)
    for trial in trials:
        trial["metrics"]["multigrid"][-1]["validation_accuracy"] = 100.0
    ax = baseline.error_by_epoch({"a": trials}).axes[0]
    assert "0" in [label.get_text() for label in ax.get_yticklabels()]
    assert ax.get_ylim()[0] < baseline.FLOOR


def test_one_trial_has_no_interval_and_says_so():
    figure = baseline.accuracies({"a": make_trials(1)}, thesis=None)
    assert "one trial (no interval)" in figure.get_suptitle()
    baseline.error_by_epoch({"a": make_trials(1)}, thesis=None)


def test_every_weight_map_is_a_dot_at_its_roughness(drawn, arrays):
    ax = drawn["blocks"].findobj(mpl.axes.Axes)[0]
    dots = np.concatenate([line.get_xdata() for line in ax.lines if line.get_marker() == "o"])
    np.testing.assert_allclose(sorted(dots), sorted(roughness(arrays["blocks"])))


def test_propagation_refuses_a_channel_that_was_not_kept(arrays):
    with pytest.raises(ValueError, match=r"channel must be from 0 to 1, got 2\."):
        baseline.propagation(arrays, channel=2)


def test_propagation_shows_each_map_once(drawn, arrays):
    shown = [im.get_array() for ax in drawn["propagation"].findobj(mpl.axes.Axes)
             for im in ax.images]  # fmt: skip
    assert len(shown) == 2 * (1 + 3 * 2)
    wanted = arrays["maps/multigrid/conv2"][1, 0].astype(float)
    assert any(np.array_equal(image, wanted) for image in shown)
    assert "all 0" in texts(drawn["pooled"])
