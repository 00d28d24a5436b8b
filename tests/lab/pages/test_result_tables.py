"""Tables of results, on trials made by hand and on the committed record."""

import math
from statistics import fmean
from types import SimpleNamespace

import pytest
from handmade import body, study, trial

from mgcore.lab.choices.calibration import TARGETS
from mgcore.lab.pages import result_tables
from mgcore.lab.pages.result_tables import results_table, seconds_table, work_table
from mgcore.lab.pages.study_page import obtain
from mgcore.lab.protocol import CONDITIONS, printed_tables
from mgcore.lab.records.study import Study
from mgcore.thesis.network import step_flops


def make_trials(values, last=10):
    """Return trials whose every accuracy at the last epoch is one of `values`."""

    def rows(value):
        keys = [f"{i}_{m}" for i in ("training", "validation") for m in ("accuracy", "loss")]
        return [{"epoch": e} | dict.fromkeys(keys, value * e / last) for e in (0, 1, 2, last)]

    return [
        {
            "metrics": {"coarse": rows(value)} | {arm: rows(value) for arm in CONDITIONS},
            "circumstances": {"seconds": {
                "coarse": {"training": value, "evaluation": 1.0}, "whole": 9.0,
            }},
        }
        for value in values
    ]  # fmt: skip


def test_results_table_cells():
    # Mean 90, standard deviation 2, half-width 4.3027 · 2 / √3.
    text = repr(results_table(make_trials([88, 90, 92]), printed_tables.TABLE_4_1))
    half = 4.302652729911275 * 2 / math.sqrt(3)
    assert f"90.0 ± {half:.1f}" in text and "sd 2.0" in text
    assert "thesis 63.6" in text and "mean of 3 trials" in text
    table = results_table(make_trials([88, 90, 92]), printed_tables.TABLE_4_1)
    cells = {row[0]: row[1:] for row in table.rows}
    assert list(cells) == list(CONDITIONS)
    # Training at epochs 0, 1, 10, then validation: the thesis has nothing at epoch 0.
    assert ["thesis" in cell for cell in cells["new"]] == [False, True, True] * 2
    last_lines = [cell.split("\n")[-1] for cell in cells["transfer"]]
    assert [last_lines[i] for i in (1, 2, 4, 5)] == [
        "thesis 97.9", "thesis 99.4", "thesis 93.5", "thesis 94.6",
    ]  # fmt: skip


def test_results_table_of_one_trial_claims_no_interval():
    text = repr(results_table(make_trials([90])))
    assert "±" not in text and "sd" not in text
    assert "one trial: no interval" in text


def test_results_table_of_another_metric():
    assert "1.235" in repr(results_table(make_trials([1.23456]), metric="loss"))


def test_results_table_refuses():
    with pytest.raises(ValueError, match=r"must be one of 'accuracy'.*got 'speed'"):
        results_table(make_trials([1]), metric="speed")
    with pytest.raises(ValueError, match="trials is empty"):
        results_table([])


def test_seconds_table():
    text = repr(seconds_table(make_trials([10.0, 20.0])))
    assert "15.0" in text and "whole" not in text


def test_work_is_counted_in_epochs_of_sgd():
    cells = body(work_table({"x": study()}))
    # 300 and 200 gradients of 23.3 million operations each; 2 minutes of training and 5 seconds
    # of evaluation a trial, 20 of them.
    assert cells["x\nnew, classifier"] == ["3.0", "4", "0.01", "2.0", "0.1", "0.69"]
    assert cells["x\nnew"] == ["2.0", "4", "0.00", "2.0", "0.1", "0.69"]  # SGD counts epochs
    large = study()
    large.protocol.n_fine = 10_000
    assert body(work_table({"x": large}))["x\nnew"][2] == "0.47"


def test_coarse_training_counts_its_own_images_at_half_the_width():
    large = study()
    large.protocol.n_coarse = 40_000
    cells = body(work_table({"x": large}))["x\ncoarse"]
    assert cells[0] == "–" and float(cells[2]) == pytest.approx(
        40_000 * step_flops(14, True) / 1e12, abs=0.005
    )  # one epoch


def test_a_trial_costs_what_its_stages_cost_together():
    large = study()
    large.protocol.n_coarse = large.protocol.n_fine = 40_000
    found = body(work_table({"x": large, "y": large}))
    assert len(found) == 16  # seven stages and their sum, twice
    whole = found.pop("y\nall of a trial")
    stages = [cells for name, cells in found.items() if name.startswith("y\n")]
    assert whole[:2] == ["", ""]
    for place, rounding in ((2, 0.04), (3, 0.4), (4, 0.4), (5, 0.04)):
        total = sum(float(cells[place]) for cells in stages)
        assert float(whole[place]) == pytest.approx(total, abs=rounding) and total > 0.5


def test_runs_that_a_study_has_not_are_left_out():
    plain = study()
    for one in plain.trials:
        for run in ("coarse", "new_classifier", "transfer_classifier", "multigrid_classifier"):
            del one["metrics"][run]
    assert list(body(work_table({"x": plain}))) == [
        "x\nnew", "x\ntransfer", "x\nmultigrid", "x\nall of a trial",
    ]  # fmt: skip


def test_the_two_stage_table_has_the_six_columns_of_the_thesis():
    table = result_tables.two_stage_table(study(offs=(1.0,)).trials, printed_tables.TABLE_4_3)
    cells = body(table)["multigrid"]
    ours = [text.split("\n")[0] for text in cells]
    assert ours == ["41.0", "30.0", "35.0", "81.0", "70.0", "75.0"]
    printed = [text.split("\n")[1] for text in cells]
    assert printed[2] == "thesis 38.3" and printed[5] == "thesis 62.4"


