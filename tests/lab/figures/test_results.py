"""Figures draw what they are given: values at their places, in one style, always in one file."""

import io
import itertools
import math

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from mgcore.lab.figures import results as figures
from mgcore.lab.figures import style
from mgcore.lab.figures.pictures import rise
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.verdict.metrics import roughness, white_noise_roughness

MACHADO = {  # simulated colour vision, on linear RGB (Machado et al. 2009, severity 1)
    "usual": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


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


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(3)
    steps = np.linspace(-1, 1, 7)
    x, y = np.meshgrid(steps, steps, indexing="ij")
    kept = {
        "blocks": rng.normal(size=(100, 6, 6)),
        "blocks_of": np.stack([rng.integers(0, 10, 100), rng.integers(0, 64, 100)], axis=1),
        "digits/images": rng.random((2, 12, 12)),
        "digits/labels": np.array([0, 7]),
        "surface_steps": steps.astype(np.float32),
    }
    for layer in ("conv1", "conv2"):
        kept[f"channels/{layer}"] = np.array([4, 2])
        for arm in CONDITIONS:
            kept[f"maps/{arm}/{layer}"] = rng.random((2, 2, 12, 12)).astype(np.float16)
    for scale, name in enumerate(("coarse", "transfer", "multigrid"), start=1):
        kept[f"surface/{name}"] = scale * (1 + x**2 + 2 * y**2)
    return kept


def with_pooling(arrays):
    pooled = {"channels/pooled": np.array([4, 2])}
    pooled |= {f"maps/{arm}/pooled": np.zeros((2, 2, 6, 6), np.float16) for arm in CONDITIONS}
    return arrays | pooled


def all_figures(arrays):
    two = {"as they are": make_trials(3), "prolonged": make_trials(3)}
    return {
        "convergence": figures.convergence(two),
        "accuracy": figures.accuracy_table_plot(two),
        "blocks": figures.classifier_blocks(arrays),
        "surfaces": figures.loss_surfaces(arrays),
        "propagation": figures.propagation(arrays),
        "pooled": figures.propagation(with_pooling(arrays), channel=1),
    }


@pytest.fixture(scope="module")
def drawn(arrays):
    return all_figures(arrays)


def texts(figure):
    return [t.get_text() for t in figure.findobj(mpl.text.Text) if t.get_text().strip()]


# --- roughness ------------------------------------------------------------------------------------


def test_roughness_of_known_maps():
    chessboard = np.indices((8, 8)).sum(0) % 2 * 2.0 - 1
    stripes = np.tile([1.0, -1.0], (8, 4))
    maps = np.stack([np.ones((8, 8)), np.zeros((8, 8)), stripes, chessboard])
    expected = [0, 0, math.sqrt(4 * 7 / 8), math.sqrt(8 * 7 / 8)]
    np.testing.assert_allclose(roughness(maps), expected, atol=1e-12)


def test_roughness_ignores_scale():
    w = np.random.default_rng(0).normal(size=(5, 7, 7))
    np.testing.assert_allclose(roughness(-3 * w), roughness(w), rtol=1e-12)


@pytest.mark.parametrize("side", [5, 14])
def test_roughness_of_white_noise(side):
    noise = np.random.default_rng(1).normal(size=(4000, side, side))
    assert np.sqrt((roughness(noise) ** 2).mean()) == pytest.approx(
        white_noise_roughness(side), rel=5e-3
    )
    assert white_noise_roughness(side) == pytest.approx(math.sqrt(4 * (1 - 1 / side)))


# --- surfaces -------------------------------------------------------------------------------------


def test_rise_on_an_exponential_paraboloid():
    # log J is r², which linear interpolation on a fine grid meets closely.
    steps = np.linspace(-1, 1, 201)
    x, y = np.meshgrid(steps, steps, indexing="ij")
    centre, factor = rise(steps, 3 * np.exp(x**2 + y**2))
    assert centre == pytest.approx(3, rel=1e-9)
    assert factor == pytest.approx(math.exp(0.25), rel=1e-3)


def test_direction_one_lies_across(arrays):
    values = np.tile(np.linspace(1, 9, 7)[:, None], (1, 7))  # varies with direction 1 alone
    ramp = arrays | {f"surface/{n}": values for n in ("coarse", "transfer", "multigrid")}
    ax = figures.loss_surfaces(ramp).axes[0]
    lines = [path for c in ax.collections[1:] for path in c.get_paths() if len(path.vertices)]
    assert lines
    for path in lines:
        for line in path.to_polygons(closed_only=False):
            assert np.ptp(line[:, 0]) < 1e-9


def test_surface_tells_its_numbers(drawn):
    assert any("at the centre: 2\n½ away: ×" in text for text in texts(drawn["surfaces"]))


# --- curves ---------------------------------------------------------------------------------------


def points(ax, marker):
    return [line for line in ax.lines if line.get_marker() == marker]


def test_diamonds_are_at_the_thesis_numbers():
    figure = figures.accuracy_table_plot({"a": make_trials(3)})
    seen = [line.get_xdata()[0] for ax in figure.axes for line in points(ax, "D")]
    assert sorted(seen) == sorted(
        [88.4, 97.9, 97.5, 85.0, 93.5, 62.9, 96.4, 99.4, 99.9, 91.9, 94.6, 63.6]
    )


def test_convergence_shows_error_means_and_diamonds():
    figure = figures.convergence({"a": make_trials(3)})
    ax = figure.axes[0]
    filled = [line for line in points(ax, "v") if line.get_markerfacecolor() != style.CARD]
    np.testing.assert_allclose(filled[0].get_ydata(), [100, 100 - 95 / 4, 5])
    hollow = [line for line in points(ax, "v") if line.get_markerfacecolor() == style.CARD]
    np.testing.assert_allclose(hollow[0].get_ydata(), [100 - 95 / 2, 100 - 95 * 3 / 4])
    diamonds = np.concatenate([line.get_ydata() for line in points(ax, "D")])
    np.testing.assert_allclose(diamonds, [11.6, 3.6, 2.1, 0.6, 2.5, 0.1])


def test_convergence_draws_trials_as_lines_while_they_can_be_told_apart():
    for count, lines in ((figures.LINES, 4 * figures.LINES), (figures.LINES + 1, 0)):
        figure = figures.convergence({"a": make_trials(count)})
        thin = [line for line in figure.axes[0].lines if line.get_linewidth() == 0.6]
        assert len(thin) == lines
        said = [text.get_text() for text in figure.legends[0].get_texts()]
        assert ("thick: mean; thin, shade: trials" in said) is bool(lines)
        assert ("thick: mean; shade: trials" in said) is not bool(lines)
        ranges = figure.axes[0].findobj(mpl.collections.PolyCollection)
        assert len(ranges) == 4


def test_no_error_has_a_place_on_the_axis():
    trials = make_trials(2, spread=0.0)
    for trial in trials:
        trial["metrics"]["multigrid"][-1]["training_accuracy"] = 100.0
    ax = figures.convergence({"a": trials}).axes[0]
    assert "0" in [label.get_text() for label in ax.get_yticklabels()]
    assert ax.get_ylim()[0] < figures.FLOOR


def test_one_trial_has_no_interval_and_says_so():
    figure = figures.accuracy_table_plot({"a": make_trials(1)}, thesis=None)
    assert "one trial (no interval)" in figure.get_suptitle()
    assert not any(points(ax, "D") for ax in figure.axes)
    figures.convergence({"a": make_trials(1)}, thesis=None)


def test_propagation_refuses_a_channel_that_was_not_kept(arrays):
    with pytest.raises(ValueError, match=r"channel=2; accepted: 0 to 1\."):
        figures.propagation(arrays, channel=2)


def test_propagation_shows_each_map_once(drawn, arrays):
    shown = [im.get_array() for ax in drawn["propagation"].findobj(mpl.axes.Axes)
             for im in ax.images]  # fmt: skip
    assert len(shown) == 2 * (1 + 3 * 2)
    wanted = arrays["maps/multigrid/conv2"][1, 0].astype(float)
    assert any(np.array_equal(image, wanted) for image in shown)
    assert "all 0" in texts(drawn["pooled"])


# --- style ----------------------------------------------------------------------------------------


def test_same_data_same_bytes_whatever_the_settings(arrays, drawn):
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.facecolor": "red"}):
        again = figures.classifier_blocks(arrays)
    assert style.png(again) == style.png(drawn["blocks"])


def test_settings_of_the_caller_are_left_alone(arrays):
    with mpl.rc_context({"font.size": 17}):
        figures.loss_surfaces(arrays)
        assert mpl.rcParams["font.size"] == 17


def test_figures_are_light_opaque_and_legible(drawn):
    for name, figure in drawn.items():
        assert figure.get_size_inches()[0] == style.WIDTH
        data = style.png(figure)
        assert len(data) < 120_000, name
        corner = Image.open(io.BytesIO(data)).convert("RGBA").getpixel((2, 2))
        assert min(corner) >= 250, name
        sizes = [t.get_fontsize() for t in figure.findobj(mpl.text.Text) if t.get_text().strip()]
        assert min(sizes) >= 9, name
        assert figure.get_suptitle(), name


def test_nothing_is_cut_off(drawn):
    for name, figure in drawn.items():
        # The card itself is among what is drawn, so the box is the card or larger.
        drawn_on = figure.get_tightbbox().extents
        width, height = figure.get_size_inches()
        np.testing.assert_allclose(drawn_on, [0, 0, width, height], atol=0.01, err_msg=name)


def test_notebooks_show_a_figure_by_itself(drawn):
    data, size = drawn["accuracy"]._repr_png_()
    assert data.startswith(b"\x89PNG") and size["width"] == 770


def linear(colour):
    c = np.array(mpl.colors.to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def lab(rgb):
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722],
                       [0.0193, 0.1192, 0.9505]])  # fmt: skip
    x = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_colours_stand_out_and_apart():
    card = luminance(style.CARD) + 0.05
    for look in style.LOOKS.values():
        assert card / (luminance(look.colour) + 0.05) >= 4
    assert card / (luminance(style.MUTED) + 0.05) >= 4.5
    for vision, matrix in MACHADO.items():
        seen = {name: lab(matrix @ linear(look.colour)) for name, look in style.LOOKS.items()}
        for a, b in itertools.combinations(seen, 2):
            assert np.linalg.norm(seen[a] - seen[b]) >= 25, (vision, a, b)


def test_never_colour_alone():
    assert len({look.marker for look in style.LOOKS.values()}) == len(style.LOOKS)
    assert len({look.line for look in style.LOOKS.values()}) == len(style.LOOKS)
