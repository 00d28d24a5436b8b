"""What studies cost, on trials made by hand."""

import pytest
from handmade import body, study

from mgcore.lab.pages.costs import work_table
from mgcore.thesis.network import step_flops


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
