"""The command line: plan, run, verify, bench and calibrate studies.

``python -m mgcore`` and the console script ``mgcore`` start :func:`main`.  Importing
:mod:`mgcore` does not load this module.
"""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from mgcore.lab.protocol import TIERS, Protocol
from mgcore.lab.protocol.studies import CHAPTERS, DEFAULT_TRIALS, STUDIES, study_protocol
from mgcore.lab.records.record import Record, reader_folder, records_folder
from mgcore.lab.records.study import committed
from mgcore.lab.run.fingerprint import still_holds
from mgcore.lab.run.study import check_trials, run_study
from mgcore.lab.run.workers import DEVICES, choose_device
from mgcore.lab.trial.trial import metric_hash
from mgcore.lab.verdict.agreement import compare
from mgcore.lab.verdict.claims import criteria
from mgcore.thesis.ensemble import LOWERING, LOWERINGS

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


def _protocol(options: argparse.Namespace, study: str) -> Protocol:
    dataset = options.dataset or ("strokes" if options.tier == "smoke" else "mnist")
    return study_protocol(study, options.tier, dataset, options.seed)


def _plan(options: argparse.Namespace) -> int:
    from mgcore.lab.cost import budget

    if options.check:
        tier = options.tier or "class"
        found = budget.check(options.check, tier, options.trials, options.dataset)
        print(f"{'chapter':<14}{'predicted':>11}{'actual':>9}{'actual / predicted':>20}")
        for chapter, (said, took) in found.items():
            pair = budget.spell(said), budget.spell(took)
            print(f"{chapter:<14}{pair[0]:>11}{pair[1]:>9}{took / said:>20.2f}")
        if options.json:
            budget.write_check(options.json, found, tier, options.trials)
        return 0
    load = os.getloadavg()[0]  # before measuring adds to it
    prices = budget.prices_for(TIERS, options.dataset)
    rows = budget.plan_book(TIERS, options.trials, options.dataset, options.seed, prices)
    print(f"{'tier':<7}{'chapter and study':<26}{'trials':>7}{'time':>9}{'GiB':>6}{'MB':>7}")
    for row in rows:
        if row.study is None or row.tier == options.tier:
            name = row.chapter if row.study is None else f"  {row.study}"
            time, cost = budget.spell(row.cost.seconds), row.cost
            print(
                f"{row.tier:<7}{name:<26}{row.trials:>7}{time:>9}{cost.memory_gib:>6.1f}"
                f"{cost.disk_mb:>7.0f}"
            )
    print(f"On {prices.processes} processes: {budget.fits_an_hour(rows)}")
    if warning := budget.busy(prices.processes, load):
        print(warning)
    return 0


def _run(options: argparse.Namespace) -> int:
    protocol = _protocol(options, options.study)
    count = options.trials or DEFAULT_TRIALS[options.tier]
    record = run_study(
        protocol, count, options.device, workers=options.workers,
        record=options.record or reader_folder(options.study, protocol),
        criteria=criteria(options.criteria),
        progress=not options.quiet, scheduler=options.scheduler, tf32=options.tf32,
        lowering=options.lowering,
    )  # fmt: skip
    trials = record.trials(count)
    print(f"{record.folder}: {len(trials)} trials, metrics {metric_hash(trials)}")
    print("  (the hash of two runs is equal where every number is)")
    book = committed(options.study, options.tier)
    if book and book.folder.resolve() != record.folder.resolve():
        print(f"  held against {book.folder}: {compare(record, book)}")
        print("  What that is worth: 'Does your run agree?' in book/claims.ipynb.")
    return 0


