"""Trials advanced together: the same record as one after another, and a kill costs an epoch."""

import numpy as np
import pytest
import torch

from mgcore.lab import Record, run_study
from mgcore.lab.records.checkpoints import load
from mgcore.lab.run import study as run
from mgcore.lab.trial import measures
from mgcore.lab.trial import vectorized as lockstep
from mgcore.lab.trial.trial import run_trial
from mgcore.lab.trial.vectorized import advance, in_groups, pool_bytes, room, trial_bytes
from mgcore.thesis.ensemble import EnsembleTrainer


@pytest.fixture(autouse=True)
def measured_less(monkeypatch):
    monkeypatch.setattr(measures, "DIRECTIONS", 1)
    monkeypatch.setattr(measures, "LOSS_IMAGES", {"smoke": 2})


def study(protocol, trials, folder, **options):
    return run_study(
        protocol, trials, "cpu", record=folder / "record", cache=folder / "cache", workers=1,
        progress=False, **options,
    )  # fmt: skip


def same(one, other, relative=1e-10):
    """Two values of a trial: numbers agree to rounding, all else exactly."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key], relative)
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b, relative)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=relative)
    else:
        assert one == other


@pytest.mark.parametrize(
    ("lowering", "changes"),
    [
        ("unfold", {"pooling": True, "momentum": 0.9}),
        ("grouped", {"momentum": 0.0, "fine_training": "prolonged"}),
        ("shifted", {"padding": "circular", "pooling": True}),
        ("unfold", {"retraining": "joint", "classifier_epochs": 1, "fine_epochs": 1}),
    ],
)
def test_a_study_in_lockstep_has_the_record_of_one_after_another(tiny, tmp_path, lowering, changes):
    """Coarse networks, starts, arms, measurements, measures and arrays; in float64."""
    protocol = tiny(**changes)
    one = study(protocol, 3, tmp_path / "one")
    both = study(protocol, 3, tmp_path / "both", vectorized=True, lowering=lowering)
    for a, b in zip(one.trials(3), both.trials(3), strict=True):
        same(b["metrics"], a["metrics"])
        same(b["measures"], a["measures"], 0.02)  # a radius is found to one in a hundred
        assert set(a["circumstances"]["seconds"]) == set(b["circumstances"]["seconds"])
    arrays, expected = both.arrays(), one.arrays()
    assert arrays.keys() == expected.keys()
    assert all(np.allclose(arrays[k], expected[k], rtol=1e-6, atol=1e-9) for k in expected)
    assert not list((tmp_path / "both" / "cache").glob("fine-*.npz"))


def test_trials_are_trained_together_and_each_is_then_found_trained(tiny, tmp_path, monkeypatch):
    together, alone = [], []
    epoch, sgd = EnsembleTrainer.epoch, run.run_trial

    def many(self, *given):
        together.append((self.objective.resolution, len(self.weights["conv1.weight"])))
        epoch(self, *given)

    monkeypatch.setattr(EnsembleTrainer, "epoch", many)
    monkeypatch.setattr("mgcore.lab.trial.phases.train_epoch", lambda *a, **k: alone.append(1))
    run._same_code(Record.create(tmp_path / "before", tiny()))  # whose epochs do not count
    alone.clear()
    study(tiny(), 3, tmp_path, vectorized=True)
    assert together == [(4, 3)] * 3 + [(8, 9)] * 3 and not alone
    assert sgd is run_trial


def test_a_kill_costs_an_epoch_and_those_that_lag_go_first(tiny, tmp_path, monkeypatch):
    """Stopped between two checkpoints of one epoch: some networks are an epoch behind."""
    protocol, saved, real = tiny(fine_epochs=4), [], lockstep.save

    def save(path, now):
        saved.append(now.epoch)
        if len(saved) == 3 * 2 + 6 + 2:  # in the second epoch on the fine grid
            raise KeyboardInterrupt
        real(path, now)

    def go(cache):
        ticks = {0: [].append, 1: [].append}
        advance(protocol, ticks, device="cpu", cache=cache)
        return {f.name: load(f, "cpu") for f in cache.glob("*.npz")}

    whole = go(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(lockstep, "save", save)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "killed")
    counted, epoch = [], EnsembleTrainer.epoch
    monkeypatch.setattr(
        EnsembleTrainer, "epoch",
        lambda self, *a: (counted.append(len(self.weights["conv1.weight"])), epoch(self, *a)),
    )  # fmt: skip
    again = go(tmp_path / "killed")
    assert counted == [5, 6, 6]  # one network had its second epoch; then all go together
    assert again.keys() == whole.keys() and len(whole) == 2 + 6
    for name, now in whole.items():
        assert again[name].epoch == now.epoch
        same(again[name].history, now.history)
        for key, w in now.weights.items():
            torch.testing.assert_close(again[name].weights[key], w, rtol=1e-10, atol=1e-12)


def test_checkpoints_are_written_no_more_often_than_they_are_due(tiny, tmp_path, monkeypatch):
    """On a GPU an epoch takes less time than its checkpoints; the last epoch is always written."""
    saved = []
    monkeypatch.setattr(lockstep, "save", lambda path, state: saved.append(state.epoch))
    monkeypatch.setitem(lockstep.CHECKPOINT_SECONDS, "cpu", 1e6)
    states = advance(tiny(fine_epochs=3), {0: [].append}, device="cpu", cache=tmp_path)
    assert saved == [3, 3, 3, 3]  # the coarse network, and the fine network of each condition
    assert set(states[0]) == {"coarse", "new", "transfer", "multigrid"}


def test_a_trained_coarse_network_serves_another_study(tiny, monkeypatch):
    first = advance(tiny(), {0: [].append}, device="cpu", cache=None)
    coarse = {0: first[0]["coarse"]}
    trained, epoch = [], EnsembleTrainer.epoch
    monkeypatch.setattr(
        EnsembleTrainer, "epoch",
        lambda self, *a: (trained.append(self.objective.resolution), epoch(self, *a)),
    )  # fmt: skip
    again = advance(tiny(), {0: [].append}, device="cpu", cache=None, coarse=coarse)
    assert set(trained) == {8}
    assert again[0]["new"].history == first[0]["new"].history


def test_a_gpu_takes_as_many_trials_as_it_has_room_for(tiny, monkeypatch):
    one, pool = trial_bytes(tiny()), pool_bytes(tiny())
    assert room(tiny(), "cpu") > 1000
    for free, count in ((0, 1), (one, 1), (5 * one, 4), (100 * one, 80)):
        monkeypatch.setattr(
            torch.cuda, "mem_get_info", lambda free=free: ((free + pool / 0.8), free)
        )
        assert room(tiny(), "cuda") in (count, count - 1, 1)
    assert trial_bytes(tiny(dtype="float32")) == one // 2


@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
])  # fmt: skip
def test_out_of_memory_gives_a_sentence_and_smaller_groups(error, capsys):
    """Nothing is lost: every item is worked on once, in order."""
    tried = []

    def work(part):
        tried.append(list(part))
        if len(part) > 2:
            raise error
        return sum(part)

    done = [(list(part), result) for part, result in in_groups(range(10), 5, work)]
    groups = [[0, 1], [2, 3], [4], [5, 6], [7, 8], [9]]  # five were drawn at first
    assert done == [(part, sum(part)) for part in groups]
    assert tried[:2] == [[0, 1, 2, 3, 4], [0, 1]]
    assert capsys.readouterr().err == (
        "mgcore: the GPU's memory does not hold 5 trials at once; 2 are trained together.\n"
    )


def test_a_trial_that_no_memory_holds_is_one_sentence_and_other_errors_are_raised():
    def full(part):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    def broken(part):
        raise RuntimeError("shapes do not match")

    with pytest.raises(ValueError, match="does not hold one trial of this study"):
        list(in_groups(range(3), 3, full))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(in_groups(range(3), 3, broken))


def test_what_was_computed_otherwise_is_not_mixed(tiny, tmp_path):
    """Lockstep, its lowering and TF32 are part of what a checkpoint is called."""
    names, lowerings = [], ("grouped", "unfold", "shifted")
    for options in ({}, *({"vectorized": True, "lowering": name} for name in lowerings)):
        place = tmp_path / str(len(names))
        study(tiny(fine_epochs=1), 1, place, **options)
        names.append({f.name for f in (place / "cache").glob("coarse-*.npz")})
    assert len(set.union(*names)) == 4


def test_tf32_is_off_unless_asked_for(tiny, tmp_path):
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    try:
        for asked in (True, False):
            study(tiny(fine_epochs=1, coarse_epochs=1), 1, tmp_path / str(asked), tf32=asked)
            assert [flag.allow_tf32 for flag in flags] == [asked, asked]
    finally:
        run.use_tf32(False)
