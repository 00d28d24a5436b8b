"""The command line: list, plan, run, verify, bench and calibrate studies; grade a lab class.

``python -m mgcore`` and the console script ``mgcore`` start :func:`main`.  Imports that load torch
stand in the functions that need them, so that help, version, list and usage errors answer at once.
"""

from __future__ import annotations

import _thread
import argparse
import difflib
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mgcore import __version__
from mgcore.lab.protocol.presets import SIZES
from mgcore.lab.protocol.studies import (
    CHAPTERS,
    DEFAULT_TRIALS,
    STUDIES,
    default_dataset,
    describe,
    study_protocol,
)

if TYPE_CHECKING:
    from types import FrameType

    from mgcore.lab.protocol import Protocol
    from mgcore.lab.records.record import Record

DONE, DISAGREES, INPUT, INTERRUPTED = 0, 1, 2, 130
EPILOG = (
    "Exit status: 0 the command did what it was asked, also if too few trials leave a comparison "
    "undecided; 1 a record is damaged or stale, or a run disagrees with the record; 2 wrong usage "
    "or unusable input, as two records that cannot be compared; 130 interrupted."
)
# Copies of what modules that load torch accept; a test compares them.
DEVICES = ("auto", "cpu", "cuda")
LOWERINGS = ("grouped", "unfold", "shifted", "triton", "triton-x3")
PUBLISHED = ("mnist", "fashion-mnist")

