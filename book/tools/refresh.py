"""Execute every chapter at its defaults and write the outputs into the committed notebooks.

The only tool that rewrites outputs in ``book/*.ipynb``. Sources and metadata stay as they are;
outputs and execution counts are replaced, without papermill's metadata or any timestamp. How long
each chapter took goes into ``book/times.json``.
"""

from __future__ import annotations

import argparse
import sys

import execute
import guard
import notebooks
from notebooks import ROOT
from opening import remember


def main(argv: list[str] | None = None) -> int:
    """Refresh what the command line asks for; return the exit status."""
    parser = execute.Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--only", metavar="CHAPTER", help="one chapter, by its name in _toc.yml")
    arguments: argparse.Namespace = parser.parse_args(argv)
    chosen = execute.choose(arguments.only, {})
    if execute.execute(chosen, execute.OUT, always=True):
        print("Nothing was rewritten.", file=sys.stderr)
        return 1
    for path in chosen:
        executed = notebooks.read(execute.OUT / path)
        remember(path, executed.metadata["papermill"]["duration"])
        fresh = notebooks.strip(executed, injected=True)
        notebooks.write(fresh, ROOT / path)
        print(f"rewritten: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(guard.until_stopped(main))