def _verify(options: argparse.Namespace) -> int:
    folders = options.records or sorted(f.parent for f in records_folder().glob("*/protocol.json"))
    bad = 0
    for folder in folders:
        record = Record(folder)
        trials = record.trials()
        whole = record.arrays() if record.has_arrays() else None
        fresh = still_holds(record.fingerprint, record.protocol)
        figures = "with figures" if whole else "without figures"
        print(f"{folder}: {len(trials)} trials, {figures}, metrics {metric_hash(trials)}")
        print("  canary: " + ("the code behaves as it did" if fresh else "STALE: the code changed"))
        bad += not fresh
        if options.against:
            outcome = compare(record, Record(options.against))
            print(f"  {outcome}")
            bad += outcome.agrees is not True
    return 1 if bad else 0


def _bench(options: argparse.Namespace) -> int:
    if options.vectorised:
        return _bench_vectorised(options)
    if options.newton:
        return _bench_newton(options.json)
    from mgcore.lab.cost import bench_table

    rows = bench_table.bench(tuple(options.parts or bench_table.PARTS), options.repeats)
    print(bench_table.show(rows))
    if options.json:
        bench_table.write(options.json, rows, options.repeats)
    return 0


def _bench_vectorised(options: argparse.Namespace) -> int:
    from mgcore.lab.cost.bench_vectorized import vectorised_rates

    device = choose_device(options.device)
    found = vectorised_rates(device, options.networks)
    print(f"{options.networks} networks on {device}")
    for one in found:
        name = f"{one.resolution}×{one.resolution}, {'pooling' if one.pooling else 'no pooling'}"
        name += f", {one.how}{', TF32' * one.tf32}"
        print(f"{name:<50}{one.flops / 1e9:>12.1f} GFLOP/s")
    return 0


def _bench_newton(file: Path | None) -> int:
    from mgcore.lab.cost.bench_newton import product_costs, write
    from mgcore.lab.cost.bench_race import race

    costs, races = product_costs(), race()
    print(f"{'Hessian product at 28×28':<50}{'gradients':>10}")
    for cost in costs:
        print(f"{cost.network + ', ' + cost.form:<50}{cost.gradients:>10.2f}")
    print(f"{'classifier phase, to the same loss':<50}{'seconds':>10}{'steps':>7}{'passes':>8}")
    for one in races:
        print(f"{one.method:<50}{one.seconds:>10.2f}{one.steps:>7}{one.passes:>8}")
    if file:
        write(file, costs, races)
    return 0


def _multiverse(options: argparse.Namespace) -> int:
    from mgcore.lab.choices.multiverse import read_multiverse, run_multiverse

    run_multiverse(options.folder, options.workers)
    print(f"{options.folder}: {len(read_multiverse(options.folder))} universes")
    return 0


def _across(options: argparse.Namespace) -> int:
    from mgcore.lab.scales.film import run_films
    from mgcore.lab.scales.work_grid import run_pareto

    run_pareto(options.folder, options.workers)
    run_films(options.folder, options.workers)
    print(f"{options.folder}: {len(list(options.folder.glob('*.json')))} files")
    return 0


def _propagation(options: argparse.Namespace) -> int:
    from mgcore.lab.pages.propagation_explorer import read_propagation, run_propagation

    run_propagation(options.folder)
    for name, content in read_propagation(options.folder).items():
        print(f"{name}: {len(content['maps']['largest'])} maps")
    return 0


def _calibrate(options: argparse.Namespace) -> int:
    from mgcore.lab.choices.calibration import calibrate, summary

    for row in summary(calibrate(options.file), stage=3):
        print(row)
    return 0


def main(given: list[str] | None = None) -> int:
    """Run a command; a complaint is one sentence on standard error and exit status 2."""
    options = read_arguments(given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as for Ctrl-C
    command = {
        "plan": _plan, "run": _run, "verify": _verify, "bench": _bench, "calibrate": _calibrate,
        "multiverse": _multiverse, "across": _across, "propagation": _propagation,
    }[options.command]  # fmt: skip
    try:
        return command(options)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"mgcore: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        where = str(stop) or "what was finished is kept"
        print(f"mgcore: stopped; {where}; the same command goes on from there.", file=sys.stderr)
        return 130
