"""Execute the chapters through papermill, two at a time, and only those that changed.

A chapter is executed again when its fingerprint changes: its cells, its parameters, `mgcore`, the
records, the lock or the Python version. The committed notebooks are read, never written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import multiprocessing
import os
import re
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, NoReturn

import guard
import notebooks
from notebooks import ROOT

OUT = ROOT / "_build" / "executed"
PROGRESS = "progress.txt"  # what the study under way says, below the output folder
# Two kernels that start at the same moment can choose the same free port, and one of them dies.
STARTS, NOT_STARTED = 3, "Kernel died before replying"
GRACE = 8.0  # seconds that an interrupted chapter has to end its kernel
SAY = 60.0  # seconds without a finished chapter after which a line says what is awaited
NAMED = ("tier", "trials", "device", "dataset", "seed")
Parameters = dict[str, Any]


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one sentence."""

    def error(self, message: str) -> NoReturn:
        """Stop with `message` and exit status 2."""
        print(f"{self.prog}: {message.rstrip('.')}.", file=sys.stderr)
        raise SystemExit(2)


# How a value is written on the command line; what fits none of the forms is text.
INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
CONSTANTS = {"True": True, "False": False, "None": None}


def number(text: str) -> int | float | bool | str | None:
    """Return the value that `text` writes: an integer, a decimal number, a constant, else text.

    An integer has no leading zero and no underscore, so that ``029`` and ``1_000`` stay text, which
    a chapter that asks for a number refuses.

    Examples
    --------
    >>> [number(text) for text in ("29", "-0.5", "1e-3", "None", "029", "1_000", "nan", "mnist")]
    [29, -0.5, 0.001, None, '029', '1_000', 'nan', 'mnist']
    """
    if text in CONSTANTS:
        return CONSTANTS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if DECIMAL.fullmatch(text) else text


def assignment(text: str) -> tuple[str, int | float | bool | str | None]:
    """Return the name and value of ``name=value``."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    return name, number(value)


def parser(description: str) -> Parser:
    """Return a parser with the options that become papermill parameters."""
    made = Parser(description=description, allow_abbrev=False)
    for name in NAMED:
        kind = number if name in ("trials", "seed") else str
        made.add_argument(f"--{name}", type=kind, help="parameter of the experiment chapters")
    made.add_argument(
        "-p", "--parameter", type=assignment, action="append", default=[], metavar="NAME=VALUE",
        help="any other parameter",
    )  # fmt: skip
    made.add_argument("--only", metavar="CHAPTER", help="one chapter, by its name in _toc.yml")
    return made


def given(arguments: argparse.Namespace) -> Parameters:
    """Return the parameters that were given on the command line."""
    named = {name: getattr(arguments, name) for name in NAMED}
    return {k: v for k, v in named.items() if v is not None} | dict(arguments.parameter)


def choose(only: str | None, values: Parameters) -> dict[Path, Parameters]:
    """Return the chapters to execute, each with the parameters it gets.

    Chapters without a cell tagged ``parameters`` are no experiments and get none.

    Raises
    ------
    SystemExit
        Where `only` names no chapter, or a chapter does not take a parameter.
    """
    paths = notebooks.chapters()
    if only is not None:
        known = ", ".join(path.stem for path in paths) or "none yet"
        paths = [p for p in paths if only in (p.stem, str(p), str(p.with_suffix("")))]
        if not paths:
            raise SystemExit(f"only={only!r} is no chapter of _toc.yml; the chapters are: {known}.")
    taken = {path: notebooks.parameters(notebooks.read(ROOT / path)) for path in paths}
    for name in values:
        for path in paths:
            if name not in taken[path] and (taken[path] or only is not None):
                accepted = ", ".join(taken[path]) or "none"
                raise SystemExit(
                    f"{path} has no parameter {name!r}; the parameters it takes: {accepted}."
                )
        if not any(taken.values()):
            raise SystemExit(f"No chapter takes the parameter {name!r}.")
    return {path: values if taken[path] else {} for path in paths}


def check(values: Parameters) -> None:
    """Refuse what no experiment chapter accepts, before one of them is executed.

    Raises
    ------
    SystemExit
        With the sentence that the chapter would say.
    """
    from mgcore.lab.pages.study_page import check_choice

    try:
        check_choice(**{name: value for name, value in values.items() if name in NAMED})
    except ValueError as error:
        raise SystemExit(" ".join(str(error).split())) from None


def fingerprint(path: Path, values: Parameters) -> str:
    """Return the SHA-256 over everything that decides what a chapter shows."""
    cells = notebooks.read(ROOT / path).cells
    shown = [[c.cell_type, c.source, sorted(c.metadata.get("tags", []))] for c in cells]
    digest = hashlib.sha256(
        json.dumps([shown, values, sys.version_info[:3]], sort_keys=True, default=repr).encode()
    )
    read = [ROOT / "requirements.txt", *ROOT.glob("mgcore/**/*.py"), *ROOT.glob("book/*.yml")]
    read += [file for file in ROOT.glob("book/records/**/*") if file.is_file()]
    for file in sorted(read):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(ROOT)} {content}\n".encode())
    return digest.hexdigest()


def _own_kernel() -> type:
    """Return a manager that starts this Python as the kernel.

    A kernel of the name ``python3`` elsewhere, on JUPYTER_PATH or in the user's home, would run the
    chapter in another environment.
    """
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class OwnKernel(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(resource_dir="", **get_kernel_dict())

    return OwnKernel


def run(path: Path, values: Parameters, out: Path, position: int, watched: bool) -> str | None:
    """Execute one chapter into `out`; return what went wrong, in one sentence, or None."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of a kernel that was interrupted
    target = out / path
    target.parent.mkdir(parents=True, exist_ok=True)
    running, failed = target.with_suffix(".running.ipynb"), target.with_suffix(".failed.ipynb")
    bar = {"desc": path.stem, "position": position, "leave": True, "disable": not watched}
    for start in range(1, STARTS + 1):
        try:
            papermill.execute_notebook(
                ROOT / path, running, values, kernel_name="python3", language="python",
                kernel_manager_class=_own_kernel(), cwd=ROOT / path.parent, progress_bar=bar,
                execution_timeout=None, autosave_cell_every=0,
                extra_arguments=["--log-level=CRITICAL"],
            )  # fmt: skip
            break
        except PapermillExecutionError as error:
            running.replace(failed)
            said = " ".join(str(error.evalue).split()) or "no message"
            return (
                f"{path} stopped in cell [{error.exec_count}] with {error.ename}: {said} "
                f"(traceback in {os.path.relpath(failed)})"
            )
        except Exception as error:
            running.unlink(missing_ok=True)
            said = " ".join(str(error).split())
            if start == STARTS or NOT_STARTED not in said:
                return f"{path} could not be executed: {type(error).__name__}: {said}"
    failed.unlink(missing_ok=True)
    running.replace(target)
    return None


