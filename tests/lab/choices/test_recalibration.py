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


def test_twelve_cells_are_the_training_accuracies_of_both_networks(tmp_path):
    candidate = candidates()[0]
    for pooling, table, off in ((False, TABLE_4_1, 1.0), (True, TABLE_4_2, 3.0)):
        assert recalibration.twelve_cells(tmp_path, candidate) is None
        network = "pooled" if pooling else "unpooled"
        folder = tmp_path / "full" / f"{label(candidate)}-{network}"
        folder.mkdir(parents=True)
        metrics = {
            condition: [{}] + [
                {"training_accuracy": v + off, "validation_accuracy": 0.0}
                for v in parts["training"]
            ]
            for condition, parts in table.items()
        }  # fmt: skip
        write_json(folder / "trial-000.json", {"trial": {"trial": 0, "metrics": metrics}})
    assert recalibration.twelve_cells(tmp_path, candidate) == pytest.approx(5.0**0.5)


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
