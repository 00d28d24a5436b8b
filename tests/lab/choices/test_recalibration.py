"""The second calibration: its stages keep the nearest candidates by the cells that they name."""

import pytest

from mgcore.lab.choices import recalibration
from mgcore.lab.choices.recalibration import candidates, first_stage, label, screen, second_stage
from mgcore.lab.protocol.printed_tables import TABLE_4_1, TABLE_4_2
from mgcore.lab.records.files import write_json
from mgcore.lab.trial.trial import run_trial


def test_candidates_have_names_and_protocols_of_their_own():
    many = candidates()
    assert len(many) == 72 == len({label(c) for c in many})
    assert len({recalibration.protocol(c, True).key() for c in many}) == 72


def write_screen(folder, stage, candidate, off):
    conditions = ("new",) if stage == "random" else ("transfer", "multigrid")
    cells = {c: [v + off for v in TABLE_4_2[c]["training"]] for c in conditions}
    (folder / stage).mkdir(exist_ok=True)
    content = {"candidate": candidate, "cells": cells}
    write_json(folder / stage / f"{label(candidate)}.json", content)


def test_the_screens_rank_by_two_and_by_six_cells(tmp_path):
    a, b = candidates()[:2]
    for candidate, random, refined in ((a, 1.0, 4.0), (b, -2.0, 1.0)):
        write_screen(tmp_path, "random", candidate, random)
        write_screen(tmp_path, "refined", candidate, refined)
    assert first_stage(tmp_path) == [(pytest.approx(1.0), a), (pytest.approx(2.0), b)]
    expected = [(2.0**0.5, b), (11.0**0.5, a)]
    assert second_stage(tmp_path) == [(pytest.approx(far), c) for far, c in expected]


def full_trial(candidate, pooling, trial, off):
    """Return a trial with the printed training accuracies and as many points more."""
    table = TABLE_4_2 if pooling else TABLE_4_1
    metrics = {
        condition: [{}] + [
            {"training_accuracy": v + off, "validation_accuracy": 0.0} for v in parts["training"]
        ]
        for condition, parts in table.items()
    }  # fmt: skip
    return {"candidate": candidate, "trial": {"trial": trial, "metrics": metrics}}


def write_trial(folder, candidate, pooling, off):
    file = recalibration._full_folder(folder, candidate, pooling) / "trial-000.json"
    file.parent.mkdir(parents=True)
    write_json(file, full_trial(candidate, pooling, 0, off))


def test_twelve_cells_are_the_training_accuracies_of_both_networks(tmp_path):
    candidate = candidates()[0]
    for pooling, off in ((False, 1.0), (True, 3.0)):
        assert recalibration.twelve_cells(tmp_path, candidate) is None
        write_trial(tmp_path, candidate, pooling, off)
    assert recalibration.twelve_cells(tmp_path, candidate) == pytest.approx(5.0**0.5)


def test_a_candidate_that_falls_behind_gets_no_more_trials(tmp_path, monkeypatch):
    """Of three candidates one is far behind after the first trial, and one after the second."""
    far = dict(zip(map(label, candidates()[:3]), (1.0, 3.5, 2.5), strict=True))
    for candidate in candidates()[:3]:
        for stage in ("random", "refined"):
            write_screen(tmp_path, stage, candidate, 0.0)

    def run_missing(function, jobs, workers):
        for file, arguments in jobs:
            assert function is recalibration.full_size or file.exists()
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                write_json(file, full_trial(*arguments, far[label(arguments[0])]))
                yield arguments

    monkeypatch.setattr(recalibration, "run_missing", run_missing)
    monkeypatch.setattr(recalibration, "candidates", lambda: candidates()[:3])
    list(recalibration.recalibrate(tmp_path))
    for candidate, trials in zip(candidates()[:3], (5, 1, 2), strict=True):
        for pooling in (False, True):
            assert len(recalibration.trials_of(tmp_path, candidate, pooling)) == trials
    assert [c for _, c in recalibration.third_stage(tmp_path)][0] == candidates()[0]


def test_a_screen_trains_as_a_study_does(monkeypatch, tiny):
    monkeypatch.setattr(recalibration, "protocol", lambda c, pooling, **_: tiny(pooling=pooling))
    study = run_trial(tiny(pooling=True), 0)["metrics"]
    cells = screen(candidates()[0], ("transfer", "multigrid"))["cells"]
    for condition, accuracies in cells.items():
        assert accuracies == [study[condition][e]["training_accuracy"] for e in (1, -1)]


def test_conditions_of_a_coarse_network_that_diverges_count_as_guessing(monkeypatch, tiny):
    def diverge(*_, **__):
        raise FloatingPointError

    monkeypatch.setattr(recalibration, "protocol", lambda c, pooling, **_: tiny(pooling=pooling))
    monkeypatch.setattr(recalibration, "training_accuracies", diverge)
    cells = screen(candidates()[0], ("transfer", "multigrid"))["cells"]
    assert cells == {"transfer": [10.0, 10.0], "multigrid": [10.0, 10.0]}
