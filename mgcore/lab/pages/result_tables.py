"""Tables of results: what trials measured, beside the numbers that the thesis prints.

Every function takes trials or studies and returns a :class:`mgcore.lab.pages.tables.Table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from mgcore.lab.choices import calibration
from mgcore.lab.pages.study_page import (
    agreement_with_record,
    mean_accuracies,
    paired_differences,
    provenance,
    values,
)
from mgcore.lab.pages.tables import Table, mean_with_interval
from mgcore.lab.protocol import CONDITION_NAMES, CONDITIONS
from mgcore.lab.protocol.printed_tables import Pairs, Stages
from mgcore.lab.records.schema import Trial
from mgcore.lab.records.study import Study, committed, recorded
from mgcore.lab.verdict.agreement import interval
from mgcore.lab.verdict.metrics import at_epoch, cell, trials_of
from mgcore.thesis.network import step_flops

Studies = Mapping[str, Study]
DECIMALS = {"accuracy": 1, "loss": 3, "objective": 2}
_CAPTIONS = {"accuracy": "Accuracy in %", "loss": "Loss", "objective": "Objective"}
_SPENT = ("training", "evaluation")
_INTERVALS = "Mean over trials ± half-width of the 95 % interval."
NONE = "–"


def results_table(
    trials: Sequence[Trial],
    thesis: Mapping[str, Pairs] | None = None,
    metric: str = "accuracy",
    caption: str = "",
) -> Table:
    """Return means, intervals and standard deviations of a study, and the thesis's numbers.

    Parameters
    ----------
    trials : sequence of trials
        As :meth:`mgcore.lab.records.record.Record.trials` returns them.
    thesis : mapping, optional
        Such as :data:`mgcore.lab.protocol.printed_tables.TABLE_4_1`; its pairs are those of epoch 1
        and of the last epoch.
    metric : {"accuracy", "loss", "objective"}
    caption : str
        Text before the sentence that explains a cell.

    Returns
    -------
    Table
        A row for each condition; training and validation before retraining (epoch 0), after epoch
        1 and after the last, each measured on all images.

    Raises
    ------
    ValueError
        For an unknown metric, or no trials.
    """
    if metric not in DECIMALS:
        options = ", ".join(repr(name) for name in DECIMALS)
        raise ValueError(f"metric must be one of {options}, got {metric!r}.")
    if not trials:
        raise ValueError("trials is empty. Give at least one trial.")
    conditions = [condition for condition in CONDITIONS if condition in trials[0]["metrics"]]
    last = trials[0]["metrics"][conditions[0]][-1]["epoch"]
    epochs = sorted({0, 1, last})
    places = [(images, epoch) for images in ("training", "validation") for epoch in epochs]
    rows = []
    for condition in conditions:
        row = [condition]
        for images, epoch in places:
            lines = [_measured(at_epoch(trials, condition, epoch, f"{images}_{metric}"), metric)]
            pair = (thesis or {}).get(condition, {}).get(images)
            if pair and epoch:
                # The thesis's second number is of its last epoch, whichever ours is.
                lines.append(f"thesis {pair[epoch == last and last > 1]:.{DECIMALS[metric]}f}")
            row.append("\n".join(lines))
        rows.append(row)
    how = f"{_CAPTIONS[metric]}: mean of {trials_of(len(trials))}"
    how += (
        " ± half-width of its 95 % interval, standard deviation (sd) below."
        if len(trials) > 1
        else ": no interval, no standard deviation."
    )
    if thesis:
        how += " The thesis's numbers are means of 20 trials after epochs 1 and 10."
    columns = ["initialisation", *(f"{images}\nepoch {epoch}" for images, epoch in places)]
    return Table(columns, rows, f"{caption} {how}".strip())


def _measured(values: list[float], metric: str) -> str:
    mean, half = interval(values)
    places = DECIMALS[metric]
    if half is None:
        return f"{mean:.{places}f}"
    return f"{mean:.{places}f} ± {half:.{places}f}\nsd {np.std(values, ddof=1):.{places}f}"


def recorded_table(
    study: str, tier: str, thesis: Mapping[str, Pairs], caption: str = ""
) -> tuple[Table | str, dict[str, str]]:
    """Return the accuracies of a study from its committed record alone.

    Parameters
    ----------
    study : str
        A key of :data:`mgcore.lab.protocol.studies.STUDIES`.
    tier : {"smoke", "class", "paper"}
    thesis : mapping
        Such as :data:`mgcore.lab.protocol.printed_tables.TABLE_4_1`.
    caption : str

    Returns
    -------
    (table, means) : Table or str, dict of str
        The table, and :func:`mgcore.lab.pages.study_page.mean_accuracies` as text with one decimal.
        If the study is not recorded at the tier, a sentence and an empty dict.
    """
    shown = recorded(study, tier)
    if shown is None:
        return f"{study}: not recorded at the {tier} tier.", {}
    means = {name: f"{value:.1f}" for name, value in mean_accuracies(shown).items()}
    return results_table(shown.trials, thesis, caption=caption), means


def seconds_table(trials: Sequence[Trial], caption: str = "") -> Table:
    """Return the seconds of each training run, for training and for evaluation."""
    phases = [name for name in trials[0]["circumstances"]["seconds"] if name != "whole"]
    rows = []
    for phase in phases:
        spent = [trial["circumstances"]["seconds"][phase] for trial in trials]
        rows.append([phase, *(f"{np.mean([s[k] for s in spent]):.1f}" for k in _SPENT)])
    how = f"Seconds, mean of {trials_of(len(trials))}."
    return Table(["run", *_SPENT], rows, f"{caption} {how}".strip())


def work_table(studies: Mapping[str, Study], caption: str = "") -> Table:
    """Return the cost of each stage of each study: work, Hessian products, operations, time.

    Work is a number of gradients; the operations of a gradient are those of
    :func:`mgcore.thesis.network.step_flops`.  Minutes and hours are those of one core, the hours
    for the thesis's 20 trials.
    """
    rows = []
    for heading, study in studies.items():
        all_flop, all_minutes = 0.0, [0.0, 0.0]
        for run in (
            "coarse",
            *(r for condition in CONDITIONS for r in (f"{condition}_classifier", condition)),
        ):
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
    """Return the work of a run in epochs of SGD on its images, its operations, its products."""
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


def two_stage_table(
    trials: Sequence[Trial], thesis: Mapping[str, Stages] | None = None, caption: str = ""
) -> Table:
    """Return the six columns of Tables 4.3 and 4.4, our means above the thesis's numbers.

    "Initial" means after the first epoch of a stage, "after" means after its last epoch.
    """
    rows = []
    for condition in CONDITIONS:
        row = [condition]
        for stage, run in (("classifier", f"{condition}_classifier"), ("network", condition)):
            names = ("1.training", "1.validation", "last.validation")
            for column, name in enumerate(names):
                text = mean_with_interval([cell(t, f"{run}.{name}") for t in trials], 1)
                if thesis:
                    text += f"\nthesis {thesis[condition][stage][column]:.1f}"
                row.append(text)
        rows.append(row)
    heads = ("training\nepoch 1", "val.\nepoch 1", "val.\nlast")
    stages = ("classifier", "network")
    columns = ["initialisation", *(f"{stage},\n{head}" for stage in stages for head in heads)]
    how = f"Accuracy in %: {trials_of(len(trials))}, so there is no interval."
    if len(trials) > 1:
        how = f"Accuracy in %: mean of {len(trials)} trials ± half-width of its 95 % interval."
    return Table(columns, rows, f"{caption} {how}".strip())


def classifier_stage_table(studies: Studies, caption: str = "") -> Table:
    """Return the gap before, during and after the training of the classifier alone."""
    rows = []
    for heading, study in studies.items():
        for condition in CONDITIONS:
            run = f"{condition}_classifier"
            cells = [
                *(values(study, f"{run}.{epoch}.gap") for epoch in ("0", "1", "last")),
                *(
                    paired_differences(study, f"{run}.last.{metric}", f"{run}.0.{metric}")
                    for metric in ("gap", "validation")
                ),
            ]
            texts = (mean_with_interval(column, 1) for column in cells)
            rows.append([f"{heading}\n{condition}", *texts])
    return Table(
        ["study, start", "gap\nbefore", "gap\nepoch 1", "gap\nlast", "gap,\nlast − before",
         "validation,\nlast − before"],
        rows,
        f"{caption} Gap: training less validation accuracy, in points, through the stage that "
        f"trains the classifier alone. {_INTERVALS}".strip(),
    )  # fmt: skip


def final_accuracy_table(studies: Studies, heading: str) -> Table:
    """Return training and validation accuracy after the last epoch, a row for each study."""
    rows = []
    for name, study in studies.items():
        cells = [
            mean_with_interval(values(study, f"{condition}.last.{images}"), 1)
            for condition in CONDITIONS
            for images in ("training", "validation")
        ]
        rows.append([name, *cells])
    counts = ", ".join(f"{name}: {len(study.trials)}" for name, study in studies.items())
    return Table(
        [
            heading,
            *(f"{condition}\n{what}" for condition in CONDITIONS for what in ("tr.", "val.")),
        ],
        rows,
        "Accuracy in % after the last epoch, training (tr.) and validation (val.): mean over "
        f"trials ± half-width of the 95 % interval (trials: {counts}).",
    )


def calibration_table(rows: Sequence[Mapping[str, Any]], stage: int, caption: str = "") -> Table:
    """Return the candidates of one stage of the calibration, nearest to the thesis first.

    Parameters
    ----------
    rows : sequence of mapping
        From :func:`mgcore.lab.choices.calibration.summary`.
    stage : {1, 2, 3}
        Stage 1 has the pooled network alone; stage 3 shows single seeds too.
    caption : str
    """
    networks = ("pooled",) if stage == 1 else ("unpooled", "pooled")
    targets = [
        "/".join(f"{t:.1f}" for t in calibration.TARGETS[network == "pooled"])
        for network in networks
    ]
    cells = []
    for row in rows:
        choices = row["candidate"]
        scale = choices["penalty_scale"]
        cells.append([
            "1" if scale == 1 else f"1/{1 / scale:.0f}", f"{choices['momentum']:g}",
            choices["stencil_scale"], choices["normalisation"],
            *("/".join(f"{a:.1f}" for a in row[network]) for network in networks),
            f"{row['distance']:.1f}",
            *([", ".join(f"{d:.1f}" for d in row["single"])] if stage == 3 else []),
        ])  # fmt: skip
    columns = [
        "penalties ×", "momentum", "stencils", "pixels",
        *(f"{network}\nthesis {target}" for network, target in zip(networks, targets, strict=True)),
        "distance²", *["of single\nseeds"] * (stage == 3),
    ]  # fmt: skip
    return Table(columns, cells, caption)


def outer_iterations_table(studies: Studies, caption: str = "") -> Table:
    """Return the outer iterations of a trust-region method that trained the whole network.

    Number of iterations a trial; shares of accepted steps, of steps to the boundary and of
    negative curvature in %; Hessian products an iteration.
    """
    rows = []
    for heading, study in studies.items():
        for condition in CONDITIONS:
            total = {
                key: sum(row[key] for t in study.trials for row in t["metrics"][condition][1:])
                for key in ("steps", "accepted", "boundary", "negative", "products")
            }
            shares = (100 * total[k] / total["steps"] for k in ("accepted", "boundary", "negative"))
            rows.append(
                [f"{heading}\n{condition}", f"{total['steps'] / len(study.trials):.0f}",
                 *(f"{share:.0f}" for share in shares),
                 f"{total['products'] / total['steps']:.1f}"]
            )  # fmt: skip
    columns = [
        "study", "outer\niterations", "accepted\n%", "on the\nboundary %",
        "negative\ncurvature %", "products\neach",
    ]  # fmt: skip
    return Table(columns, rows, caption)


def refused_first_steps(study: Study, run: str) -> str:
    """Return in how many trials the first outer iteration was refused, as ``"3 of 20"``."""
    refused = sum(t["metrics"][run][1]["accepted"] == 0 for t in study.trials)
    return f"{refused} of {len(study.trials)}"


def comparison_table(study: Study, thesis: Mapping[str, Pairs] | None = None) -> Table:
    """Return accuracies after the first and last epoch: your run, the record, the thesis.

    Parameters
    ----------
    study : Study
        From :func:`mgcore.lab.pages.study_page.obtain`.  If it shows the committed record, the
        column of your run is empty.
    thesis : mapping, optional
        Such as :data:`mgcore.lab.protocol.printed_tables.TABLE_4_1`.

    Returns
    -------
    Table
        A row for each condition, set of images and epoch: means in %, with the
        half-width of their 95 % interval if there is more than one trial.  The caption holds
        the comparison.
    """
    record = committed(study.name, study.protocol.tier)
    recorded = record.trials() if record else []
    yours = [] if study.recorded else study.trials
    conditions = [condition for condition in CONDITIONS if condition in study.trials[0]["metrics"]]
    last = study.trials[0]["metrics"][conditions[0]][-1]["epoch"]
    rows = []
    for condition in conditions:
        for images in ("training", "validation"):
            for place, epoch in enumerate(dict.fromkeys((1, last))):
                printed = (thesis or {}).get(condition, {}).get(images)
                rows.append([
                    f"{condition}, {images}, epoch {epoch}",
                    _mean(yours, condition, epoch, images),
                    _mean(recorded, condition, epoch, images),
                    f"{printed[place]:.1f}" if printed else NONE,
                ])  # fmt: skip
    counts = f"your run: {trials_of(len(yours)) if yours else 'none'}, the record: "
    counts += trials_of(len(recorded)) if recorded else "none"
    return Table(
        ["accuracy in %", "your run", "the record", "the thesis"], rows,
        f"{study.name}, {study.protocol.tier} tier ({counts}). {agreement_with_record(study)}",
    )  # fmt: skip


def _mean(trials: Sequence[Trial], condition: str, epoch: int, images: str) -> str:
    """Return the mean of one cell, with its interval if there is one."""
    # A record of another size may not have this epoch.
    if not trials or all(row["epoch"] != epoch for row in trials[0]["metrics"][condition]):
        return NONE
    return mean_with_interval(at_epoch(trials, condition, epoch, f"{images}_accuracy"), 1)


_LANDSCAPE = {"radius": 2, "reach": 1, "curvature": 2, "rayleigh": 4, "loss": 2}  # and decimals


def _measure_rows(
    studies: Studies, networks: Sequence[str], kind: str, digits: Mapping[str, int]
) -> list[list[str]]:
    """Return a row for each network of each study: the means of some measures, by their digits."""
    return [
        [
            f"{heading}\n{CONDITION_NAMES.get(network, network)}",
            *(
                mean_with_interval(values(study, f"{kind}.{network}.{measure}"), places)
                for measure, places in digits.items()
            ),
        ]
        for heading, study in studies.items()
        for network in networks
    ]


def landscape_table(studies: Studies, caption: str = "") -> Table:
    """Return the distance at which the loss around each network doubles, and its curvature.

    Geometric means over directions and trials with 95 % intervals over trials.
    """
    rows = _measure_rows(studies, ("coarse", "transfer", "multigrid"), "landscape", _LANDSCAPE)
    return Table(
        ["network", "radius\n× filters", "radius\nabsolute", "curvature\n× filters",
         "curvature\nabsolute", "loss\nthere"],
        rows,
        f"{caption} Radius at which the loss doubles along random filter-normalised directions, "
        "and curvature of the loss along them, in multiples of the filters and in absolute units; "
        f"loss at the network itself, which is what doubles. {_INTERVALS}".strip(),
    )  # fmt: skip


def survival_table(studies: Studies, caption: str = "") -> Table:
    """Return the correlation of feature maps after the second convolution with the input."""
    rows = _measure_rows(
        studies,
        CONDITIONS,
        "survival",
        dict.fromkeys(("conv2.mean", "conv2.best", "conv2.silent"), 3),
    )
    return Table(
        ["network", "all channels", "best channel", "silent maps"], rows,
        f"{caption} Largest absolute correlation with the input over shifts, after the second "
        "convolution, mean over images: of all channels, and of the best; and the share of maps "
        f"that are constant. {_INTERVALS}".strip(),
    )  # fmt: skip


def preparation_table(studies: Studies, caption: str = "") -> Table:
    """Return validation accuracy on original and on smoothed images (P R x)."""
    rows = _measure_rows(
        studies, CONDITIONS, "preparation", dict.fromkeys(("original", "prolonged"), 1)
    )
    return Table(
        ["trained on", "validated on\noriginal images", "validated on\nsmoothed images"], rows,
        f"{caption} Validation accuracy in % after the last epoch. {_INTERVALS}".strip(),
    )  # fmt: skip


def provenance_table(studies: Sequence[Study]) -> Table:
    """Return the origin of the numbers of a page, a column for each study."""
    boxes = [provenance(study) for study in studies]
    return Table(
        ["", *(box["study"] for box in boxes)],
        [[key, *(box[key] for box in boxes)] for key in boxes[0] if key != "study"],
        "Provenance, written by the code that made the page.",
    )
