"""Run the experiment chapters again with other parameters, and say how the outcome compares.

Everything goes into ``_build/reproduced``; the committed chapters and records are not touched.
What a chapter prints in its cell tagged ``verdict`` is repeated here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import build_site
import execute
import guard
import notebooks
from notebooks import ROOT

OUT = ROOT / "_build" / "reproduced"


def printed(cell: notebooks.nbformat.NotebookNode) -> str:
    """Return the text a cell shows: what it printed and the plain form of what it displayed."""
    texts = []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            texts.append(output.text)
        elif "data" in output:
            data = output.data
            texts.append(data.get("text/markdown") or data.get("text/plain") or "")
    return "\n".join(text.strip() for text in texts if text.strip())


def verdicts(folder: Path, paths: list[Path]) -> dict[Path, str]:
    """Return what the cells tagged ``verdict`` of each executed chapter say."""
    found = {}
    for path in paths:
        cells = notebooks.tagged(notebooks.read(folder / path), "verdict")
        found[path] = "\n".join(filter(None, map(printed, cells)))
    return found


def completed(values: execute.Parameters, taken: set[str]) -> execute.Parameters:
    """Return `values` with a tier and a number of trials, where the chapters take them.

    With the chapters' own defaults nothing would be run: they show what is recorded.
    """
    from mgcore.lab.protocol.studies import DEFAULT_TRIALS

    tier = values.get("tier", "class")
    added = {"tier": tier, "trials": DEFAULT_TRIALS.get(tier)}
    return {k: v for k, v in added.items() if k in taken and v is not None} | values


def main(argv: list[str] | None = None) -> int:
    """Reproduce what the command line asks for; return the exit status."""
    parser = execute.parser(__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="where everything goes")
    arguments = parser.parse_args(argv)
    values, out = execute.given(arguments), arguments.out.absolute()
    asked = execute.choose(arguments.only, values)
    execute.check(values)  # here, not in the first chapter that comes to it
    taken = {path: notebooks.parameters(notebooks.read(ROOT / path)) for path in asked}
    experiments = [path for path in asked if taken[path]]
    if not experiments:
        raise SystemExit("There is no experiment chapter to reproduce.")
    values = completed(values, set().union(*taken.values()))
    asked = execute.choose(arguments.only, values)
    settings = ", ".join(f"{name}={value}" for name, value in values.items())
    names = ", ".join(path.stem for path in experiments)
    print(
        f"Reproducing {names} with {settings}; the other chapters show what is recorded. "
        "`mgcore plan` predicts how long this takes.",
        file=sys.stderr,
    )
    # The other chapters are needed for the site; they come as they are recorded.
    chosen = dict.fromkeys(notebooks.chapters(), {}) | asked
    if execute.execute(chosen, out / "executed"):
        return 1
    # First what took the time: a site that cannot be built must not take the verdict with it.
    for path, text in verdicts(out / "executed", experiments).items():
        print(f"\n{path}:\n{text or 'this chapter gives no verdict.'}", flush=True)
    page = build_site.build(out / "executed", out)
    print(f"\nThe reproduced book is at {os.path.relpath(page)}")
    for path in experiments:
        print(f"{path.stem}: {os.path.relpath(page.parent / path.with_suffix('.html'))}")
    return 0


if __name__ == "__main__":
    sys.exit(guard.until_stopped(main))
