"""The accuracies that the thesis prints in Tables 4.1 to 4.4, for comparison with ours.

Each is in % and a mean over twenty trials, of which the thesis gives no spread.  The keys are the
thesis's names of the conditions.  :func:`printed` finds the number that corresponds to a metric.
"""

from __future__ import annotations

from collections.abc import Mapping

Pairs = dict[str, tuple[float, float]]

# Table 4.1, "Baseline Performance of Coarse-to-Fine Training" (no pooling): for each condition and
# each set of images, after the first and after the tenth epoch of retraining.
TABLE_4_1: dict[str, Pairs] = {
    "new": {"training": (88.4, 96.4), "validation": (85.0, 91.9)},
    "transfer": {"training": (97.9, 99.4), "validation": (93.5, 94.6)},
    "multigrid": {"training": (97.5, 99.9), "validation": (62.9, 63.6)},
}

# Table 4.2, "The Effect of Pooling on Multigrid Performance": the same columns, with pooling.
TABLE_4_2: dict[str, Pairs] = {
    "new": {"training": (91.1, 97.0), "validation": (89.0, 93.2)},
    "transfer": {"training": (96.7, 98.3), "validation": (91.5, 92.8)},
    "multigrid": {"training": (96.8, 99.8), "validation": (84.1, 88.0)},
}

# Tables 4.3 and 4.4 give two stages for each condition (the classifier alone, then the whole
# network), and three numbers for each stage: training and validation "Initial", validation "After".
STAGES = ("classifier", "network")
COLUMNS = ("training initial", "validation initial", "validation after")
Stages = dict[str, tuple[float, float, float]]

# Table 4.3, "Training the classifier using CG-Steihaug": five epochs of CG-Steihaug on the
# classifier, then ten epochs of SGD on all weights.
TABLE_4_3: dict[str, Stages] = {
    "new": {"classifier": (32.5, 34.1, 75.3), "network": (91.1, 89.0, 92.2)},
    "transfer": {"classifier": (94.4, 82.1, 92.9), "network": (99.1, 94.0, 93.8)},
    "multigrid": {"classifier": (85.2, 34.1, 38.3), "network": (97.6, 60.3, 62.4)},
}

# Table 4.4, "Training the Classifier and Network with CG-Steihaug": CG-Steihaug in both stages.
TABLE_4_4: dict[str, Stages] = {
    "new": {"classifier": (51.8, 50.3, 76.6), "network": (91.9, 77.1, 79.5)},
    "transfer": {"classifier": (92.8, 81.5, 91.4), "network": (99.7, 91.7, 92.4)},
    "multigrid": {"classifier": (85.2, 32.6, 35.9), "network": (97.2, 42.4, 50.8)},
}

# The table that a study reproduces, by the first word of its name after "printed-", if any.
_REPRODUCED: dict[str, Mapping[str, Mapping[str, tuple[float, ...]]]] = {
    "baseline": TABLE_4_1, "strong": TABLE_4_1, "medium": TABLE_4_1,
    "pooling": TABLE_4_2, "classifier": TABLE_4_3, "joint": TABLE_4_4,
}  # fmt: skip


def printed(study: str, name: str) -> float | None:
    """Return the number that the thesis prints for a metric, in the table that a study reproduces.

    Parameters
    ----------
    study : str
        A key of :data:`mgcore.lab.protocol.studies.STUDIES`.
    name : str
        An accuracy, as for :func:`mgcore.lab.verdict.metrics.cell`, such as
        ``"multigrid.last.validation"``.

    Returns
    -------
    float or None
        Accuracy in %, or a gap in percentage points; None if the thesis prints no such number.
        Tables 4.3 and 4.4 give one training accuracy for each stage, after its first epoch.
    """
    table = _REPRODUCED.get(study.removeprefix("printed-").partition("-")[0])
    run, epoch, metric = name.split(".") if name.count(".") == 2 else ("", "", "")
    condition, _, classifier = run.partition("_")
    if table is None or condition not in table or epoch == "0":
        return None
    if metric == "gap":
        training = printed(study, f"{run}.{epoch}.training")
        validation = printed(study, f"{run}.{epoch}.validation")
        return None if training is None or validation is None else training - validation
    row = table[condition]
    if metric in row:
        return None if classifier else row[metric][epoch == "last"]
    stage = row.get("classifier" if classifier else "network")
    column = {"1.training": 0, "1.validation": 1, "last.validation": 2}.get(f"{epoch}.{metric}")
    return None if stage is None or column is None else stage[column]
