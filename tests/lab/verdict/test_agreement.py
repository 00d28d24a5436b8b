"""The comparison of a reader's run with the record, held against simulation and hand arithmetic."""

import copy
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from mgcore.lab.records.files import RecordError, read_json, write_json
from mgcore.lab.records.record import Record
from mgcore.lab.verdict import agreement
from mgcore.lab.verdict.agreement import (
    FAMILY,
    LEAST_RECORDED,
    ROUNDING_FILE,
    SAME_TRIAL,
    RoundingSpread,
    compare,
    compare_means,
    detections,
    false_alarms,
    judge,
    rounding_spread,
    same_seeds,
    table_cells,
)
from mgcore.lab.verdict.metrics import cell

RECORDS = Path(__file__).resolve().parents[3] / "book" / "records"


def values(trials):
    """Return the table's cells, shape (trials, cells)."""
    return np.array([[cell(trial, name) for name in table_cells(trials)] for trial in trials])


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
    assert len(table_cells(trials)) == 12
    assert {name.split(".")[0] for name in table_cells(trials)} == {"new", "transfer", "multigrid"}


@pytest.mark.parametrize("n, m", [(1, 3), (3, 20), (20, 20)])
def test_an_honest_run_raises_a_false_alarm_in_one_case_of_twenty(n, m):
    rng, runs = np.random.default_rng(1), 600
    alarms = 0
    for _ in range(runs):  # cells that are independent, normal with mean 90 and deviation 2
        differences, margins = judge(rng.normal(90, 2, (n, 12)), rng.normal(90, 2, (m, 12)))
        alarms += bool((np.abs(differences) > margins).any())
    # Bonferroni is at most 5 %; three standard errors of 600 runs are 2.7 points.
    assert 0 < alarms / runs < 0.05 + 0.027


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
    _, margins = judge(values(ours), values(theirs))
    assert f"from ±{min(margins):.1f} to ±{max(margins):.1f} points" in str(outcome)
    assert ("Too few trials to tell" in str(outcome)) is (m < LEAST_RECORDED)
    for trial in ours:
        trial["metrics"]["new"][-1]["validation_accuracy"] -= 2000
    assert compare_means(ours, theirs).agrees is False


def test_one_recorded_trial_can_neither_contradict_nor_confirm():
    rng = np.random.default_rng(6)
    outcome = compare_means(draw(rng, 2), draw(rng, 1))
    assert outcome.agrees is None and outcome.method == "means"
    assert str(outcome).startswith("Too few trials to tell: the record has one trial")


def test_the_same_seeds_are_compared_trial_by_trial(tmp_path, tiny):
    trials = draw(np.random.default_rng(3), 3)
    theirs = write(tmp_path / "record", tiny(), trials)
    assert "every metric identical" in str(
        compare(write(tmp_path / "a", tiny(), trials[:2]), theirs)
    )
    last_digits = copy.deepcopy(trials)
    last_digits[0]["metrics"]["new"][1]["objective"] = 0.1
    outcome = compare(write(tmp_path / "b", tiny(), last_digits), theirs)
    assert "every accuracy identical" in str(outcome)
    near, far = copy.deepcopy(trials), copy.deepcopy(trials)
    near[1]["metrics"]["transfer"][-1]["validation_accuracy"] += 0.4
    far[1]["metrics"]["transfer"][-1]["validation_accuracy"] += 1.4
    assert compare(write(tmp_path / "near", tiny(), near), theirs).agrees is True
    outcome = compare(write(tmp_path / "far", tiny(), far), theirs)  # three trials cannot confirm
    assert outcome.agrees is None and str(outcome).startswith("Too few trials to tell: ")
    assert "1.40 points (transfer, validation accuracy after the last epoch" in str(outcome)


def moved(trials, points, which=slice(None)):
    """Return trials whose last Galerkin validation accuracy is higher by some points."""
    trials = copy.deepcopy(trials)
    for trial in trials[which]:
        trial["metrics"]["multigrid"][-1]["validation_accuracy"] += points
    return trials


