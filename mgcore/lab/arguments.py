"""What the command line accepts; what it then does is in :mod:`mgcore.__main__`."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any

from mgcore.lab.execute import DEVICES
from mgcore.lab.protocol import TIERS
from mgcore.lab.run import check_trials
from mgcore.lab.studies import CHAPTERS, STUDIES
from mgcore.many import LOWERING, LOWERINGS

PURPOSE = "Plan, run, verify, bench and calibrate the studies of the book."


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one sentence."""

    def error(self, message: str) -> Any:
        sys.exit(f"mgcore: {' '.join(message.split())}; see python -m mgcore --help.")


def _trials(text: str) -> int:
    try:
        number: Any = int(text)
    except ValueError:
        number = text
    try:
        return check_trials(number)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _study(text: str) -> str:
    if text in STUDIES:
        return text
    near = difflib.get_close_matches(text, STUDIES, 1)
    meant = f" (did you mean {near[0]!r}?)" if near else ""
    options = ", ".join(map(repr, sorted(STUDIES)))
    raise argparse.ArgumentTypeError(f"study={text!r}{meant}; accepted: {options}")


def read_arguments(given: list[str] | None) -> argparse.Namespace:
    """Return what was asked for; a complaint is one sentence and ends the program."""
    parser = _Parser(prog="python -m mgcore", description=PURPOSE)
    commands = parser.add_subparsers(dest="command", required=True)

    def common(name: str, summary: str, tier: str | None = "paper") -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=summary, description=summary)
        one.add_argument("--tier", choices=TIERS, default=tier)
        one.add_argument("--dataset", choices=("mnist", "strokes"))
        one.add_argument("--seed", type=int, default=0)
        return one

    plan = common("plan", "predict what chapters cost on this machine, at every tier", None)
    plan.add_argument("--trials", type=_trials, help="of each study; the tier's usual number")
    plan.add_argument(
        "--check", nargs="+", choices=CHAPTERS, metavar="CHAPTER",
        help="run chapters afresh and print the time beside the prediction",
    )  # fmt: skip
    plan.add_argument("--json", type=Path, help="file to keep what --check finds in")
    run = common("run", "run what is missing of a study")
    run.add_argument("study", type=_study, help=", ".join(sorted(STUDIES)))
    run.add_argument("--trials", type=_trials, help="the tier's usual number if not given")
    run.add_argument("--device", choices=DEVICES, default="auto")
    run.add_argument("--record", type=Path, help="folder of the record")
    run.add_argument("--criteria", type=Path, help="claims a record is begun under; the book's")
    run.add_argument("--workers", type=_trials, help="processes; as many as cores by default")
    run.add_argument("--scheduler", help="Dask scheduler whose workers run it: tcp://host:8786")
    run.add_argument("--tf32", action="store_true", help="let a GPU multiply in TF32")
    run.add_argument("--lowering", choices=LOWERINGS, default=LOWERING, help="of a GPU's steps")
    run.add_argument("--quiet", action="store_true", help="do not show how far it is")
    verify = commands.add_parser("verify", help="check records, and compare one with another")
    verify.add_argument("records", type=Path, nargs="*", help="folders; all of the book's if none")
    verify.add_argument("--against", type=Path, help="folder of the record to compare with")
    bench = commands.add_parser("bench", help=(said := "measure this machine"), description=said)
    bench.add_argument("parts", nargs="*", help="of the table: rates study plain newton surfaces")
    bench.add_argument("--repeats", type=_trials, default=1, help="runs, of which the medians")
    bench.add_argument("--newton", action="store_true", help="Newton's methods alone, at length")
    bench.add_argument("--vectorised", action="store_true", help="networks in lockstep alone")
    bench.add_argument("--networks", type=_trials, default=60, help="with --vectorised")
    bench.add_argument("--device", choices=DEVICES, default="auto", help="with --vectorised")
    bench.add_argument("--json", type=Path, help="file to keep the figures in")
    calibrate = commands.add_parser("calibrate", help="run the calibration again, on MNIST")
    calibrate.add_argument("file", type=Path, help="where its runs are kept")
    universes = commands.add_parser("multiverse", help="run what is missing of it, on MNIST")
    universes.add_argument("folder", type=Path, help="where a file for each coarse network is kept")
    universes.add_argument("--workers", type=_trials, help="processes; as many as cores by default")
    across = commands.add_parser("across", help="run what is missing of training across scales")
    across.add_argument("folder", type=Path, help="where a file for each network and seed is kept")
    across.add_argument("--workers", type=_trials, help="processes; as many as cores by default")
    maps = commands.add_parser("propagation", help="pass digits through networks, on MNIST")
    maps.add_argument("folder", type=Path, help="where a file for each study is kept")
    return parser.parse_args(given)
