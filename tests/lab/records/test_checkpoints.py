"""A checkpoint is read back whole or not at all, whatever happened to its file."""

import json
import os
import sys
import tempfile

import numpy as np
import pytest
import torch

from mgcore.lab.records.checkpoints import PhaseState, default_cache, load, save


@pytest.fixture
def now():
    weights = {"conv1.weight": torch.arange(9.0), "classifier.bias": torch.ones(2).double()}
    velocity = {name: 2 * w for name, w in weights.items()}
    history = [{"epoch": 0, "images": "all", "training_loss": 0.1}]
    return PhaseState(3, weights, velocity, history, {"radius": 0.5}, {"training": 1.5}, 7.0)


def same(one, other):
    return (
        (one.epoch, one.history, one.method_state, one.seconds)
        == (other.epoch, other.history, other.method_state, other.seconds)
        and all(torch.equal(one.weights[k], w) for k, w in other.weights.items())
        and all(torch.equal(one.velocity[k], w) for k, w in other.velocity.items())
        and one.weights.keys() == other.weights.keys()
    )


def test_what_is_read_is_what_was_written(now, tmp_path):
    save(tmp_path / "below" / "x.npz", now)
    again = load(tmp_path / "below" / "x.npz", "cpu")
    assert same(again, now) and again.seconds_before == 0.0  # set by the phase that loads it
    assert load(tmp_path / "none.npz", "cpu") is None and load(None, "cpu") is None
    save(None, now)


def test_a_bit_flipped_anywhere_is_noticed_or_changes_nothing(now, tmp_path):
    file = tmp_path / "x.npz"
    save(file, now)
    whole, noticed = file.read_bytes(), 0
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << (place % 8)
        file.write_bytes(content)
        found = load(file, "cpu")
        assert found is None or same(found, now), place
        noticed += found is None
    assert noticed > len(whole) / 2


def test_a_file_cut_anywhere_is_noticed(now, tmp_path):
    file = tmp_path / "x.npz"
    save(file, now)
    whole = file.read_bytes()
    for place in range(0, len(whole), 7):
        file.write_bytes(whole[:place])
        assert load(file, "cpu") is None, place


def test_arrays_exchanged_under_their_names_are_noticed(now, tmp_path):
    """Whole members of a zip, each with its checksum, but not those that were written."""
    file = tmp_path / "x.npz"
    save(file, now)
    with np.load(file, allow_pickle=False) as kept:
        arrays = dict(kept)
    bias = arrays["weights/classifier.bias"]
    np.savez(file, **arrays | {"weights/classifier.bias": bias + 1})
    assert load(file, "cpu") is None
    older = {k: v for k, v in arrays.items() if k != "sha256"}
    np.savez(file, **older)  # as written before there was a SHA-256
    assert same(load(file, "cpu"), now)
    np.savez(file, **older | {"about": np.array(json.dumps({"epoch": 3}))})
    assert load(file, "cpu") is None


@pytest.mark.skipif(sys.platform != "linux", reason="the folders are Linux's")
def test_the_cache_is_where_checkpoints_have_always_been(tmp_path, monkeypatch):
    monkeypatch.delenv("MGCORE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "mgcore" / "trials"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert default_cache() == tmp_path / "x" / "mgcore" / "trials"
    monkeypatch.setenv("MGCORE_CACHE", str(tmp_path / "named"))
    assert default_cache() == tmp_path / "named"


def test_without_a_home_folder_the_cache_is_temporary(tmp_path, monkeypatch):
    for name in ("MGCORE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user id without an account
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    folder = default_cache()
    assert folder.is_absolute() and folder.is_relative_to(tmp_path)
