"""Your run, the record and the thesis in one table."""

from statistics import fmean

import pytest

from mgcore.lab.pages.chapters import obtain
from mgcore.lab.pages.threefold import threefold_table
from mgcore.lab.protocol import printed_tables as thesis
from mgcore.lab.records.study import Study


@pytest.fixture(scope="module")
def recorded() -> Study:
    return obtain("baseline-original", "paper")


def mean(study: Study, arm: str, field: str) -> str:
    return f"{fmean(trial['metrics'][arm][-1][field] for trial in study.trials):.1f}"


def test_a_run_stands_beside_the_record_and_the_thesis(recorded) -> None:
    mine = Study(recorded.name, recorded.record, recorded.trials[:1], recorded=False)
    table = threefold_table(mine, thesis.TABLE_4_1)
    last = recorded.trials[0]["metrics"]["new"][-1]["epoch"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert len(rows) == 3 * 2 * 2
    yours, record, printed = rows[f"multigrid, validation, epoch {last}"]
    assert yours == mean(mine, "multigrid", "validation_accuracy")
    assert record.startswith(mean(recorded, "multigrid", "validation_accuracy") + " ± ")
    assert printed == f"{thesis.TABLE_4_1['multigrid']['validation'][1]:.1f}"
    assert "your run: one trial" in table.caption and "baseline-original: " in table.caption


def test_the_record_alone_leaves_your_column_empty(recorded) -> None:
    table = threefold_table(recorded)
    assert {row[1] for row in table.rows} == {"–"} and {row[3] for row in table.rows} == {"–"}
    assert "your run: none" in table.caption
