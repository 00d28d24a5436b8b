"""Everything that a GPU has to show, in one command that stops itself: ``mgcore gpu-day``.

The command states how long each part will take, runs the tasks of all parts in the order of their
worth, and writes one JSON file after every task, atomically.  A task starts only if it should end
before the limit; a task that is still running at the limit is stopped.  The same command with the
same folder runs what is missing.  Each part runs in a process of its own: an error of the GPU that
ends the process costs one task.  No network is needed, and no package but torch, numpy and scipy.
"""

from __future__ import annotations

import multiprocessing
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch

from mgcore.lab.cost.gpu_parts import MODES, PARTS, Result, Settings, parts_on
from mgcore.lab.cost.rates import ONE_BY_ONE
from mgcore.lab.records.files import NotRecordedError, read_json, write_json
from mgcore.lab.run.workers import choose_device, here_and_now, settle_process

FILE = "gpu.json"
LIMIT = 480.0  # seconds
START = {"cuda": 6.0, "cpu": 4.0}  # seconds until a new process has loaded torch and the images
STOP = 2.0  # seconds before the limit at which a running task is stopped
# Before the tables these parts leave the time that the tables in float32 take, at most half of all.
BEFORE_TABLES = ("checks", "rates")
TABLES = "tables, float32"


class Worker(Protocol):
    """A process that runs the tasks of one part."""

    about: dict[str, Any]  # the card and the versions

    def run(self, name: str, seconds: float) -> Result | None:
        """Return the result of a task, or None if it was stopped after so many seconds."""

    def close(self) -> None:
        """End the process."""


