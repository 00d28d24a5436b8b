"""The line under a chapter's title: minutes to read, time to run it again, state of its records.

It is written when the site is laid out, so no chapter types it: minutes are counted from its words,
seconds come from ``book/times.json``, which `make refresh` writes, and the state of the records is
what the chapter printed about their fingerprints.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import sys
from pathlib import Path

import nbformat
from notebooks import ROOT

TIMES = ROOT / "book" / "times.json"
OPENING = re.compile(r"```\{container\} opening\n.*?\n```\n", re.DOTALL)
PACE = 110  # words a minute, for a text with formulas and readers whose first language is another
CURRENT = re.compile(r"^.+: Current: the code still computes .*\n?", re.M)
FIGURE = 40  # words that a figure or a table takes as long to read as


def reading_minutes(notebook: nbformat.NotebookNode) -> int:
    """Return the minutes that a chapter takes to read, to the end of its summary.

    Exercises and further tests follow the summary and are not counted.  Neither are folded outputs,
    what an edition adds (the quiz, an instructor's remarks) and the opening line itself.  A glued
    number is one word, whatever the length of its name.
    """
    words, summarised = 0, ""
    for cell in notebook.cells:
        added = cell.get("id", "") == "quiz" or cell.get("id", "").startswith("remark-")
        if summarised:
            break
        if added or "solution" in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "markdown":
            text = re.sub(r"\{glue:\w+\}`[^`]*`", "0", OPENING.sub("", cell.source))
            text, summarised, after = f"\n{text}\n".partition("\n## Summary\n")
            words += len(re.findall(r"\w+", text + after.partition("\n## ")[0]))
        elif "hide-output" not in cell.metadata.get("tags", []):
            shown = (data for output in cell.outputs for data in output.get("data", {}))
            words += FIGURE * any(mime in ("image/png", "text/html") for mime in shown)
    return max(1, round(words / PACE))


def read_times(file: Path = TIMES) -> dict[str, dict[str, object]]:
    """Return what was measured of each chapter, by its name; nothing where the file is damaged."""
    try:
        times = json.loads(file.read_text("utf-8")) if file.exists() else {}
        for measured in times.values():
            sentence(1, measured)
    except (ValueError, AttributeError, TypeError, KeyError):
        print(f"{file} is damaged; `make refresh` writes it anew.", file=sys.stderr)
        return {}
    return times


def remember(path: Path, seconds: float, file: Path = TIMES) -> None:
    """Store how long a chapter took to execute with its defaults, and where."""
    times = read_times(file)
    times[path.stem] = {
        "seconds": round(seconds, 1),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }
    file.write_text(json.dumps(times, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def sentence(minutes: int, measured: dict[str, object] | None) -> str:
    """Return the line of one chapter."""
    reading = f"Reading, without exercises: about {minutes} minute{'s' * (minutes != 1)}."
    if not measured:
        return reading
    return (
        f"{reading} Running it again with its defaults: {measured['seconds']:.0f} seconds "
        f"({measured['machine']}, measured {measured['date']})."
    )


def take_freshness(notebook: nbformat.NotebookNode) -> int:
    """Remove the lines that call a record current from printed text, in place; count them.

    A line about a stale record stays where it was printed, as a warning has to.
    """
    count = 0
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text, removed = CURRENT.subn("", output.text)
                count += removed
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("text", "-").strip()]
    return count


def chip(count: int) -> str:
    """Return the mark for `count` records that are current; nothing for a page without records."""
    if not count:
        return ""
    return f" [✓ {count} record{'s' * (count != 1)} current](status.md)"


def open_chapter(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """Put the line under the title of a chapter, in place; return the notebook."""
    first = notebook.cells[0]
    title, newline, rest = first.source.partition("\n")
    line = sentence(reading_minutes(notebook), read_times().get(name))
    line += chip(take_freshness(notebook))
    first.source = f"{title}\n\n```{{container}} opening\n{line}\n```\n{newline}{rest}"
    return notebook