TIER = (
    "size of the study: smoke takes seconds on drawn digits, class a few minutes, paper has the "
    "thesis's numbers of images and epochs (default: %(default)s)"
)
DATASET = (
    f"images: {' and '.join(PUBLISHED)} are read from MGCORE_DATA, else the cache, else "
    "downloaded; strokes are digits that mgcore draws itself (default: strokes at the smoke tier, "
    "else mnist)"
)
SEED = (
    "first part of every trial's random seed: a run with the record's seed, 0, repeats its trials "
    "one by one, another seed draws new ones (default: %(default)s)"
)
DEVICE = (
    "where networks are trained: cpu runs a trial on each core, cuda all trials together on a GPU, "
    "auto takes a GPU where torch finds one (default: %(default)s)"
)


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one sentence, with exit status 2."""

    def error(self, message: str) -> NoReturn:
        _complain(f"{_sentence(message)} See {self.prog} --help.")
        raise SystemExit(INPUT)


def _sentence(message: object) -> str:
    """Return a message on one line that ends in one full stop."""
    text = " ".join(str(message).split())
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _complain(message: str) -> None:
    print(f"mgcore: {message}", file=sys.stderr)


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if not re.fullmatch("0|-?[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"expected an integer, got {text!r}")
    return int(text)


def _study(text: str) -> str:
    if text not in STUDIES:
        similar = difflib.get_close_matches(text, STUDIES, 1)
        hint = f"did you mean {similar[0]!r}?" if similar else "`mgcore list` shows all studies."
        raise argparse.ArgumentTypeError(f"there is no study {text!r}; {hint}")
    return text


def read_arguments(given: list[str] | None) -> argparse.Namespace:
    """Return the parsed command line; an error is one sentence and exit status 2."""
    parser = _Parser(
        prog="mgcore", epilog=EPILOG, allow_abbrev=False,
        description="Run the experiments of the book, check their records, measure this machine.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"mgcore {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=EPILOG, allow_abbrev=False,
        )  # fmt: skip

    def protocol(parser: argparse.ArgumentParser, tier: str | None) -> None:
        parser.add_argument("--tier", choices=tuple(SIZES), default=tier, help=TIER)
        parser.add_argument("--dataset", help=DATASET)
        parser.add_argument("--seed", type=_seed, default=0, help=SEED)

    def workers(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--workers", type=_count, help="processes (default: one a core)")

    command("list", "list the studies: what each repeats, its network, images and records")
    plan = command("plan", "predict what chapters cost on this machine, at every tier")
    protocol(plan, None)
    plan.add_argument("--trials", type=_count, help="of each study (default: the tier's number)")
    plan.add_argument(
        "--check", nargs="+", choices=CHAPTERS, metavar="CHAPTER",
        help="run chapters afresh and print the time beside the prediction",
    )  # fmt: skip
    plan.add_argument("--json", type=Path, help="file for the result of --check")
    run = command("run", "run the missing trials of a study and compare with the book's record")
    run.add_argument("study", type=_study, metavar="STUDY", help="a name that `mgcore list` shows")
    protocol(run, "paper")
    run.add_argument("--trials", type=_count, help="number of trials (default: the tier's)")
    run.add_argument("--device", choices=DEVICES, default="auto", help=DEVICE)
    run.add_argument("--record", type=Path, help="folder of the record (default: in _build)")
    run.add_argument("--criteria", type=Path, help="claims file of a new record (default: book's)")
    workers(run)
    run.add_argument("--scheduler", help="Dask scheduler whose workers run trials: tcp://host:8786")
    run.add_argument("--tf32", action="store_true", help="let a GPU multiply in TF32")
    run.add_argument(
        "--lowering", choices=LOWERINGS,
        help="how a GPU computes the convolutions of many networks (default: unfold)",
    )  # fmt: skip
    run.add_argument("--quiet", action="store_true", help="do not show progress")
    verify = command("verify", "check records, and compare them with another record")
    verify.add_argument("records", type=Path, nargs="*", help="folders (default: the book's)")
    verify.add_argument("--against", type=Path, help="folder of the record to compare with")

    measured = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    measured.add_argument("--repeats", type=_count, help="runs; medians are shown (default: 1)")
    output = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    output.add_argument("--json", type=Path, help="file for the measurements")
    bench = commands.add_parser(
        "bench", help=(summary := "measure this machine"), parents=[measured, output],
        description="Measure this machine: without PART the whole table, else one part.",
        epilog=EPILOG, allow_abbrev=False,
    )  # fmt: skip
    bench.set_defaults(repeats=1, json=None)
    parts = bench.add_subparsers(dest="part", metavar="PART")
    for name, summary in (
        ("rates", "of the table: matrix products, training steps"),
        ("study", "of the table: a whole study beside its training steps"),
        ("plain", "of the table: trials beside a plain PyTorch script"),
        ("surfaces", "of the table: loss surfaces"),
    ):
        parts.add_parser(name, help=summary, description=summary, parents=[measured, output])
    summary = "Hessian products, and Newton methods on the classifier, at length"
    parts.add_parser("newton", help=summary, description=summary, parents=[output])
    summary = "many networks trained together, by each lowering"
    vectorized = parts.add_parser("vectorized", help=summary, description=summary)
    vectorized.add_argument("--networks", type=_count, default=60)
    vectorized.add_argument("--device", choices=DEVICES, default="auto", help=DEVICE)

    summary = "measure a GPU: checks, rates, Tables 4.1 and 4.2; stops itself, and resumes"
    day = command("gpu-day", summary)
    day.add_argument("--out", type=Path, required=True, help="folder of the result, gpu.json")
    day.add_argument(
        "--limit", type=_count, default=480, metavar="SECONDS",
        help="the command ends after this time and keeps what is done (default: %(default)s)",
    )  # fmt: skip
    day.add_argument("--tier", choices=tuple(SIZES), default="paper", help=TIER)
    day.add_argument("--dataset", help=DATASET)
    day.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda",
        help="cpu rehearses the command at small sizes (default: %(default)s)",
    )  # fmt: skip

    grade = command("grade", "run and judge the lab notebooks in a folder of submissions")
    grade.add_argument("folder", type=Path, help="holds the notebooks, or a folder for each")
    grade.add_argument(
        "--limit", type=_count, default=300, metavar="SECONDS",
        help="time limit of each submission (default: %(default)s)",
    )  # fmt: skip
    grade.add_argument("--workers", type=_count, default=1, help="submissions at a time")
    grade.add_argument("--json", type=Path, help="file for the grades with their sentences")
    grade.add_argument("--csv", type=Path, help="file for the grades as a table")

    calibrate = command("calibrate", "run the calibration of the open settings again, on MNIST")
    calibrate.add_argument("file", type=Path, help="where its runs are kept")
    universes = command("multiverse", "run the missing parts of the multiverse, on MNIST")
    universes.add_argument("folder", type=Path, help="of its results: a file a coarse network")
    workers(universes)
    across = command("across", "run the missing parts of training across scales, on MNIST")
    across.add_argument("folder", type=Path, help="of its results: a file a network and seed")
    workers(across)
    sizes = command("size-change", "run the missing parts of the change of image size, on MNIST")
    sizes.add_argument("folder", type=Path, help="of its results: a file a change and seed")
    workers(sizes)
    fitted = command("fitted-map", "run the missing parts of the fit of a map of kernels, on MNIST")
    fitted.add_argument("folder", type=Path, help="of its results: a file a network, and the fits")
    workers(fitted)
    maps = command("propagation", "pass digits through trained networks, on MNIST")
    maps.add_argument("folder", type=Path, help="of its results: a file a study")
    sweep = command("sharpness", "classify images between smoothed and original, on MNIST")
    sweep.add_argument("folder", type=Path, help="of its results: a file a trial")
    sweep.add_argument("--tier", choices=("class", "paper"), default="paper", help=TIER)
    sweep.add_argument("--trials", type=_count, help="number of trials (default: the record's)")
    workers(sweep)
    predictions = command(
        "predictions", "predict the gap in new settings, then run them, on stroke digits"
    )
    predictions.add_argument("folder", type=Path, help="of the predictions and their outcomes")
    predictions.add_argument(
        "step", choices=("base", "predict", "outcomes"),
        help="run the sweep; write the predictions, to be committed; run the settings",
    )  # fmt: skip
    workers(predictions)
    return parser.parse_args(given)


def _protocol(options: argparse.Namespace, study: str) -> Protocol:
    dataset = options.dataset or default_dataset(options.tier)
    return study_protocol(study, options.tier, dataset, options.seed)


def _book_records() -> Path | None:
    """Return the folder of committed records, or None outside the project."""
    from mgcore.lab.records.files import RecordError, records_folder

    try:
        return records_folder()
    except RecordError:
        return None


def _list(options: argparse.Namespace) -> int:
    folder = _book_records()
    rows = [("study", "repeats", "network", "images", "recorded trials")]
    for study in STUDIES:
        counts = [
            f"{tier} {number}"
            for tier in SIZES
            if folder and (number := len([*(folder / f"{study}-{tier}").glob("trial-*.json")]))
        ]
        rows.append((study, *describe(study), ", ".join(counts) or "none"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    if folder is None:
        print("No records were found: the working folder is not inside the project.")
    return DONE


def _plan(options: argparse.Namespace) -> int:
    from mgcore.lab.cost import plan as budget

    tiers = tuple(SIZES)
    if options.check:
        tier = options.tier or "class"
        found = budget.check(options.check, tier, options.trials, options.dataset)
        print(f"{'chapter':<14}{'predicted':>11}{'actual':>9}{'actual / predicted':>20}")
        for chapter, (predicted, actual) in found.items():
            pair = budget.spell(predicted), budget.spell(actual)
            print(f"{chapter:<14}{pair[0]:>11}{pair[1]:>9}{actual / predicted:>20.2f}")
        if options.json:
            budget.write_check(options.json, found, tier, options.trials)
        return DONE
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # not on Windows
    _say("measuring what each piece of work costs on this machine")
    prices = budget.prices_for(tiers, options.dataset)
    rows = budget.plan_book(tiers, options.trials, options.dataset, options.seed, prices)
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
    return DONE


def _say(doing: str) -> None:
    """Tell on standard error what a command is doing, before it is silent for a while."""
    print(f"mgcore: {doing} ...", file=sys.stderr, flush=True)


def _run(options: argparse.Namespace) -> int:
    from mgcore.lab.records.record import reader_folder
    from mgcore.lab.records.study import committed
    from mgcore.lab.run.study import run_study
    from mgcore.lab.trial.trial import metric_hash
    from mgcore.lab.verdict.agreement import compare
    from mgcore.lab.verdict.claims import criteria
    from mgcore.thesis.lowerings import LOWERING

    in_project = _book_records() is not None
    if not (in_project or options.record):
        raise ValueError(
            "The working folder is not inside the project, so the record needs a folder: give "
            "--record FOLDER."
        )
    protocol = _protocol(options, options.study)
    count = options.trials or DEFAULT_TRIALS[options.tier]
    record = run_study(
        protocol, count, options.device, workers=options.workers,
        record=options.record or reader_folder(options.study, protocol),
        criteria=criteria(options.criteria) if in_project or options.criteria else {},
        progress=not options.quiet, scheduler=options.scheduler, tf32=options.tf32,
        lowering=options.lowering or LOWERING,
    )  # fmt: skip
    trials = record.trials(count)
    print(f"{record.folder}: {len(trials)} trials, metrics {metric_hash(trials)}")
    print("The hash of two runs is equal if every number is.")
    book = committed(options.study, options.tier) if in_project else None
    if book is None or book.folder.resolve() == record.folder.resolve():
        print("There is no other record of this study to compare with.")
        return DONE
    outcome = compare(record, book)
    print("What an agreement is worth: 'Does your run agree?' in book/claims.ipynb.")
    print(f"Compared with {book.folder}: {outcome}")
    return DISAGREES if outcome.agrees is False else DONE


def _verify(options: argparse.Namespace) -> int:
    from mgcore.lab.records.files import RecordError, records_folder
    from mgcore.lab.records.record import Record

    against = Record(options.against) if options.against else None
    folders = options.records or sorted(
        folder for folder in records_folder().iterdir()
        if (folder / "protocol.json").exists() or any(folder.glob("trial-*.json"))
    )  # fmt: skip
    statuses, without = [], []
    for folder in folders:
        try:
            statuses.append(_verify_one(Record(folder), against))
        except RecordError as error:
            if any(folder.glob("*.json")):
                print(f"{folder}: DAMAGED. {_sentence(error)}")
                statuses.append(DISAGREES)
            else:
                without.append(str(folder))
                statuses.append(INPUT)
    if without:
        _complain(f"no record was found in {', '.join(without)}; give the folder of a study.")
    bad = sum(status != DONE for status in statuses)
    print(f"Records: {len(folders)}; damaged, stale or in disagreement: {bad}.")
    return max(statuses, default=DONE)


def _verify_one(record: Record, against: Record | None) -> int:
    """Print the state of one record, with all of its damaged files; return the exit status."""
    from mgcore.lab.records.files import RecordError
    from mgcore.lab.run.fingerprint import still_holds
    from mgcore.lab.trial.trial import metric_hash
    from mgcore.lab.verdict.agreement import compare

    trials, problems, current = [], [], False
    for number in record.numbers():
        try:
            trials.append(record.trial(number))
        except RecordError as error:
            problems.append(error)
    try:
        figures = "with figures" if record.has_arrays() and record.arrays() else "without figures"
    except RecordError as error:
        figures = "damaged figures"
        problems.append(error)
    try:
        current = still_holds(record.fingerprint, record.protocol)
    except RecordError as error:
        problems.append(error)
    found = f"metrics {metric_hash(trials)}" if trials else "no readable trial"
    print(f"{record.folder}: {len(trials)} trials, {figures}, {found}")
    for problem in problems:
        print(f"  DAMAGED: {_sentence(problem)}")
    print("  fingerprint: " + ("the code behaves as it did" if current else "STALE: code changed"))
    status = DONE if current and not problems else DISAGREES
    if against and not problems:
        outcome = compare(record, against)
        print(f"  {outcome}")
        if outcome.agrees is None and outcome.method == "none":  # not comparable
            return max(status, INPUT)
        return DISAGREES if outcome.agrees is False else status
    return status


def _bench(options: argparse.Namespace) -> int:
    if options.part == "vectorized":
        return _bench_vectorized(options)
    if options.part == "newton":
        return _bench_newton(options.json)
    from mgcore.lab.cost import table as bench_table

    parts = tuple(bench_table.PARTS) if options.part is None else (options.part,)
    _say(f"measuring {', '.join(parts)}: some minutes, best on an otherwise idle machine")
    rows = bench_table.bench(parts, options.repeats, progress=lambda part: _say(f"  {part}"))
    print(bench_table.show(rows))
    if options.json:
        bench_table.write(options.json, rows, options.repeats)
    return DONE


def _bench_vectorized(options: argparse.Namespace) -> int:
    from mgcore.lab.cost.rates import vectorized_rates
    from mgcore.lab.run.workers import choose_device

    device = choose_device(options.device)
    _say(f"measuring training steps of {options.networks} networks on {device}")
    found = vectorized_rates(device, options.networks)
    print(f"{options.networks} networks on {device}")
    for one in found:
        name = f"{one.resolution}×{one.resolution}, {'pooling' if one.pooling else 'no pooling'}"
        name += f", {one.method}{', TF32' * one.tf32}"
        print(f"{name:<50}{one.flops / 1e9:>12.1f} GFLOP/s")
    return DONE


def _bench_newton(file: Path | None) -> int:
    from mgcore.lab.cost.newton import product_costs, race, write

    _say("measuring Hessian products")
    costs = product_costs()
    _say("measuring trust-region methods on the classifier")
    races = race()
    print(f"{'Hessian product at 28×28':<50}{'gradients':>10}")
    for cost in costs:
        print(f"{cost.network + ', ' + cost.form:<50}{cost.gradients:>10.2f}")
    print(f"{'classifier phase, to the same loss':<50}{'seconds':>10}{'steps':>7}{'passes':>8}")
    for one in races:
        print(f"{one.method:<50}{one.seconds:>10.2f}{one.steps:>7}{one.passes:>8}")
    if file:
        write(file, costs, races)
    return DONE


def _gpu_day(options: argparse.Namespace) -> int:
    began = time.monotonic()  # the limit counts the seconds in which torch is loaded, too
    from mgcore.lab.cost.gpu_day import disagreements, gpu_day, summary

    content = gpu_day(
        options.out, device=options.device, tier=options.tier,
        dataset=options.dataset or default_dataset(options.tier), limit=options.limit, began=began,
    )  # fmt: skip
    for part, what, value, compared in summary(content):
        print(f"{part:<16} {what:<52} {value:>14}  {compared}".rstrip())
    failed = disagreements(content)
    for name in failed:
        print(f"failed or not in agreement: {name}")
    return DISAGREES if failed else DONE


def _multiverse(options: argparse.Namespace) -> int:
    from mgcore.lab.choices.multiverse import read_multiverse, run_multiverse

    run_multiverse(options.folder, options.workers)
    print(f"{options.folder}: {len(read_multiverse(options.folder))} universes")
    return DONE


def _across(options: argparse.Namespace) -> int:
    from mgcore.lab.scales.work_grid import run_work_grid

    run_work_grid(options.folder, options.workers)
    print(f"{options.folder}: {len(list(options.folder.glob('*.json')))} files")
    return DONE


def _size_change(options: argparse.Namespace) -> int:
    from mgcore.lab.scales.size_change import run_size_changes

    run_size_changes(options.folder, options.workers)
    print(f"{options.folder}: {len(list(options.folder.glob('*.json')))} files")
    return DONE


def _fitted_map(options: argparse.Namespace) -> int:
    from mgcore.lab.scales.fitted_map import run_fitted_maps

    run_fitted_maps(options.folder, options.workers)
    print(f"{options.folder}: {len(list(options.folder.glob('*.json')))} files")
    return DONE


def _propagation(options: argparse.Namespace) -> int:
    from mgcore.lab.pages.propagation_explorer import read_propagation, run_propagation

    run_propagation(options.folder)
    for name, content in read_propagation(options.folder).items():
        print(f"{name}: {len(content['maps']['largest'])} maps")
    return DONE


def _sharpness(options: argparse.Namespace) -> int:
    from mgcore.lab.choices.sharpness import read_sharpness, run_sharpness

    run_sharpness(options.folder, options.tier, options.trials, options.workers)
    sweep = read_sharpness(options.folder)
    print(f"{options.folder}: {sweep.study}, trials: {len(sweep.trials)}")
    return DONE


def _predictions(options: argparse.Namespace) -> int:
    from mgcore.lab.choices import predictions

    if options.step == "predict":
        predictions.predict(options.folder)
    else:
        getattr(predictions, options.step)(options.folder, options.workers)
    print(f"{options.folder}: {options.step} done")
    return DONE


def _grade(options: argparse.Namespace) -> int:
    from mgcore.lab.classroom.grade import grade_folder, table, write_csv, write_json

    def progress(submission: str) -> None:
        print(f"mgcore: {submission} has run", file=sys.stderr, flush=True)

    grades = grade_folder(options.folder, options.limit, options.workers, progress)
    print(table(grades))
    if options.json:
        write_json(options.json, grades)
    if options.csv:
        write_csv(options.csv, grades)
    return DONE


def _calibrate(options: argparse.Namespace) -> int:
    from mgcore.lab.choices.calibration import calibrate, summary

    for row in summary(calibrate(options.file), stage=3):
        print(row)
    return DONE


COMMANDS = {
    "list": _list, "plan": _plan, "run": _run, "verify": _verify, "bench": _bench,
    "calibrate": _calibrate, "multiverse": _multiverse, "across": _across,
    "size-change": _size_change, "fitted-map": _fitted_map, "propagation": _propagation,
    "sharpness": _sharpness, "predictions": _predictions, "gpu-day": _gpu_day, "grade": _grade,
}  # fmt: skip


def stop_on_signals() -> None:
    """Let Ctrl-C and SIGTERM raise KeyboardInterrupt, but never inside an import.

    Numpy and scipy catch the exception while they are imported and fail later in other ways
    (RecursionError).  A signal that arrives during an import takes effect when the import is done.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            again = threading.Timer(0.05, os.kill, (os.getpid(), number))
            if os.name == "nt":  # os.kill would end the process there
                again = threading.Timer(0.05, _thread.interrupt_main, (number,))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def main(given: list[str] | None = None) -> int:
    """Run a command and return its exit status; an error is one sentence on standard error."""
    for stream in (sys.stdout, sys.stderr):  # an ASCII terminal shows "?" for a letter it lacks
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace", line_buffering=True)
    stop_on_signals()
    try:
        options = read_arguments(given)
        status = COMMANDS[options.command](options)
        sys.stdout.flush()  # here, where a closed pipe is handled
        return status
    except BrokenPipeError:  # the reader of the output, such as `head`, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    except (ValueError, OSError, FloatingPointError) as error:
        _complain(_sentence(error))
        return INPUT
    except KeyboardInterrupt as stop:
        reached = str(stop).rstrip(".") or "what was finished is kept"
        _complain(f"stopped; {reached}; the same command goes on from there.")
        return INTERRUPTED
