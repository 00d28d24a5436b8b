"""The tables of the page on speed: rates, predictions, and what breaking a study did."""

from __future__ import annotations

from pathlib import Path

from generated import Book, table
from notebooks import ROOT

FOLDER = ROOT / "book" / "records" / "bench"
WORDS = {"rates": "Bare steps and training, all cores", "study": "A whole study",
         "memory": "Memory", "plain script": "Beside a plain PyTorch script",
         "Newton": "Newton's method", "surfaces": "Loss surfaces"}  # fmt: skip


def rates(book: Book) -> str:
    """Return the table of :mod:`mgcore.lab.cost.table` as it was last measured."""
    return _rates(FOLDER / "table.json", "as a study has them")


def busy(book: Book) -> str:
    """Return the same comparison with a plain script where another job has the machine, too."""
    return _rates(FOLDER / "busy.json", "beside another job that keeps every core busy")


def _rates(file: Path, when: str) -> str:
    from mgcore.lab.cost.table import read

    measured, about = read(file)
    rows = []
    for row in measured:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f} of {row.to}"
        rows.append([WORDS[row.part], row.name, f"{_three(row.value)} {row.unit}", ratio])
    runs = "one run" if about["runs"] == 1 else f"medians of {about['runs']} runs"
    caption = (
        f"Measured {when}: {runs}, {about['machine']}, torch {about['torch']}, {about['date']}."
    )
    return table(caption, ["part", "what", "measured", "ratio"], rows)


def _three(value: float) -> str:
    """Spell a number with three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def predictions(book: Book) -> str:
    """Return what ``plan`` predicted for whole chapters, beside what they took."""
    from mgcore.lab.cost.plan import read_check, spell

    outcome, about = read_check(FOLDER / "plan.json")
    rows = [
        [f"`{chapter}`", spell(predicted), spell(actual), f"{actual / predicted:.2f}"]
        for chapter, (predicted, actual) in outcome.items()
    ]
    caption = (
        f"Predicted and actual time of chapters at the {about['tier']} tier, {about['trials']} "
        f"trials of each study, {about['machine']}, {about['date']}."
    )
    return table(caption, ["chapter", "predicted", "actual", "actual / predicted"], rows)


def gpu(book: Book) -> str:
    """Return the table that ``mgcore gpu-day`` measured, or the sentence that nothing was."""
    from mgcore.lab.cost.gpu_day import read, summary
    from mgcore.lab.records.files import NotRecordedError

    try:
        content = read(FOLDER / "gpu.json")
    except NotRecordedError:
        return "The speed on a GPU **has not been measured**."
    about, last = content["about"], content["runs"][-1]
    caption = (
        f"Measured by `mgcore gpu-day` in {sum(run['seconds'] for run in content['runs']):.0f} s: "
        f"{about['card']}, torch {about['torch']}, {last['date']}."
    )
    return table(caption, ["part", "what", "measured", "compared with"], summary(content))


def faults(book: Book) -> str:
    """Return the faults that ``make soak`` made, and what happened."""
    from mgcore.lab.records.files import read_json

    about = read_json(FOLDER / "soak.json")
    rows = [
        [one["fault"].rstrip("."), one["happened"], f"{one['seconds']:.0f} s"]
        for one in about["faults"]
    ]
    caption = f"`make soak`, {about['machine']}, {about['date']}."
    return table(caption, ["what was done to a study", "what happened", "took"], rows)
