"""One table of this machine's rates, from one run: what the book shows, and how it is made."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median

import torch

from mgcore.lab.cost.bench import sgemm_rate, step_rate, surface_rate, training_rate, trial_flops
from mgcore.lab.cost.bench_newton import product_costs
from mgcore.lab.cost.bench_race import race
from mgcore.lab.cost.bench_study import duel, newton_memory, study_rate
from mgcore.lab.protocol import Protocol
from mgcore.lab.records.files import read_json, write_json
from mgcore.lab.run.workers import cores, everywhere, here_and_now, settle_process

Part = Callable[["Size"], list["Row"]]


@dataclass(frozen=True)
class Row:
    """One line: a number, its unit, and what it is a ratio to, if it is one."""

    part: str
    name: str
    value: float
    unit: str
    ratio: float | None = None
    to: str = ""


@dataclass(frozen=True)
class Size:
    """How long to measure; the default takes a couple of minutes on two idle cores."""

    budget: float = 1.0  # seconds for a rate
    count: int = 2000  # images of a comparison with the plain script
    epochs: int = 2
    study: tuple[int, int, int] = (4000, 1000, 1000)  # a tenth of the paper tier's images
    newton: int = 10_000  # images whose features are kept
    race: int = 300  # digits
    resolution: int = 28


def _rates(budget: float, resolution: int) -> dict[str, float]:
    """Return rates in this process, which runs beside others that do the same."""
    settle_process()
    found = {"sgemm": sgemm_rate(budget)}
    for side in (resolution // 2, resolution):
        for pooling in (False, True):
            key = f"{side}×{side}, {'pooling' if pooling else 'no pooling'}"
            found[f"bare step, {key}"] = step_rate(side, pooling, budget=budget)
            found[f"training, {key}"] = training_rate(side, pooling, budget=budget)
    found["sgemm again"] = sgemm_rate(budget)
    return found


def rate_rows(size: Size) -> list[Row]:
    """Measure matrix products, bare steps and training, in a process a core, all at once."""
    settle_process()
    alone = sgemm_rate(size.budget)
    each = everywhere(_rates, size.budget, size.resolution)
    total = {name: len(each) * fmean(one[name] for one in each) for name in each[0]}
    total["sgemm"] = (total["sgemm"] + total.pop("sgemm again")) / 2
    n, most = len(each), len(each) * alone
    rows = [
        Row("rates", "SGEMM, one thread alone", alone / 1e9, "GFLOP/s"),
        Row("rates", f"SGEMM, {n} processes at once", total["sgemm"] / 1e9, "GFLOP/s",
            total["sgemm"] / most, f"{n} × SGEMM alone"),
    ]  # fmt: skip
    return rows + [
        Row("rates", name, rate / 1e9, "GFLOP/s", rate / most, f"{n} × SGEMM alone")
        for name, rate in total.items() if name != "sgemm"
    ]  # fmt: skip


def study_rows(size: Size) -> list[Row]:
    """Measure a study of a trial a core beside the bare steps that it is made of.

    It is the paper tier's with fewer images, and with the smoke tier's few points of surfaces, so
    that the shares of training, evaluation and measures are about the paper tier's.
    """
    coarse, fine, validation = size.study
    protocol = Protocol.calibrated(
        "paper", dataset="strokes", resolution=size.resolution, n_coarse=coarse, n_fine=fine,
        n_validation=validation, subset=fine // 5,
    ).changed(tier="smoke")  # fmt: skip
    settle_process()
    alone = sgemm_rate(size.budget)
    before = _weighted(protocol, size)
    rate, evaluation, memory = study_rate(protocol)
    bare, n = (before + _weighted(protocol, size)) / 2, cores()
    return [
        Row("study", "bare steps, weighted as in the study", bare / 1e9, "GFLOP/s",
            bare / (n * alone), f"{n} × SGEMM alone"),
        Row("study", "a whole study", rate / 1e9, "GFLOP/s", rate / bare, "bare steps"),
        Row("study", "a whole study", rate / 1e9, "GFLOP/s", rate / (n * alone),
            f"{n} × SGEMM alone"),
        Row("study", "evaluation, share of the trials' time", 100 * evaluation, "%"),
        Row("memory", "peak of a process, SGD", memory, "GiB"),
        Row("memory", "peak of a process, the classifier's Newton phase",
            newton_memory(size.newton, size.resolution), "GiB"),
    ]  # fmt: skip


def _weighted(protocol: Protocol, size: Size) -> float:
    """Return the rate of the bare steps of all processes, weighted by the study's work."""
    flops = trial_flops(protocol)
    sides = {"coarse": protocol.resolution // 2, "fine": protocol.resolution}
    each = everywhere(_bare, tuple(sides.values()), protocol.pooling, size.budget)
    rates = dict(zip(sides, map(fmean, zip(*each, strict=True)), strict=True))
    seconds = sum(work / rates[grid] for (grid, _), work in flops.items())
    return len(each) * sum(flops.values()) / seconds


def _bare(sides: tuple[int, ...], pooling: bool, budget: float) -> list[float]:
    settle_process()
    return [step_rate(side, pooling, budget=budget) for side in sides]


def plain_rows(size: Size) -> list[Row]:
    """Measure studies of four trials beside the plain script at the same work."""
    rows = []
    for grid, epochs in (("fine", size.epochs), ("coarse", 2 * size.epochs)):
        found = duel(grid, False, size.count, epochs, size.resolution)
        where = f"{found.resolution}×{found.resolution}"
        rows += [
            Row("plain script", f"plain script, {found.threads} threads, {where}",
                found.plain / 1e9, "GFLOP/s"),
            Row("plain script", f"four trials, {where}", found.ours / 1e9, "GFLOP/s",
                found.ours / found.plain, "plain script"),
            Row("plain script", f"accuracy, plain script, {where}", found.plain_accuracy, "%"),
            Row("plain script", f"accuracy, four trials, {where}", found.our_accuracy, "%"),
        ]  # fmt: skip
    return rows


def newton_rows(size: Size) -> list[Row]:
    """Measure Hessian products, and a trust region beside pytorch-minimize's."""
    settle_process()
    rows = [
        Row("Newton", f"Hessian product, {cost.network}, {cost.form}", cost.gradients, "gradients")
        for cost in product_costs(size.budget)
    ]
    races = race(size.race)
    theirs = races[0].seconds / races[0].steps
    for one in races:
        step = one.seconds / one.steps
        rows.append(Row("Newton", f"Steihaug step, {one.method}", 1000 * step, "ms",
                        theirs / step, "pytorch-minimize"))  # fmt: skip
    return rows


def surface_rows(size: Size) -> list[Row]:
    """Measure loss surfaces in one thread beside a matrix product."""
    settle_process()
    rows = []
    for pooling in (False, True):
        before = sgemm_rate(size.budget)
        rate = surface_rate(size.resolution, pooling, size.budget)
        ratio = 2 * rate / (before + sgemm_rate(size.budget))
        name = f"loss surface, {'pooling' if pooling else 'no pooling'}, one thread"
        rows.append(Row("surfaces", name, rate / 1e9, "GFLOP/s", ratio, "SGEMM alone"))
    return rows


PARTS: dict[str, Part] = {
    "rates": rate_rows, "study": study_rows, "plain": plain_rows, "newton": newton_rows,
    "surfaces": surface_rows,
}  # fmt: skip


def bench(
    parts: tuple[str, ...] = tuple(PARTS),
    repeats: int = 1,
    size: Size | None = None,
    progress: Callable[[str], None] = lambda part: None,
) -> list[Row]:
    """Measure some parts of the table, and take the medians of several runs.

    Parameters
    ----------
    parts : tuple of str
        Keys of :data:`PARTS`.
    repeats : int
        Runs, each of all parts.
    size : Size, optional
    progress : callable, optional
        Called with the name of each part before the part is measured.

    Raises
    ------
    ValueError
        For a part that there is none of.
    """
    for part in parts:
        if part not in PARTS:
            options = ", ".join(repr(name) for name in PARTS)
            raise ValueError(f"part={part!r}; accepted: {options}.")
    runs = []
    for _ in range(repeats):
        rows = []
        for part in parts:
            progress(part)
            rows += PARTS[part](size or Size())
        runs.append(rows)
    return [_median(rows) for rows in zip(*runs, strict=True)]


def _median(rows: tuple[Row, ...]) -> Row:
    """Return the medians of one row over several runs."""
    first = rows[0]
    ratios = [row.ratio for row in rows if row.ratio is not None]
    return Row(
        first.part, first.name, median(row.value for row in rows), first.unit,
        median(ratios) if ratios else None, first.to,
    )  # fmt: skip


def show(rows: list[Row]) -> str:
    """Return the table as text."""
    lines = []
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:6.2f} of {row.to}"
        lines.append(f"{row.name:<58}{row.value:>9.4g} {row.unit:<10}{ratio}".rstrip())
    return "\n".join(lines)


def write(file: Path, rows: list[Row], repeats: int) -> None:
    """Keep the table with its machine, date and how busy the machine was, for the page."""
    content = {
        "rows": [asdict(row) for row in rows],
        "runs": repeats,
        "torch": torch.__version__.split("+")[0],
        "load": round(os.getloadavg()[1], 1),
    } | here_and_now()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, content)


def read(file: Path) -> tuple[list[Row], dict[str, str | int | float]]:
    """Return the rows that :func:`write` kept, and when and where they were measured.

    Raises
    ------
    RecordError
        If the file is missing, truncated or altered.
    """
    content = read_json(file)
    rows = [Row(**row) for row in content.pop("rows")]
    return rows, content
