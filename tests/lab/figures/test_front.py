"""The figure of the front page draws what it is given."""

import pytest

from mgcore.lab.figures.front import AccuracyRow, accuracy_bars
from mgcore.lab.figures.style import LOOKS

ROWS = [
    AccuracyRow("printed", [99.0], [60.0], printed=True),
    AccuracyRow("ours", [99.0, 100.0], [50.0, 54.0]),
]


def sample_figures():
    """Return a maker of each figure."""
    return {"front": lambda: accuracy_bars({"transfer": ROWS, "multigrid": ROWS})}


def test_a_bar_is_as_long_as_the_gap_and_says_so() -> None:
    figure = accuracy_bars({"transfer": ROWS, "multigrid": ROWS})
    for ax in figure.axes:
        assert [text.get_text() for text in ax.texts] == ["gap 39.0", "gap 47.5"]
        bars = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2]
        assert [99.0, 60.0] in [list(bar) for bar in bars]
        assert [99.5, 52.0] in [list(bar) for bar in bars]
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["printed", "ours"]
    assert [ax.get_title() for ax in figure.axes] == ["transfer start", "multigrid start"]


def test_panels_must_have_the_same_rows() -> None:
    with pytest.raises(ValueError, match="Every panel must have the same rows"):
        accuracy_bars({"transfer": ROWS, "multigrid": ROWS[:1]})


def test_what_was_seen_in_training_has_a_stroke() -> None:
    """Never told by filling: filled and hollow are two records in every other figure."""
    (ax,) = accuracy_bars({"transfer": ROWS}).axes
    strokes = [line.get_xdata()[0] for line in ax.lines if line.get_markersize() == 13]
    assert strokes == [99.0, 99.5]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() for line in dots] == [LOOKS["transfer"].colour] * 2
