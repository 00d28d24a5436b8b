"""The first calibration: its distances, its stages, and that validation plays no part."""

import json
from pathlib import Path

import pytest

from mgcore.lab.choices import calibration, screening
from mgcore.lab.choices.calibration import (
    FINALISTS,
    GRID,
    SEEDS,
    SHORTLIST,
    TARGETS,
    calibrate,
    candidates,
    carried,
    distance,
    finalists,
    kept,
    read_runs,
    shortlist,
    summary,
)
from mgcore.lab.protocol import Protocol
from mgcore.lab.protocol.presets import CHOSEN
from mgcore.lab.protocol.printed_tables import TABLE_4_1
from mgcore.lab.protocol.studies import study_protocol
from mgcore.lab.records.checkpoints import PhaseState
from mgcore.lab.trial.trial import run_trial

RECORDS = Path(__file__).parents[3] / "book" / "records"


def made_up(candidate, pooling, trial, off=0.0):
    """A run that misses both targets by `off` points."""
    return {"candidate": candidate, "pooling": pooling, "trial": trial, "seconds": 1.0,
            "training_accuracy": [target + off for target in TARGETS[pooling]]}  # fmt: skip


def offs():
    """How far each candidate is off: a different distance for each, the best in the middle."""
    many = candidates()
    return list(zip(many, [1.0 + (5 * k % len(many)) / 10 for k in range(len(many))], strict=True))


def test_targets_are_the_training_accuracies_of_the_random_condition():
    """Tables 4.1 and 4.2, training accuracy after epochs 1 and 10."""
    assert TARGETS == {False: (88.4, 96.4), True: (91.1, 97.0)}


def test_every_candidate_is_a_protocol_and_occurs_once():
    many = candidates()
    size = 1
    for values in GRID.values():
        size *= len(values)
    assert len(many) == size == len({json.dumps(c) for c in many})
    assert len({Protocol.printed(**c).key() for c in many}) == size
    assert Protocol.printed(**many[0]) == Protocol.printed()  # the printed one takes part


def test_distance_is_between_means_over_seeds():
    one, other = candidates()[:2]
    runs = [made_up(one, True, 0, 1.0), made_up(one, True, 1, -2.0), made_up(one, False, 0, 3.0),
            made_up(other, True, 0, 50.0)]  # fmt: skip
    assert distance(runs, one, (True,)) == pytest.approx(2 * 0.25)
    assert distance(runs, one, (False,)) == pytest.approx(2 * 9)
    assert distance(runs, one, (False, True)) == pytest.approx(18.5)


def test_each_stage_keeps_the_nearest_and_the_last_chooses():
    runs = [made_up(c, True, 0, off) for c, off in offs()]
    nearest = [c for c, _ in sorted(offs(), key=lambda pair: pair[1])]
    assert shortlist(runs) == nearest[:SHORTLIST]
    assert [row["candidate"] for row in summary(runs, 1)] == nearest
    # On the unpooled network the order of the shortlist is the opposite one, and that decides.
    runs += [made_up(c, False, 0, 20.0 - k) for k, c in enumerate(shortlist(runs))]
    assert finalists(runs) == nearest[:SHORTLIST][::-1][:FINALISTS]
    assert [row["candidate"] for row in summary(runs, 2)] == nearest[:SHORTLIST][::-1]
    # With all seeds the last finalist is the nearest.
    for place, candidate in enumerate(finalists(runs)):
        runs += [made_up(candidate, True, t, 0.1) for t in range(1, SEEDS)]
        runs += [made_up(candidate, False, t, -3.0 * place) for t in range(1, SEEDS)]
    rows = summary(runs, 3)
    assert rows[0]["candidate"] == finalists(runs)[-1]
    assert len(rows) == FINALISTS
    assert [row["distance"] for row in rows] == sorted(row["distance"] for row in rows)