class Child:
    """A :class:`Worker` in a fresh process, with a CUDA context of its own."""

    def __init__(self, part: str, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end, part, settings), daemon=True)
        self._process.start()
        end.close()
        self.about: dict[str, Any] = self._answer(60.0) or {}

    def run(self, name: str, seconds: float) -> Result | None:
        """Return the result of a task; ``error`` holds what went wrong."""
        try:
            self._pipe.send(name)
        except OSError:  # the process has ended; the answer says how
            pass
        return self._answer(seconds)

    def _answer(self, seconds: float) -> Result | None:
        try:
            return self._pipe.recv() if self._pipe.poll(seconds) else None
        except (EOFError, OSError):
            self._process.join(5)
            return {"error": f"The process ended with exit status {self._process.exitcode}."}

    def close(self) -> None:
        """Kill the process, whatever it is doing."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Any, part: str, settings: Settings) -> None:
    """Run the tasks whose names come through a pipe, until it is closed."""
    if settings.device == "cpu":
        settle_process()
    pipe.send(about_device(settings.device))
    tasks = PARTS[part].tasks(settings)
    while True:
        try:
            name = pipe.recv()
        except EOFError:
            return
        try:
            result = tasks[name]()
        except Exception as error:  # one task that fails must not lose the others
            text = " ".join(str(error).split()) or "no message"
            result = {"error": f"{type(error).__name__}: {text[:500]}"}
        pipe.send(result)


def about_device(device: str) -> dict[str, Any]:
    """Return the card or processor, and the versions."""
    about: dict[str, Any] = {
        "card": "CPU", "python": platform.python_version(),
        "torch": torch.__version__, "cuda": torch.version.cuda or "",
    }  # fmt: skip
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        about["card"] = properties.name
        about["memory_gib"] = round(properties.total_memory / 2**30, 1)
        about["multiprocessors"] = properties.multi_processor_count
    try:
        import triton

        about["triton"] = triton.__version__
    except ImportError:
        about["triton"] = ""
    return about


class _Day:
    """One call of the command: its clock, its file, and what is still to be done."""

    def __init__(
        self, folder: Path, settings: Settings, limit: float, clock: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.clock, self.say, self.limit, self.began = clock, say, limit, clock()
        self.file = folder / FILE
        request = {
            "device": settings.device, "tier": settings.tier, "dataset": settings.dataset,
        }  # fmt: skip
        try:
            self.content = read_json(self.file)
        except NotRecordedError:
            self.content = {"request": request, "about": {}, "results": {}, "runs": []}
        if self.content["request"] != request:
            raise ValueError(
                f"{self.file} holds the results of another request ({self.content['request']}). "
                "Choose another folder."
            )
        self.earlier = list(self.content["runs"])
        self.settings = settings
        self.tried: set[tuple[str, str]] = set()
        self.update()

    def update(self) -> None:
        """Give the parts what was found so far, and write the file."""
        self.settings = replace(self.settings, results=self.content["results"])
        spent = {"seconds": round(self.clock() - self.began, 1), "limit": self.limit}
        self.content["runs"] = [*self.earlier, spent | here_and_now()]
        self.content["left"] = {name: left for name in self.parts if (left := self.missing(name))}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.file, self.content)

    @property
    def parts(self) -> list[str]:
        """The parts, in the order of worth."""
        return parts_on(self.settings.device)

    @property
    def remaining(self) -> float:
        """Seconds until a running task is stopped."""
        return self.began + self.limit - STOP - self.clock()

    def missing(self, part: str) -> list[str]:
        """Return the tasks of a part that have no result, or an error for one."""
        results = self.content["results"].get(part, {})
        return [
            name for name in PARTS[part].tasks(self.settings)
            if "error" in results.get(name, {"error": ""})
        ]  # fmt: skip

    def expected(self, part: str) -> float:
        """Return the seconds that the missing tasks of a part should take."""
        names = self.missing(part)
        seconds = sum(PARTS[part].seconds(self.settings, name) for name in names)
        return seconds + START[self.settings.device] * bool(names)

    def state_plan(self) -> None:
        """Say what will run and how long each part should take."""
        end = 0.0
        self.say(f"Plan, limit {self.limit:.0f} s, results in {self.file}:")
        for part in self.parts:
            seconds, count = self.expected(part), len(self.missing(part))
            end += seconds
            late = " (beyond the limit: as far as it gets)" * (end > self.limit)
            what = PARTS[part].what if count else "done before"
            self.say(f"  {part:<16} {count:>3} tasks {seconds:>6.0f} s  {what}{late}")
        self.say(f"  in all {end:.0f} s")

    def run(self, part: str, reserve: float, start: Callable[[str, Settings], Worker]) -> None:
        """Run the missing tasks of a part, and leave `reserve` seconds for others."""
        worker: Worker | None = None
        try:
            for name in self.missing(part):
                need = PARTS[part].seconds(self.settings, name)
                need += 0.0 if worker else START[self.settings.device]
                if (part, name) in self.tried or self.remaining - reserve < need:
                    continue
                self.tried.add((part, name))
                if worker is None:
                    worker = self._started(start, part)
                result = worker.run(name, max(self.remaining, 0.0))
                if result is None:
                    self.say(f"{part}: {name}: stopped at the limit")
                    return
                self.content["results"].setdefault(part, {})[name] = result
                self.update()
                self.say(f"[{self.clock() - self.began:4.0f} s] {part}: {name}: {_short(result)}")
                if str(result.get("error", "")).startswith("The process ended"):
                    worker.close()
                    worker = None
        finally:
            if worker is not None:
                worker.close()

    def _started(self, start: Callable[[str, Settings], Worker], part: str) -> Worker:
        """Start a worker on the card that earlier results come from."""
        worker = start(part, self.settings)
        known = self.content["about"].get("card")
        if known and worker.about.get("card", known) != known:
            found = worker.about["card"]
            worker.close()
            raise ValueError(
                f"{self.file} holds the results of {known}, and this machine has {found}. Choose "
                "another folder."
            )
        self.content["about"] = self.content["about"] or worker.about
        return worker


def gpu_day(
    folder: Path,
    *,
    device: str = "cuda",
    tier: str = "paper",
    dataset: str = "mnist",
    limit: float = LIMIT,
    began: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    start: Callable[[str, Settings], Worker] = Child,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run what is missing until everything is done or the limit is reached.

    Parameters
    ----------
    folder : Path
        Of the file ``gpu.json``.
    device : {"cuda", "cpu", "auto"}
        On a CPU sizes are small: a rehearsal.
    tier, dataset : str
        Of Tables 4.1 and 4.2.
    limit : float
        Seconds after which the command has ended.
    began : float, optional
        When the limit began to count, on `clock`; by default now.
    clock : callable
        Seconds, never decreasing.
    start : callable
        From a part and the settings to the worker that runs its tasks.
    say : callable
        Takes each line of the report.

    Returns
    -------
    dict
        The content of the file.

    Raises
    ------
    ValueError
        If there is no such device, or the folder holds the results of another request or card.
    """
    settings = Settings(choose_device(device), tier, dataset)
    day = _Day(folder, settings, limit, clock, say)
    day.began = day.began if began is None else began
    day.state_plan()
    for reserved in (True, False):  # then what the first round left out
        for part in day.parts:
            before = reserved and part in BEFORE_TABLES
            day.run(part, min(day.expected(TABLES), limit / 2) if before else 0.0, start)
    day.update()
    left = sum(map(len, day.content["left"].values()))
    say(f"Ended after {clock() - day.began:.0f} s of {limit:.0f} s; tasks left: {left}.")
    if left:
        say("Everything finished is kept; the same command runs what is left.")
    return day.content