@pytest.mark.parametrize(
    ("points", "which", "agrees", "method", "start"),
    [
        (0.9, slice(None), True, "same seeds", "Agrees: 10 trials with the record's seeds differ"),
        # The tolerance of this cell is calibrated, and larger than that of the others.
        (5.0, slice(None), True, "same seeds", "Agrees: 10 trials with the record's seeds differ"),
        (9.0, slice(1), True, "means", "Agrees in the means, though a trial with the record's"),
        (9.0, slice(None), False, "same seeds", "Does not agree: a trial with the record's seed"),
    ],
)
def test_beyond_the_tolerance_of_a_cell_the_means_decide(points, which, agrees, method, start):
    theirs = draw(np.random.default_rng(7), 10)
    spread = RoundingSpread({"multigrid.last.validation": 1.0}, 10)
    assert 5.0 < spread.tolerance("multigrid.last.validation", 120) < 9.0
    outcome = same_seeds(moved(theirs, points, which), theirs, spread)
    assert (outcome.agrees, outcome.method) == (agrees, method)
    assert str(outcome).startswith(start) and str(outcome).endswith(".")
    assert "\n" not in str(outcome) and "after the last epoch" in str(outcome)


def test_a_run_of_another_study_with_the_same_seeds_does_not_agree():
    theirs = draw(np.random.default_rng(8), 10)
    other = draw(np.random.default_rng(9), 10)
    for trial in other:
        for rows in trial["metrics"].values():
            rows[-1]["validation_accuracy"] -= 20
    assert same_seeds(other, theirs, RoundingSpread({}, 1)).agrees is False


def test_a_study_without_calibration_has_one_tolerance_and_the_sentence_says_so(tmp_path, tiny):
    theirs = draw(np.random.default_rng(7), 10)
    unknown = "1.0 are allowed, since the effect of rounding was not measured for this study"
    for points, agrees, start in (
        (
            0.9,
            True,
            "Agrees: 10 trials with the record's seeds differ from it by at most 0.90 points",
        ),
        (9.0, False, "Does not agree: a trial with the record's seed differs by 9.00 points"),
    ):
        outcome = same_seeds(moved(theirs, points), theirs)
        assert outcome.agrees is agrees
        assert str(outcome).startswith(start) and unknown in str(outcome)
    own = write(tmp_path / "own", tiny(), moved(theirs, 0.9)[:1])
    assert unknown in str(compare(own, write(tmp_path / "record", tiny(), theirs)))
    measured = same_seeds(moved(theirs, 0.9), theirs, RoundingSpread({}, 10))
    assert "by rounding only, at most 0.90" in str(measured) and unknown not in str(measured)


def test_an_accuracy_that_is_no_number_is_not_within_any_tolerance():
    theirs = draw(np.random.default_rng(10), 10)
    outcome = same_seeds(moved(theirs, float("nan"), slice(1)), theirs)
    assert outcome.agrees is False and "nan points (multigrid" in str(outcome)


def test_rounding_raises_a_false_alarm_in_at_most_one_case_of_twenty():
    """The tolerances alone, with deviations that were estimated from a few code paths."""
    rng, cases, alarms = np.random.default_rng(11), 2000, 0
    for _ in range(cases):
        paths = rng.normal(0, 2, size=(4, 3, 12))  # code paths, trials, cells; deviations of 2
        estimated = np.sqrt(paths.var(axis=0, ddof=1).mean(axis=0))
        spread = RoundingSpread({str(k): s for k, s in enumerate(estimated)}, 9)
        tolerances = [spread.tolerance(str(k), 24) for k in range(12)]
        differences = rng.normal(0, 2, size=(2, 12)) - rng.normal(0, 2, size=(2, 12))
        alarms += bool((np.abs(differences) > tolerances).any())
    assert 0.005 < alarms / cases < FAMILY + 3 * np.sqrt(FAMILY / cases)


