"""The figures and tables of the change of image size show what is recorded."""

import numpy as np

from mgcore.lab.figures.your_network import LOOKS, fitted_map_plot, size_change_plot
from mgcore.lab.pages.size_change import fitted_map_table, size_change_table
from mgcore.lab.scales.fitted_map import DATA, EXPONENTS, FITTED, KINDS, NETWORKS, Sweep
from mgcore.lab.scales.size_change import CHANGES, METHODS


def results():
    """Accuracies that differ by seed, method and stage; one seed diverged."""
    found = {}
    for place, name in enumerate(CHANGES):
        found[name] = [
            {"old": 90.0 + seed, "accuracy": {
                m: [20.0 + 5 * k + seed, 40.0 + 5 * k + seed, 60.0 + 5 * k + seed + place]
                for k, m in enumerate(METHODS)}}
            for seed in range(3)
        ]  # fmt: skip
    found["strokes-28-56"][0]["accuracy"]["random"] = [None, None, None]
    return found


def sample_figures():
    """Return a maker of each figure."""
    return {
        "changes": lambda: size_change_plot(results(), "Title"),
        "maps": lambda: fitted_map_plot(sweeps(), "Title"),
    }


def sweeps():
    """Accuracies that fall from 90 % with the distance of t from 0, or from 1."""
    found = []
    for name in DATA:
        networks = [
            {"old": 97.0, "accuracy": {
                kind: [90 - 30 * abs(t - best) - seed for t in EXPONENTS]
                for best, kind in enumerate(KINDS)}}
            for seed in range(NETWORKS)
        ]  # fmt: skip
        fit = {"accuracy": {kind: [95.0, 96.0] for kind in KINDS}}
        fit["difference_exponents"] = {kind: [0.1, 0.2] for kind in KINDS}
        found += [(name, kind, Sweep(networks, fit, kind)) for kind in KINDS]
    return found


def test_the_curve_is_the_mean_of_the_judging_networks_and_the_mark_is_the_chosen_exponent():
    for ax in fitted_map_plot(sweeps(), "Title").axes[: len(DATA)]:
        curves = [line for line in ax.lines if len(line.get_xdata()) == len(EXPONENTS)]
        for best, line in enumerate(curves):
            mean = 90 - 30 * np.abs(np.array(EXPONENTS) - best) - (FITTED + NETWORKS - 1) / 2
            np.testing.assert_allclose(line.get_ydata(), mean)
        marks = [line for line in ax.lines if line.get_markersize() == 7]
        assert [float(mark.get_xdata()[0]) for mark in marks] == [0.0, 1.0]


def test_a_mark_before_and_a_mark_after_for_each_method():
    axes = size_change_plot(results(), "Title").axes[: len(CHANGES)]
    for place, ax in enumerate(axes):
        for k, method in enumerate(METHODS):
            (line,) = [
                one for one in ax.lines
                if one.get_color() == LOOKS[method].colour and len(one.get_xdata()) == 2
                and list(one.get_ydata()) == [k, k] and one.get_linestyle() == "-"
            ]  # fmt: skip
            if (place, method) == (0, "random"):
                expected = [(10 + 41 + 42) / 3, (10 + 81 + 82) / 3]
            else:
                expected = [21 + 5 * k, 61 + 5 * k + place]
            np.testing.assert_allclose(line.get_xdata(), expected)
    labels = [[t.get_text() for t in ax.get_yticklabels()] for ax in axes]
    assert [column[1] for column in labels] == [
        "least squares" if name in ("strokes-28-42", "mnist-20-28") else "Galerkin kernels"
        for name in CHANGES
    ]


def test_the_table_has_every_accuracy_with_its_interval():
    table = size_change_table(results())
    assert len(table.rows) == 3 * len(CHANGES)
    assert table.rows[0][:4] == ["stroke digits, 28 → 56", "91.0 ± 2.5", "0", "21.0 ± 2.5"]
    assert table.rows[2][2:4] == ["3", "61.0 ± 2.5"]
    assert "Seeds: 3." in table.caption


def test_the_table_of_the_fitted_map_has_the_judging_networks_and_both_exponents():
    table = fitted_map_table(sweeps())
    assert [row[1] for row in table.rows] == list(KINDS) * len(DATA)
    assert [row[2] for row in table.rows] == ["0", "1"] * len(DATA)
    smoothed = table.rows[1]  # the judging networks lose 5 to 9 points, and 30 more at t = 0
    assert [value.split(" ± ")[0] for value in smoothed[3:7]] == ["53.0", "83.0", "83.0", "95.5"]
    assert smoothed[7:] == ["0.10", "0.20"]