def _short(result: Result) -> str:
    """Spell a result on one line."""
    if "error" in result:
        return f"ERROR, {result['error']}"
    if "sentence" in result:
        return f"{result['seconds']:.1f} s by {result['lowering']}. {result['sentence']}"
    if "flops" in result:
        return f"{result['flops'] / 1e12:.3g} TFLOP/s"
    if "bytes_per_second" in result:
        return f"{result['bytes_per_second'] / 1e12:.3g} TB/s"
    if "tiling" in result:
        return f"{result['tiling']}"
    if "distance" in result:
        verdict = "agrees" if result["agrees"] else "DOES NOT AGREE"
        return f"{verdict}, distance {result['distance']:.1e}, allowed {result['allowed']:.0e}"
    return "agrees" if result.get("agrees") else "DOES NOT AGREE"


def disagreements(content: dict[str, Any]) -> list[str]:
    """Return the tasks that failed or do not agree, by part and name."""
    return [
        f"{part}: {name}"
        for part, results in content["results"].items() for name, result in results.items()
        if "error" in result or result.get("agrees") is False
    ]  # fmt: skip


def summary(content: dict[str, Any]) -> list[list[str]]:
    """Return the rows of the table that the page on speed shows.

    Parameters
    ----------
    content : dict
        As :func:`gpu_day` returns it.

    Returns
    -------
    list of list of str
        Part, what was measured, the number, and what it is compared with.
    """
    results = content["results"]
    rows = []
    for part in ("checks", "newton"):
        if found := results.get(part):
            agree = sum(result.get("agrees") is True for result in found.values())
            what = "Hessian methods" if part == "newton" else "lowerings and captured steps"
            rows.append(["Checks", f"{what}: as on the CPU", f"{agree} of {len(found)}", ""])
    rates = results.get("rates", {})
    products = {mode: rates.get(f"SGEMM, {mode}", {}).get("flops") for mode in MODES}
    for name, result in rates.items():
        if "bytes_per_second" in result:
            text = f"{result['bytes_per_second'] / 1e12:.2f} TB/s"
            rows.append(["Rates", f"{name}, read and written", text, ""])
        if "flops" not in result:
            continue
        product = products.get(name.rpartition(", ")[2])
        share = "" if "SGEMM" in name or not product else (
            f"{result['flops'] / product:.2f} of SGEMM"
        )  # fmt: skip
        rows.append(["Rates", name, _teraflops(result), share])
    for mode in MODES:
        tables = {
            name: result for name, result in results.get(f"tables, {mode}", {}).items()
            if "seconds" in result
        }  # fmt: skip
        for name, result in tables.items():
            rows.append([
                f"Tables, {mode}", f"{name}, {result['trials']} trials, {result['lowering']}",
                f"{result['seconds']:.1f} s", result["sentence"],
            ])  # fmt: skip
        if len(tables) > 1:
            whole = sum(result["seconds"] for result in tables.values())
            rows.append([f"Tables, {mode}", f"these {len(tables)} studies", f"{whole:.1f} s", ""])
    others = results.get("ensembles", {})
    for name, result in others.items():
        if "flops" not in result:
            continue
        network = name.partition(", ")[2]
        one = others.get(f"{ONE_BY_ONE}, {network}", {}).get("flops")
        ratio = f"{result['flops'] / one:.1f} of one after another" if one else ""
        alone = name.startswith(ONE_BY_ONE)
        rows.append(["Ensembles", name, _teraflops(result), "" if alone else ratio])
    return rows


def _teraflops(result: Result) -> str:
    return f"{result['flops'] / 1e12:.3g} TFLOP/s"


def read(file: Path) -> dict[str, Any]:
    """Return the content of a file that :func:`gpu_day` wrote.

    Raises
    ------
    NotRecordedError
        If there is no file: nothing has been measured.
    RecordError
        If the file is truncated or altered.
    """
    return read_json(file)
