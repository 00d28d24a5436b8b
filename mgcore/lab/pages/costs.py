"""What studies cost: work, operations, and the time of one core, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from mgcore.lab.pages.tables import Table
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.records.study import Study
from mgcore.thesis.network import step_flops


def work_table(studies: Mapping[str, Study], caption: str = "") -> Table:
    """Return what each stage of each study cost: work, products, operations, time of one core.

    Operations follow from the work: so many gradients, each three forward passes less what the
    first layer saves (:func:`mgcore.thesis.network.step_flops`).  Hours are for the thesis's 20 trials.
    """
    rows = []
    for heading, study in studies.items():
        all_flop, all_minutes = 0.0, [0.0, 0.0]
        for run in ("coarse", *(r for arm in CONDITIONS for r in (f"{arm}_classifier", arm))):
            if run not in study.trials[0]["metrics"]:
                continue
            work, flop, products = _work(study, run)
            spent = [t["circumstances"]["seconds"][run] for t in study.trials]
            minutes = [fmean(one[w] for one in spent) / 60 for w in ("training", "evaluation")]
            rows.append(
                [f"{heading}\n{run.replace('_', ', ')}", "–" if run == "coarse" else f"{work:.1f}",
                 f"{products:.0f}" if products else "–", *_cost(flop, minutes)]
            )  # fmt: skip
            all_flop += flop
            all_minutes = [a + b for a, b in zip(all_minutes, minutes, strict=True)]
        rows.append([f"{heading}\nall of a trial", "", "", *_cost(all_flop, all_minutes)])
    return Table(
        ["study, stage", "work\n(epochs of SGD)", "Hessian\nproducts", "TFLOP",
         "training,\nminutes", "evaluation,\nminutes", "core-hours,\n20 trials"],
        rows, caption,
    )  # fmt: skip


def _work(study: Study, run: str) -> tuple[float, float, float]:
    """Return the work of a run in epochs of SGD on its images, its operations and its products."""
    protocol = study.protocol
    coarse = run == "coarse"
    images = protocol.n_coarse if coarse else protocol.n_fine
    side = protocol.resolution // 2 if coarse else protocol.resolution
    last = [t["metrics"][run][-1] for t in study.trials]
    work = fmean(row.get("work", row["epoch"] * images) for row in last)
    products = fmean(sum(r.get("products", 0) for r in t["metrics"][run]) for t in study.trials)
    return work / images, work * step_flops(side, protocol.pooling), products


def _cost(flop: float, minutes: list[float]) -> list[str]:
    both = (f"{value:.1f}" for value in minutes)
    return [f"{flop / 1e12:.2f}", *both, f"{20 * sum(minutes) / 60:.2f}"]
