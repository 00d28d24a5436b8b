"""What the front page shows, computed from the committed records: one figure."""

from __future__ import annotations

from generated import Book

FILE = "front_figure.png"


def rows(start: str) -> list:
    """Return the lines of the figure for one start: the thesis's, and ours."""
    from status import RECORDS

    from mgcore.lab.figures.front import AccuracyRow
    from mgcore.lab.protocol import printed_tables as thesis
    from mgcore.lab.records.record import Record
    from mgcore.lab.verdict.metrics import cell

    printed = thesis.TABLE_4_1[start]
    original, prolonged = (
        Record(RECORDS / f"baseline-{kind}-paper").trials() for kind in ("original", "prolonged")
    )

    def values(trials: list, name: str) -> list[float]:
        return [cell(trial, name) for trial in trials]

    seen, fresh = f"{start}.last.training", f"{start}.last.validation"
    alike = values(prolonged, f"preparation.{start}.prolonged")
    return [
        AccuracyRow("the thesis", printed["training"][1:], printed["validation"][1:], printed=True),
        AccuracyRow(
            "trained on smoothed images", values(prolonged, seen), values(prolonged, fresh)
        ),
        AccuracyRow("… and validated on such", values(prolonged, seen), alike),
        AccuracyRow(
            "trained on images as they are", values(original, seen), values(original, fresh)
        ),
    ]


def say(row) -> str:
    """Return one row in words, for those who do not see it."""
    from statistics import fmean

    ends = fmean(row.training), fmean(row.validation)
    return f"{row.label} {ends[0]:.1f} and {ends[1]:.1f}"


def figure(book: Book) -> str:
    """Draw the figure into the laid-out book and return the text that shows it."""
    from mgcore.lab.figures import style
    from mgcore.lab.figures.front import accuracy_bars

    starts = {start: rows(start) for start in ("transfer", "multigrid")}
    picture = accuracy_bars(starts)
    (book.source / "book" / FILE).write_bytes(style.png(picture))
    said = "; ".join(f"{name} start: {', '.join(map(say, of))}" for name, of in starts.items())
    width = round(style.SHOWN * picture.get_figwidth())
    return (
        f"```{{image}} {FILE}\n:alt: Accuracy in percent on training and on validation images. "
        f"{said}.\n:width: {width}px\n:target: baseline.html\n```"
    )
