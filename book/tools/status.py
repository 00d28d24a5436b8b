"""The tables of the status page: what each chapter and each record is, and whether it holds."""

from __future__ import annotations

import re
from statistics import fmean

from generated import Book, table, title
from notebooks import ROOT, parameters
from opening import read_times

# What a chapter calls to read a record.
READS = re.compile(r"\b(?:records_folder|Record|obtain|committed|read_ledger|trained)\(")
NOT_BROKEN = "\u2011"  # a hyphen at which a date does not break
RECORDS = ROOT / "book" / "records"


def _studies() -> dict[str, list]:
    """Return the committed records by the name of their study, tiers in order of size."""
    from mgcore.lab.protocol import TIERS
    from mgcore.lab.records.record import Record

    found: dict[str, list] = {}
    for protocol in sorted(RECORDS.glob("*/protocol.json")):
        record = Record(protocol.parent)
        if record.numbers():
            found.setdefault(protocol.parent.name.rpartition("-")[0], []).append(record)
    for records in found.values():
        records.sort(key=lambda record: TIERS.index(record.protocol.tier))
    return found


def _core_minutes(trial: dict) -> float:
    """Return the minutes of one core that training and evaluation of a trial took."""
    seconds = trial["circumstances"]["seconds"]
    return sum(sum(spent.values()) for spent in seconds.values() if isinstance(spent, dict)) / 60


def _text_of(notebook) -> str:
    """Return everything a chapter shows as text, and its code."""
    parts = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            parts += [str(output.get("text", "")), *map(str, output.get("data", {}).values())]
    return "\n".join(parts)


def chapters(book: Book) -> str:
    """Return a row for each chapter: kind, the studies it shows, seconds to run, when measured."""
    times, studies = read_times(), _studies()
    rows = []
    for path, chapter in book.chapters.items():
        text = _text_of(chapter)
        shown = [name for name in studies if re.search(rf"\b{re.escape(name)}\b", text)]
        code = "\n".join(cell.source for cell in chapter.cells if cell.cell_type == "code")
        kind = "records" if READS.search(code) else "live"
        kind = "experiment" if parameters(chapter) else kind
        measured = times.get(path.stem)
        rows.append([
            f"[{title(chapter)}]({path.name})",
            f"{kind}: {', '.join(shown)}" if kind == "experiment" and shown else kind,
            f"{measured['seconds']:.0f} s" if measured else "not measured",
            f"{measured['machine']}, {_dates([measured['date']])}" if measured else "–",
        ])  # fmt: skip
    caption = (
        "The chapters. *Experiment*: shows the records that are named, and runs them anew. "
        "*Records*: reads some beside what it computes. *Live*: everything on the page is "
        "computed when it is made."
    )
    return table(caption, ["chapter", "what it shows", "to run it again", "measured"], rows)


def records(book: Book) -> str:
    """Return a row for each record: trials, data, machine, date, cost, freshness."""
    from mgcore.lab.run.fingerprint import still_holds

    rows = []
    for name, found in _studies().items():
        for record in found:
            trials = record.trials()
            around = [trial["circumstances"] for trial in trials]
            protocol = record.protocol
            holds = still_holds(record.fingerprint, protocol)
            rows.append([
                f"`{name}`", protocol.tier, str(len(trials)),
                _distinct(one["data"]["dataset"] for one in around),
                _distinct(f"{one['machine']}, {one['device']}" for one in around),
                _dates(one["date"] for one in around),
                f"{fmean(map(_core_minutes, trials)):.1f}",
                "current" if holds else "**stale**",
            ])  # fmt: skip
    caption = (
        "The records. The time of a trial is minutes of one core, training and evaluation, the "
        "shared coarse network included, whichever study trained it. "
        "*Current*: today's code gives the stored values of the {term}`fingerprint`."
    )
    heads = ["study", "tier", "trials", "data", "machine", "date", "minutes a trial", "freshness"]
    return table(caption, heads, rows)


def _distinct(values) -> str:
    return ", ".join(sorted(set(values)))


def _dates(values) -> str:
    ends = sorted(set(values))
    text = ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"
    return text.replace("-", NOT_BROKEN)