def test_calibration_runs_only_missing_jobs(tmp_path, monkeypatch):
    path, ran = tmp_path / "runs.json", []
    off = {json.dumps(c): o for c, o in offs()}

    def run(candidate, pooling, trial):
        ran.append((json.dumps(candidate), pooling, trial))
        return made_up(candidate, pooling, trial, off[json.dumps(candidate)])

    monkeypatch.setattr(calibration, "_run", run)
    runs = calibrate(path, workers=1)
    expected = len(candidates()) + SHORTLIST + FINALISTS * 2 * (SEEDS - 1)
    assert len(ran) == len(set(ran)) == len(runs) == expected
    assert read_runs(path) == runs
    # The record holds its first runs in one list; of two runs the files are lost.
    path.write_text(json.dumps(runs[2:]))
    for file in tmp_path.glob("run-*.json"):
        file.unlink()
    ran.clear()
    again = calibrate(path, workers=1)
    assert len(ran) == 2 and len(again) == len(runs)
    assert summary(again, 3) == summary(runs, 3)


def test_a_run_is_the_random_condition_of_a_study(monkeypatch, tiny):
    """The split, the initial weights and the order of images are the same, hence the accuracies."""
    monkeypatch.setattr(calibration.Protocol, "printed", lambda **changes: tiny(**changes))
    validation = []
    run_phase = screening.run_phase

    def recording(protocol, trial, grid, start, images, **options):
        validation.append(images.validation)
        return run_phase(protocol, trial, grid, start, images, **options)

    monkeypatch.setattr(screening, "run_phase", recording)
    run = calibration._run({"momentum": 0.5}, True, 2)
    study = run_trial(tiny(momentum=0.5, pooling=True), 2, conditions=("new",))
    history = study["metrics"]["new"]
    assert run["training_accuracy"] == [history[e]["training_accuracy"] for e in (1, -1)]
    assert len(validation[0]) == 1

    def diverge(*_, **__) -> PhaseState:
        raise FloatingPointError

    monkeypatch.setattr(screening, "run_phase", diverge)
    assert calibration._run({"momentum": 0.5}, True, 2)["training_accuracy"] == [10.0, 10.0]


FINALIST_STUDIES = ("strong-original", "baseline-original", "medium-original")


def test_the_finalists_are_the_studies_that_the_fourth_stage_compares():
    runs = read_runs(RECORDS / "calibration" / "runs.json")
    for study, candidate in zip(FINALIST_STUDIES, finalists_by_all_seeds(runs), strict=True):
        protocol = study_protocol(study).to_json()
        assert {name: protocol[name] for name in candidate} == candidate


def finalists_by_all_seeds(runs):
    return [row["candidate"] for row in summary(runs, 3)]


def test_the_fourth_stage_is_the_distance_of_the_transferred_conditions():
    def trial(off):
        rows = {
            arm: [{}] + [{"training_accuracy": value + off} for value in table["training"]]
            for arm, table in TABLE_4_1.items()
        }
        return {"trial": 0, "metrics": rows}

    assert carried([trial(0.0)])["distance"] == pytest.approx(0.0)
    assert carried([trial(1.0), trial(3.0)])["distance"] == pytest.approx(4 * 2.0**2)
    assert carried([trial(1.0)])["multigrid"] == pytest.approx([98.5, 100.9])


def test_a_finalist_is_ruled_out_at_twice_the_distance_of_the_nearest():
    assert kept({"far": 20.2, "near": 10.0, "on the line": 20.0}) == ["near", "on the line"]


def test_what_is_chosen_is_the_nearest_that_the_records_do_not_rule_out():
    """By training accuracies alone, over as many trials as there are."""
    found = {}
    for study in FINALIST_STUDIES:  # nearest first, by the third stage
        files = sorted((RECORDS / f"{study}-paper").glob("trial-*.json"))
        trials = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        found[study] = carried(trials)["distance"]
    nearest = study_protocol(kept(found)[0]).to_json()
    assert {name: nearest[name] for name in CHOSEN} == CHOSEN
