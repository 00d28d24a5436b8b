"""How often the comparison errs and what it notices: the simulation, and that it judges alike."""

import json

import numpy as np
import pytest

from mgcore.lab.verdict import agreement
from mgcore.lab.verdict.agreement import FAMILY, cells, compare_means, judge, values
from mgcore.lab.verdict.false_alarms import detections, false_alarms


def drawn(count, seed=0, cells=12):
    """Trials with correlated cells: three arms, two epochs, two metrics."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(count, 1))
    accuracies = 90 + 0.7 * shared + 0.7 * rng.normal(size=(count, cells))
    trials = []
    for number, row in enumerate(accuracies):
        metrics = {}
        for arm, (a, b, c, d) in zip(
            ("new", "transfer", "multigrid"), row.reshape(3, 4), strict=True
        ):
            first = {"training_accuracy": a, "validation_accuracy": b}
            metrics[arm] = [{}, first, {"training_accuracy": c, "validation_accuracy": d}]
        trials.append({"trial": number, "metrics": metrics})
    return trials


@pytest.mark.parametrize(("n", "m"), [(1, 5), (3, 10), (20, 20)])
def test_honest_runs_raise_a_false_alarm_in_at_most_one_case_of_twenty(n, m):
    rate, half = false_alarms(drawn(30), n, m)
    assert 0.005 < rate and rate - half <= FAMILY, (rate, half)


def test_another_run_is_found_out_and_the_more_trials_the_sooner():
    """One cell three deviations away: a record of two trials never sees it."""
    recorded, own = drawn(30), drawn(30, 1)
    for trial in own:
        trial["metrics"]["multigrid"][-1]["validation_accuracy"] += 3
    found = [detections(own, recorded, n, m)[0] for n, m in ((3, 2), (3, 5), (3, 20), (20, 20))]
    assert found == sorted(found) and found[0] < 0.1 and found[-1] > 0.95


def test_cell_by_cell_it_would_be_far_more(monkeypatch):
    """What the division among the cells is for."""
    monkeypatch.setattr(agreement, "FAMILY", 12 * FAMILY)  # as if each cell stood alone
    assert false_alarms(drawn(30), 3, 10)[0] > 0.2


def test_the_simulation_judges_as_the_comparison_does():
    ours, theirs = drawn(3, 1), drawn(9, 2)
    moved = [json.loads(json.dumps(trial)) for trial in ours]
    for trial in moved:
        trial["metrics"]["new"][-1]["validation_accuracy"] += 40
    table = cells(theirs)
    arrays = [np.array([values(t, c) for c in table]).T for t in (ours, moved, theirs)]
    for trials, array in ((ours, arrays[0]), (moved, arrays[1])):
        differences, margins = judge(array, arrays[2])
        expected = bool((np.abs(differences) <= margins).all())
        assert compare_means(trials, theirs).agrees is expected
    assert compare_means(moved, theirs).agrees is False
