"""The comparison of a reader's run with the record, held against simulation and hand arithmetic."""

import copy

import numpy as np
import pytest
from scipy.stats import t as student

from mgcore.lab.records.record import Record
from mgcore.lab.verdict.agreement import (
    LEAST_RECORDED,
    cells,
    compare,
    compare_means,
    judge,
    values,
)


def draw(rng, count, first=0):
    """Return trials whose every cell is normal with mean 90 and deviation 2."""
    trials = []
    for number in range(first, first + count):
        rows = rng.normal(90, 2, size=(3, 2, 2))
        metrics = {
            arm: [
                {"epoch": e, "training_accuracy": float(a), "validation_accuracy": float(b)}
                for e, (a, b) in enumerate(np.vstack([[[0.0, 0.0]], rows[i]]))
            ]
            for i, arm in enumerate(("new", "transfer", "multigrid"))
        }
        about = {"seconds": {"whole": 1.0}}
        trials.append({"trial": number, "metrics": metrics, "circumstances": about})
    return trials


def write(folder, protocol, trials):
    record = Record.create(folder, protocol)
    for trial in trials:
        record.add(trial)
    return record


def test_a_table_has_twelve_cells_and_none_of_the_coarse_network():
    trials = draw(np.random.default_rng(0), 1)
    trials[0]["metrics"]["coarse"] = []
    assert len(cells(trials)) == 12
    assert {arm for arm, _, _ in cells(trials)} == {"new", "transfer", "multigrid"}


@pytest.mark.parametrize("n, m", [(1, 3), (3, 20), (20, 20)])
def test_an_honest_run_raises_a_false_alarm_in_one_case_of_twenty(n, m):
    rng = np.random.default_rng(1)
    runs = 600
    alarms = sum(compare_means(draw(rng, n), draw(rng, m)).agrees is False for _ in range(runs))
    # Bonferroni is at most 5 %; three standard errors of 600 runs are 2.7 points.
    assert alarms / runs < 0.05 + 0.027
    assert alarms > 0


def test_the_margin_is_the_prediction_interval_of_the_record():
    rng = np.random.default_rng(2)
    theirs, ours = draw(rng, 8), draw(rng, 1)
    recorded = np.array([t["metrics"]["new"][1]["training_accuracy"] for t in theirs])
    quantile = student.ppf(1 - 0.05 / 12 / 2, 7)
    margin = quantile * recorded.std(ddof=1) * np.sqrt(1 + 1 / 8)
    for arm in ours[0]["metrics"]:  # every other cell at the record's mean
        for place in (1, -1):
            for key in ("training_accuracy", "validation_accuracy"):
                mean = np.mean([t["metrics"][arm][place][key] for t in theirs])
                ours[0]["metrics"][arm][place][key] = float(mean)
    for factor, agrees in ((0.99, True), (1.01, False)):
        value = float(recorded.mean() + factor * margin)
        ours[0]["metrics"]["new"][1]["training_accuracy"] = value
        assert compare_means(ours, theirs).agrees is agrees


@pytest.mark.parametrize("m", [2, LEAST_RECORDED - 1, LEAST_RECORDED])
def test_few_recorded_trials_contradict_but_do_not_confirm(m):
    rng = np.random.default_rng(6)
    theirs, ours = draw(rng, m), draw(rng, 2)
    outcome = compare_means(ours, theirs)
    assert outcome.agrees is (True if m >= LEAST_RECORDED else None)
    _, margins = judge(*(np.array([values(t, c) for c in cells(theirs)]).T for t in (ours, theirs)))
    assert f"from ±{min(margins):.1f} to ±{max(margins):.1f} points" in str(outcome)
    assert ("Too few trials to tell" in str(outcome)) is (m < LEAST_RECORDED)
    for trial in ours:
        trial["metrics"]["new"][-1]["validation_accuracy"] -= 2000
    assert compare_means(ours, theirs).agrees is False


def test_the_same_seeds_are_compared_trial_by_trial(tmp_path, tiny):
    trials = draw(np.random.default_rng(3), 3)
    theirs = write(tmp_path / "record", tiny(), trials)
    assert "identical" in str(compare(write(tmp_path / "same", tiny(), trials[:2]), theirs))
    near, far = copy.deepcopy(trials), copy.deepcopy(trials)
    near[1]["metrics"]["transfer"][-1]["validation_accuracy"] += 0.4
    far[1]["metrics"]["transfer"][-1]["validation_accuracy"] += 1.4
    assert compare(write(tmp_path / "near", tiny(), near), theirs).agrees is True
    outcome = compare(write(tmp_path / "far", tiny(), far), theirs)
    assert outcome.agrees is False
    assert "1.40" in str(outcome) and "transfer, validation accuracy" in str(outcome)


def test_other_choices_are_not_compared_and_other_seeds_are(tmp_path, tiny):
    rng = np.random.default_rng(4)
    theirs = write(tmp_path / "record", tiny(), draw(rng, 5))
    other = write(tmp_path / "other", tiny(momentum=0.1), draw(rng, 2))
    outcome = compare(other, theirs)
    assert outcome.agrees is None and "momentum" in str(outcome)
    seeded = write(tmp_path / "seeded", tiny(seed=5), draw(rng, 2))
    assert compare(seeded, theirs).method == "means"
    empty = Record.create(tmp_path / "empty", tiny())
    assert compare(empty, theirs).agrees is None
