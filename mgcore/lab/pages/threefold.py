"""One table that puts a reader's run beside the record and the thesis, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mgcore.lab.pages.chapters import verdict
from mgcore.lab.pages.tables import DECIMALS, Table
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.protocol.printed_tables import Pairs
from mgcore.lab.records.schema import Trial
from mgcore.lab.records.study import Study, committed
from mgcore.lab.verdict.agreement import interval
from mgcore.lab.verdict.metrics import at_epoch, trials_of

NONE = "–"


def threefold_table(study: Study, thesis: Mapping[str, Pairs] | None = None) -> Table:
    """Return accuracies after the first and the last epoch: your run, the record, the thesis.

    Parameters
    ----------
    study : Study
        As :func:`mgcore.lab.pages.chapters.obtain` returns it; where it shows the committed record, the
        column of your run is empty.
    thesis : mapping, optional
        Such as :data:`mgcore.lab.protocol.printed_tables.TABLE_4_1`.

    Returns
    -------
    Table
        A row for each arm, set of images and epoch: means in %, with the half-width of their 95 %
        interval where there is more than one trial.  The caption repeats the verdict.
    """
    record = committed(study.name, study.protocol.tier)
    recorded = record.trials() if record else []
    yours = [] if study.recorded else study.trials
    arms = [arm for arm in CONDITIONS if arm in study.trials[0]["metrics"]]
    last = study.trials[0]["metrics"][arms[0]][-1]["epoch"]
    rows = []
    for arm in arms:
        for images in ("training", "validation"):
            for place, epoch in enumerate(dict.fromkeys((1, last))):
                printed = (thesis or {}).get(arm, {}).get(images)
                rows.append([
                    f"{arm}, {images}, epoch {epoch}",
                    _mean(yours, arm, epoch, images), _mean(recorded, arm, epoch, images),
                    f"{printed[place]:.1f}" if printed else NONE,
                ])  # fmt: skip
    counts = f"your run: {trials_of(len(yours)) if yours else 'none'}, the record: "
    counts += trials_of(len(recorded)) if recorded else "none"
    return Table(
        ["accuracy in %", "your run", "the record", "the thesis"], rows,
        f"{study.name}, {study.protocol.tier} tier ({counts}). {verdict(study)}",
    )  # fmt: skip


def _mean(trials: Sequence[Trial], arm: str, epoch: int, images: str) -> str:
    """Return the mean of one cell, with its interval if there is one."""
    # A record of another size may not have this epoch.
    if not trials or all(row["epoch"] != epoch for row in trials[0]["metrics"][arm]):
        return NONE
    mean, half = interval(at_epoch(trials, arm, epoch, f"{images}_accuracy"))
    places = DECIMALS["accuracy"]
    return f"{mean:.{places}f}" + ("" if half is None else f" ± {half:.{places}f}")