def stamp_of(path: Path, out: Path) -> Path:
    """Return the file beside the output that holds its fingerprint."""
    return (out / path).with_suffix(".sha256")


def _apart() -> None:
    """Keep a worker from Ctrl-C, which reaches a whole group: `execute` ends it in order."""
    from tqdm import tqdm

    if hasattr(os, "setsid"):
        os.setsid()
    caller = os.getppid()

    def watch() -> None:  # a caller that was killed outright cannot end its workers
        while os.getppid() == caller:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # one between processes is left behind when a worker is ended


def _end_workers(pool: ProcessPoolExecutor, futures: Iterable[Future]) -> None:
    """Begin no further chapter, and let those under way end their kernels."""
    for future in futures:
        future.cancel()
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(GRACE)
        worker.kill()
    # The pool's thread must have ended, too: Python wakes it at exit, and if it closes its pipe at
    # that moment, a traceback is printed.
    pool.shutdown(wait=True, cancel_futures=True)


def _awaited(names: list[str], minutes: float, progress: Path) -> str:
    """Return what is still to be executed, and what the study under way said last."""
    text = f"{minutes:.0f} min; not yet executed: {', '.join(names)}"
    said = progress.read_text("utf-8", "replace").strip() if progress.exists() else ""
    return f"{text}\n  {said}" if said else text


def execute(chosen: dict[Path, Parameters], out: Path, jobs: int = 2, always: bool = False) -> int:
    """Execute the chapters that changed; return how many failed.

    Parameters
    ----------
    chosen
        Chapters and their parameters, as `choose` returns them.
    out
        Folder of the executed notebooks.
    jobs
        How many run at a time.
    always
        Execute unchanged chapters too.
    """
    if data := os.environ.get("MGCORE_DATA"):  # kernels run in book/
        os.environ["MGCORE_DATA"] = str(Path(data).absolute())
    prints = {path: fingerprint(path, values) for path, values in chosen.items()}
    stale = []
    for path in chosen:
        stamp, done = stamp_of(path, out), (out / path).exists()
        if always or not (done and stamp.exists() and stamp.read_bytes() == prints[path].encode()):
            stale.append(path)
    print(f"{len(stale)} of {len(chosen)} chapters to execute", file=sys.stderr)
    if not stale:
        return 0
    watched, failures = sys.stderr.isatty(), []
    progress = (out / PROGRESS).absolute()
    progress.unlink(missing_ok=True)
    os.environ["MGCORE_PROGRESS"] = str(progress)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(stale)), context, _apart) as pool:
        futures = {
            pool.submit(run, path, chosen[path], out, position, watched): path
            for position, path in enumerate(stale)
        }
        waiting, began = set(futures), time.monotonic()
        while waiting:
            try:
                done, waiting = wait(waiting, SAY, FIRST_COMPLETED)
            except KeyboardInterrupt:
                _end_workers(pool, futures)
                raise
            for future in done:
                path = futures[future]
                if message := future.result():
                    failures.append(message)
                else:
                    stamp_of(path, out).write_text(prints[path], encoding="utf-8")
            if not (done or watched):  # bars show it on a terminal
                minutes, names = (time.monotonic() - began) / 60, (futures[f].stem for f in waiting)
                print(_awaited(sorted(names), minutes, progress), file=sys.stderr, flush=True)
    for message in failures:
        print(message, file=sys.stderr)
    return len(failures)


def main(argv: list[str] | None = None) -> int:
    """Execute what the command line asks for; return the exit status."""
    made = parser(__doc__.splitlines()[0])
    made.add_argument("--out", type=Path, default=OUT, help="folder of the executed notebooks")
    made.add_argument("--force", action="store_true", help="execute unchanged chapters too")
    arguments = made.parse_args(argv)
    chosen = choose(arguments.only, given(arguments))
    return int(execute(chosen, arguments.out.absolute(), always=arguments.force) > 0)


if __name__ == "__main__":
    sys.exit(guard.until_stopped(main))
