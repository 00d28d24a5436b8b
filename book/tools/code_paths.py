"""Measure how much rounding changes the trials of a study, on several code paths of a processor.

``python book/tools/code_paths.py pooling-original --trials 3`` runs the first trials of the study
once on each path and writes their accuracies into ``book/records/agreement/rounding.json``, from
which :mod:`mgcore.lab.verdict.agreement` takes its tolerances.  The records of the runs stay in
``_build/code_paths``: what is missing there is run.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import guard
from notebooks import ROOT

# Variables that choose the instructions of torch's own kernels and of oneDNN's convolutions.  The
# fourth path needs a processor with AVX-512.
PATHS = {
    "torch AVX2, oneDNN AVX2": ("avx2", "AVX2"),
    "torch without vectors, oneDNN SSE4.1": ("default", "SSE41"),
    "torch AVX2, oneDNN SSE4.1": ("avx2", "SSE41"),
    "torch AVX-512, oneDNN AVX2": ("avx512", "AVX2"),
}
FILE = ROOT / "book" / "records" / "agreement" / "rounding.json"
ABOUT = (
    "Accuracies in percent of the first trials of each study (by protocol key), each on several "
    "code paths of a processor (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA), one thread."
)


def run(study: str, tier: str, trials: int, path: str, folder: Path) -> Path:
    """Run the missing trials of a study on one code path and return the folder of its record.

    Coarse networks are shared between studies, so each path has a cache of its own.

    Raises
    ------
    SystemExit
        If the run fails, for instance because the processor lacks the instructions.
    """
    aten, onednn = PATHS[path]
    place = folder / path.replace(" ", "-").replace(",", "")
    record = place / f"{study}-{tier}"
    command = [sys.executable, "-m", "mgcore", "run", study, "--tier", tier, "--workers", "1"]
    command += ["--device", "cpu", "--trials", str(trials), "--record", str(record)]
    variables = {"ATEN_CPU_CAPABILITY": aten, "ONEDNN_MAX_CPU_ISA": onednn}
    variables |= {"MGCORE_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    status = subprocess.run(command, env={**os.environ, **variables}, cwd=ROOT).returncode
    if status not in (0, 1):  # 1: the run disagrees with the record, which is what is measured
        lacks = ", since the processor lacks these instructions" * (status == -signal.SIGILL)
        raise SystemExit(
            f"{path}: {study} ended with status {status}{lacks}. Nothing was written; what was run "
            "is kept. Name other paths with --paths."
        )
    return record


def collect(study: str, tier: str, trials: int, records: dict[str, Path], file: Path) -> None:
    """Write the accuracies of the first trials of records, and of the book's, into `file`."""
    from mgcore.lab.records.files import NotRecordedError, read_json, write_json
    from mgcore.lab.records.record import Record
    from mgcore.lab.verdict.agreement import table_cells
    from mgcore.lab.verdict.metrics import cell

    paths = {"the record": ROOT / "book" / "records" / f"{study}-{tier}", **records}
    measured = {name: Record(place).trials(trials) for name, place in paths.items()}
    table = table_cells(measured["the record"])
    try:
        known = read_json(file)["protocols"]
    except NotRecordedError:
        known = {}
        file.parent.mkdir(parents=True, exist_ok=True)
    known[Record(paths["the record"]).protocol.key()] = {
        path: {name: [cell(trial, name) for trial in runs] for name in table}
        for path, runs in measured.items()
    }
    write_json(file, {"about": ABOUT, "protocols": known})


def main(argv: list[str] | None = None) -> int:
    """Run a study on the code paths that the command line names, and write the accuracies."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("study", nargs="+", help="names that `mgcore list` shows")
    made.add_argument("--tier", default="class", help="size of the study (default: %(default)s)")
    made.add_argument("--trials", type=int, default=3, help="of each (default: %(default)s)")
    made.add_argument("--paths", nargs="+", choices=PATHS, default=[*PATHS], metavar="PATH")
    arguments = made.parse_args(argv)
    for study in arguments.study:
        size = study, arguments.tier, arguments.trials
        folder = ROOT / "_build" / "code_paths"
        records = {path: run(*size, path, folder) for path in arguments.paths}
        collect(*size, records, FILE)
    return 0


if __name__ == "__main__":
    sys.exit(guard.until_stopped(main))