def test_the_stage_table_follows_the_gap_from_before_the_stage_to_its_end():
    table = result_tables.classifier_stage_table({"x": study(offs=(1.0, 3.0))}, "So.")
    assert table.caption.startswith("So. Gap: ")
    cells = [text.split(" ± ") for text in body(table)["x\nmultigrid"]]
    # Training 5, 40 + off, 50; validation 5, 30, 35.
    assert [mean for mean, _ in cells] == ["0.0", "12.0", "15.0", "15.0", "30.0"]
    assert [half for _, half in cells] == ["0.0", "12.7", "0.0", "0.0", "0.0"]  # 12.706 √2 / √2
    assert list(body(table)) == ["x\nnew", "x\ntransfer", "x\nmultigrid"]


@pytest.fixture(scope="module")
def recorded() -> Study:
    return obtain("baseline-original", "paper")


def mean(study: Study, arm: str, field: str) -> str:
    return f"{fmean(trial['metrics'][arm][-1][field] for trial in study.trials):.1f}"


def test_a_run_stands_beside_the_record_and_the_thesis(recorded) -> None:
    mine = Study(recorded.name, recorded.record, recorded.trials[:1], recorded=False)
    table = result_tables.comparison_table(mine, printed_tables.TABLE_4_1)
    last = recorded.trials[0]["metrics"]["new"][-1]["epoch"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert len(rows) == 3 * 2 * 2
    yours, record, printed = rows[f"multigrid, validation, epoch {last}"]
    assert yours == mean(mine, "multigrid", "validation_accuracy")
    assert record.startswith(mean(recorded, "multigrid", "validation_accuracy") + " ± ")
    assert printed == f"{printed_tables.TABLE_4_1['multigrid']['validation'][1]:.1f}"
    assert "your run: one trial" in table.caption and "baseline-original: " in table.caption


def test_the_record_alone_leaves_your_column_empty(recorded) -> None:
    table = result_tables.comparison_table(recorded)
    assert {row[1] for row in table.rows} == {"–"} and {row[3] for row in table.rows} == {"–"}
    assert "your run: none" in table.caption


def test_measures_are_geometric_means_over_directions_and_means_over_trials():
    cells = body(result_tables.landscape_table({"x": study()}))["x\nGalerkin"]
    assert cells == ["1.00 ± 0.00", "10.0 ± 0.0", "2.00 ± 0.00", "0.0200 ± 0.0000", "0.25 ± 0.00"]
    assert body(result_tables.survival_table({"x": study()}))["x\nrandom"][0] == "0.500 ± 0.000"
    alone = result_tables.preparation_table({"x": study(offs=(1.0,))})
    assert body(alone)["x\ncopied"] == ["61.0", "97.0"]


def test_a_study_shown_for_comparison_comes_from_its_record_or_not_at_all(monkeypatch):
    record = SimpleNamespace(trials=lambda: [trial(0), trial(1, off=2.0)])
    recorded = {"paper": record}
    monkeypatch.setattr("mgcore.lab.records.study.committed", lambda name, tier: recorded.get(tier))
    table, means = result_tables.recorded_table(
        "printed-pooling", "paper", printed_tables.TABLE_4_2, "As printed."
    )
    assert means["multigrid-last-training"] == "91.0" and means["new-last-gap"] == "16.0"
    assert table.caption.startswith("As printed.") and "2 trials" in table.caption
    assert result_tables.recorded_table("printed-pooling", "class", printed_tables.TABLE_4_2) == (
        "printed-pooling: not recorded at the class tier.", {},
    )  # fmt: skip


def test_final_accuracies_have_an_interval_and_the_number_of_trials():
    table = result_tables.final_accuracy_table({"x": study(), "y": study(offs=(1.0,))}, "study")
    assert body(table)["x"][:2] == ["91.0 ± 12.7", "75.0 ± 0.0"]
    assert body(table)["y"] == ["91.0", "75.0"] * 3
    assert "(trials: x: 2, y: 1)" in table.caption


def test_calibration_has_the_networks_and_seeds_of_its_stage():
    row = {
        "candidate": {
            "penalty_scale": 1 / 16, "momentum": 0.9, "stencil_scale": "flat",
            "normalisation": "unit",
        },
        "pooled": [90.0, 95.0], "unpooled": [80.0, 85.0], "distance": 2.5, "single": [1.0, 4.0],
    }  # fmt: skip
    first, third = (result_tables.calibration_table([row], stage) for stage in (1, 3))
    choices = ["0.9", "flat", "unit"]
    assert body(first) == {"1/16": [*choices, "90.0/95.0", "2.5"]}
    assert body(third) == {"1/16": [*choices, "80.0/85.0", "90.0/95.0", "2.5", "1.0, 4.0"]}
    assert first.columns[4] == "pooled\nthesis {:.1f}/{:.1f}".format(*TARGETS[True])


def test_outer_iterations_are_shares_of_the_steps_of_all_trials():
    one = study()
    for number, run in enumerate(one.trials):
        for row in run["metrics"]["new"][1:]:
            row |= {"steps": 5, "accepted": 4 + number, "boundary": 1, "negative": 0}
        for name in ("transfer", "multigrid"):
            run["metrics"][name] = run["metrics"]["new"]
    cells = body(result_tables.outer_iterations_table({"x": one}))
    assert cells["x\nmultigrid"] == ["10", "90", "20", "0", "0.4"]


def test_a_refused_first_step_is_counted_once_a_trial():
    one = study()
    for number, run in enumerate(one.trials):
        run["metrics"]["new_classifier"][1]["accepted"] = number
    assert result_tables.refused_first_steps(one, "new_classifier") == "1 of 2"