def test_the_false_alarms_of_the_tolerances_are_simulated(monkeypatch):
    spread = RoundingSpread({str(k): 2.0 for k in range(12)}, 9)
    rate, half = spread.false_alarms(2)
    assert 0.005 < rate and rate - half < FAMILY
    assert RoundingSpread({"a": 0.0, "b": 0.1}, 9).false_alarms(2, draws=50)[0] == 0.0  # one point
    monkeypatch.setattr(agreement, "FAMILY", 24 * FAMILY)  # as if each cell stood alone
    assert spread.false_alarms(2, draws=200)[0] > 0.3


def test_the_spread_is_pooled_over_trials(tmp_path, tiny):
    cells = {"a": [[1.0, 10.0], [3.0, 10.0]], "b": [[5.0, 5.0], [5.0, 5.0]]}
    paths = {f"path {k}": {name: rows[k] for name, rows in cells.items()} for k in (0, 1)}
    file = tmp_path / "rounding.json"
    write_json(file, {"protocols": {tiny().key(): paths}})
    spread = rounding_spread(tiny(), file)
    assert (spread.degrees, spread.paths) == (2, 2)
    assert spread.deviations == pytest.approx({"a": 1.0, "b": 0.0})
    assert spread.tolerance("b", 24) == SAME_TRIAL
    assert rounding_spread(tiny(momentum=0.1), file) is None
    assert rounding_spread(tiny(), tmp_path / "none.json") is None
    other = tmp_path / "damaged.json"
    other.write_text("{")
    with pytest.raises(RecordError, match="damaged.json is truncated or altered"):
        rounding_spread(tiny(), other)


@pytest.mark.parametrize("study", ["pooling-original-class"])
def test_the_measured_code_paths_agree_with_the_record_and_with_one_another(study):
    """The evidence behind the tolerances: every run of a measured path is said to agree."""
    record = Record(RECORDS / study)
    paths = read_json(RECORDS / ROUNDING_FILE)["protocols"][record.protocol.key()]
    spread = rounding_spread(record.protocol, RECORDS / ROUNDING_FILE)
    assert len(paths) >= 3 and set(spread.deviations) == set(table_cells(record.trials()))
    for accuracies in paths.values():
        trials = copy.deepcopy(record.trials(len(next(iter(accuracies.values())))))
        for name, of_trials in accuracies.items():
            network, epoch, part = name.split(".")
            for trial, accuracy in zip(trials, of_trials, strict=True):
                row = trial["metrics"][network][-1 if epoch == "last" else 1]
                row[f"{part}_accuracy"] = accuracy
        assert same_seeds(trials, record.trials(), spread).agrees is True
    recorded = paths["the record"]
    for name, of_trials in recorded.items():
        assert of_trials == [cell(trial, name) for trial in record.trials(len(of_trials))]


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


def drawn(count, seed=0, cells=12):
    """Trials with correlated cells: three conditions, two epochs, two metrics."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(count, 1))
    accuracies = 90 + 0.7 * shared + 0.7 * rng.normal(size=(count, cells))
    trials = []
    for number, row in enumerate(accuracies):
        metrics = {}
        for condition, (a, b, c, d) in zip(
            ("new", "transfer", "multigrid"), row.reshape(3, 4), strict=True
        ):
            first = {"training_accuracy": a, "validation_accuracy": b}
            metrics[condition] = [{}, first, {"training_accuracy": c, "validation_accuracy": d}]
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
    higher = copy.deepcopy(ours)
    for trial in higher:
        trial["metrics"]["new"][-1]["validation_accuracy"] += 40
    for trials in (ours, higher):
        differences, margins = judge(values(trials), values(theirs))
        expected = bool((np.abs(differences) <= margins).all())
        assert compare_means(trials, theirs).agrees is expected
    assert compare_means(higher, theirs).agrees is False
