"""The multiverse: its design is balanced, its universes are what their choices say."""

import itertools

import numpy as np
import pytest
import torch

from mgcore.lab.choices import multiverse
from mgcore.lab.choices.multiverse import (
    BETWEEN,
    SEEDS,
    WITHIN,
    coarse_choices,
    design,
    fine_choices,
    protocol,
    read_multiverse,
    run_design,
    run_multiverse,
)
from mgcore.lab.records.files import RecordError
from mgcore.thesis.objective import Objective
from mgcore.thesis.sgd import train_epoch

TINY = {
    "dataset": "strokes", "resolution": 12, "n_coarse": 64, "n_fine": 64, "n_validation": 32,
    "coarse_epochs": 1, "fine_epochs": 2, "subset": 8, "tier": "smoke", "dtype": "float64",
}  # fmt: skip


def test_the_design_is_balanced_and_clear_of_interactions_of_two():
    runs = np.array(design())
    assert runs.shape == (16, 7) and len(set(map(tuple, runs))) == 16
    assert (runs.T @ runs == 16 * np.eye(7)).all() and (runs.sum(axis=0) == 0).all()
    for a, b in itertools.combinations(range(7), 2):
        assert (np.abs(runs.T @ (runs[:, a] * runs[:, b])) < 16).all(), (a, b)


def test_there_are_enough_universes_and_all_differ():
    worlds = [
        protocol(between, within, 0) for between in coarse_choices() for within in fine_choices()
    ]
    assert len({world.key() for world in worlds}) == len(worlds) == 128 >= 48 and SEEDS == 2
    assert {world.tier for world in worlds} == {"class"} and {w.n_fine for w in worlds} == {1600}
    for name, pair in (BETWEEN | WITHIN).items():
        chosen = [b | w for b in coarse_choices() for w in fine_choices()]
        assert [sum(c[name] == level for c in chosen) for level in pair] == [64, 64]


def test_a_summed_loss_is_a_mean_with_another_rate_and_penalty():
    """Sum + R with rate α gives the steps of mean + R/32 with rate 32 α."""
    between = coarse_choices()[0] | {"loss": "sum", "momentum": 0.9}
    world = protocol(between, fine_choices()[0], 0)
    plain = protocol(between | {"loss": "mean"}, fine_choices()[0], 0)
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(64, 1, 8, 8, generator=draw, dtype=torch.float64)
    y = torch.randint(10, (64,), generator=draw)
    ends = []
    for world_, summed in ((world, False), (plain, True)):
        o = Objective(
            8, alpha_theta=world_.penalty_scale * world_.alpha_theta,
            alpha_w=world_.penalty_scale * world_.alpha_fine,
        )  # fmt: skip
        w = multiverse.fresh_weights(world.changed(resolution=8, dataset="strokes"), 0, "fine")
        v = {k: torch.zeros_like(p) for k, p in w.items()}
        if summed:  # written out: the loss of a minibatch is its sum
            mean = o.__class__.gradient

            def gradient(self, weights, images, labels, mean=mean):
                bare = mean(Objective(8), weights, images, labels)
                full = {k: 32 * g for k, g in bare.items()}
                with torch.no_grad():
                    self.add_penalty_gradient(full, weights)
                return full

            o = type("Summed", (Objective,), {"gradient": gradient})(
                8, alpha_theta=o.alpha_theta, alpha_w=o.alpha_w
            )
        train_epoch(
            o, w, v, x, y, torch.arange(64), rate=world_.learning_rate, momentum=0.9, nesterov=True
        )
        ends.append(w)
    for name, w in ends[0].items():
        torch.testing.assert_close(w, ends[1][name], rtol=1e-9, atol=1e-12)


def test_one_run_has_eight_universes_with_every_condition():
    result = run_design(1, 0, **TINY)
    assert [row["choices"] for row in result["universes"]] == [
        coarse_choices()[1] | within for within in fine_choices()
    ]
    for row in result["universes"]:
        for condition in ("new", "transfer", "multigrid"):
            assert len(row[condition]["training"]) == len(row[condition]["validation"]) == 2
    again = run_design(1, 0, **TINY)
    assert again["universes"] == result["universes"]
    # The classifier's factor does not enter the random initialisation.
    rows = {tuple(r["choices"][k] for k in WITHIN): r for r in result["universes"]}
    one, other = rows["bilinear", 0.25, "original"], rows["bilinear", 4.0, "original"]
    assert one["new"] == other["new"] and one["multigrid"] != other["multigrid"]


@pytest.mark.parametrize("grid", ["coarse", "fine"])
def test_a_universe_that_diverges_is_none_and_the_others_are_not(grid, monkeypatch):
    real = multiverse.run_phase

    def diverging(world, run, where, *rest, **options):
        if where == grid:
            raise FloatingPointError("training diverged: conv1.weight is no longer finite.")
        return real(world, run, where, *rest, **options)

    monkeypatch.setattr(multiverse, "run_phase", diverging)
    result = run_design(1, 0, **TINY)
    for row in result["universes"]:
        assert row["transfer"] is None and row["multigrid"] is None
        assert (row["new"] is None) == (grid == "fine")


def test_only_absent_files_are_computed_and_damage_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(multiverse, "SEEDS", 1)
    monkeypatch.setattr(multiverse, "design", lambda: [(-1,) * 7, (1,) * 7])
    monkeypatch.setattr(
        multiverse, "run_design", lambda run, seed: {"run": run, "seed": seed, "seconds": 1.0,
                                                     "universes": [{"choices": {}, "new": None}]}
    )  # fmt: skip
    run_multiverse(tmp_path, workers=1)
    rows = read_multiverse(tmp_path)
    assert [(row["run"], row["seed"]) for row in rows] == [(0, 0), (1, 0)]
    file = tmp_path / "run-00-seed-0.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(RecordError):
        read_multiverse(tmp_path)
