"""Maps along retraining are those of the recorded networks, or there are none."""

import json
import shutil

import numpy as np
import pytest
import torch

from mgcore.lab.cli import main
from mgcore.lab.pages import propagating
from mgcore.lab.pages.propagating import CHANNELS, LAYERS, pack, propagate, snapshots, unpack
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.records.files import RecordError, checksum, read_json
from mgcore.lab.records.record import Record
from mgcore.lab.run.workers import one_thread
from mgcore.lab.trial.figure_arrays import collect
from mgcore.lab.trial.trial import grid_images, run_trial
from mgcore.thesis.network import feature_maps, forward


def write(folder, protocol) -> tuple[Record, dict]:
    """Record trial 0 as a study does; return the record, and what the trial kept."""
    record, kept = Record.create(folder, protocol), {}
    with one_thread():
        result = run_trial(protocol, 0, keep=kept)
    circumstances = {"seconds": result["seconds"]}
    record.add({"trial": 0, "metrics": result["metrics"], "circumstances": circumstances})
    record.write_arrays(collect(protocol, kept))
    return record, kept


@pytest.fixture(scope="module")
def recorded(tiny, tmp_path_factory):
    return write(tmp_path_factory.mktemp("record") / "tiny", tiny())


@pytest.fixture(scope="module")
def content(recorded, tmp_path_factory):
    return propagate(recorded[0], tmp_path_factory.mktemp("cache"))


def test_weights_begin_at_the_start_and_end_where_the_trial_does(recorded, tmp_path):
    record, kept = recorded
    result, weights = snapshots(record, tmp_path / "cache")
    assert result["metrics"] == record.trial(0)["metrics"]
    images = kept["fine_images"]
    for arm in CONDITIONS:
        ends = (kept["starts"][arm], kept["phases"][arm].weights)
        for found, wanted in zip((weights[arm][0], weights[arm][-1]), ends, strict=True):
            assert all(torch.equal(found[name], wanted[name].double()) for name in wanted)
        # In between: each is the network that was measured after that epoch.
        for network, row in zip(weights[arm], result["metrics"][arm], strict=True):
            logits = forward(network, images.validation, False)
            if row["images"] == "all":
                right = (logits.argmax(1) == images.validation_labels).double().mean()
                assert 100 * float(right) == pytest.approx(row["validation_accuracy"])


def test_maps_are_those_of_the_record_at_the_last_epoch(recorded, content):
    record, _ = recorded
    arrays = record.arrays()
    levels, largest = unpack(content["maps"])
    side = record.protocol.resolution
    epochs = record.protocol.fine_epochs + 1
    assert levels.shape == (len(CONDITIONS), epochs, 2, len(LAYERS), CHANNELS, side, side)
    maps = levels / 255 * largest[..., None, None]
    for a, arm in enumerate(CONDITIONS):
        for k, layer in enumerate(LAYERS):
            wanted = arrays[f"maps/{arm}/{layer}"][:, :CHANNELS].astype(float)
            close = 0.51 / 255 * wanted.max(axis=(2, 3), keepdims=True) + 2e-3
            assert np.all(np.abs(maps[a, -1, :, k] - wanted) <= close)
    assert content["channels"] == {n: arrays[f"channels/{n}"][:CHANNELS].tolist() for n in LAYERS}
    images, most = unpack(content["images"])
    ink = arrays["digits/images"] - arrays["digits/images"].min(axis=(1, 2), keepdims=True)
    assert np.allclose(images / 255 * most[:, None, None], ink, atol=0.01)


def test_at_epoch_0_maps_are_those_of_the_starts(recorded, content):
    record, kept = recorded
    arrays = record.arrays()
    place = [kept["chosen"][2].tolist().index(i) for i in arrays["digits/indices"].tolist()]
    x = grid_images(record.protocol, kept["digits"], kept["chosen"], "fine").validation[place]
    levels, largest = unpack(content["maps"])
    for a, arm in enumerate(CONDITIONS):
        start = {name: w.double() for name, w in kept["starts"][arm].items()}
        for k, maps in enumerate(feature_maps(start, x, False)):
            wanted = maps[:, content["channels"][LAYERS[k]]].numpy()
            found = levels[a, 0, :, k] / 255 * largest[a, 0, :, k][..., None, None]
            assert np.allclose(found, wanted, rtol=0, atol=0.003 * wanted.max())
        likely = forward(start, x, False).softmax(1)
        for digit in range(2):
            answer, sure = content["answers"][a][0][digit]
            assert answer == int(likely[digit].argmax())
            assert sure == pytest.approx(float(likely[digit].max()), abs=1e-4)
    changed = np.array(content["changed"])  # arm, epoch, digit, layer
    assert np.all(changed[:, 0] == 0) and np.all(changed[:, 1:] > 0)
    ends = [
        feature_maps(w, x, False)
        for w in (kept["starts"]["transfer"], kept["phases"]["transfer"].weights)
    ]
    for k in range(len(LAYERS)):
        before, after = (maps[k][1].double() for maps in ends)
        share = float((after - before).norm() / before.norm())
        assert changed[CONDITIONS.index("transfer"), -1, 1, k] == pytest.approx(share, abs=1e-4)


def test_another_run_than_the_recorded_one_is_refused(recorded, tmp_path):
    record, _ = recorded
    shutil.copytree(record.folder, tmp_path / "r")
    file = tmp_path / "r" / "trial-000.json"
    trial = read_json(file)
    row = trial["metrics"]["multigrid"][-1]
    row["validation_accuracy"] += 20 if row["validation_accuracy"] < 50 else -20
    file.write_text(
        json.dumps({**trial, "sha256": checksum(trial)}, indent=1, ensure_ascii=False) + "\n"
    )
    with pytest.raises(RecordError, match="this run is not trial 0 of .*20.00 points"):
        propagate(Record(tmp_path / "r"), tmp_path / "cache")


def test_a_cache_that_skips_epochs_and_pooling_are_refused(recorded, tiny, tmp_path):
    record, _ = recorded
    snapshots(record, tmp_path / "cache")
    with pytest.raises(RecordError, match="held a fine network of this trial"):
        snapshots(record, tmp_path / "cache")
    pooled = Record.create(tmp_path / "pooled", tiny(pooling=True))
    with pytest.raises(ValueError, match="pooling=True; accepted"):
        propagate(pooled, tmp_path / "cache")


def test_packed_maps_come_back_within_half_a_level():
    maps = np.random.default_rng(0).random((2, 3, 4, 4)) * np.array([1, 10, 0])[:, None, None]
    levels, largest = unpack(pack(maps))
    close = 0.501 / 255 * maps.max(axis=(2, 3), keepdims=True)
    assert np.all(np.abs(levels / 255 * largest[..., None, None] - maps) <= close)
    assert largest[:, 2].tolist() == [0, 0] and not levels[:, 2].any()
    assert np.all(levels[:, :2].max(axis=(2, 3)) == 255)


def test_the_command_writes_what_is_missing_and_reads_it_back(
    recorded, tmp_path, monkeypatch, capsys
):
    record, _ = recorded
    monkeypatch.setenv("MGCORE_RECORDS", str(record.folder.parent))
    monkeypatch.setattr(propagating, "STUDIES", (record.folder.name,))
    folder = tmp_path / "maps"
    assert main(["propagation", str(folder)]) == 0
    assert "tiny: 192 maps" in capsys.readouterr().out
    written = (folder / "tiny.json").read_bytes()
    assert read_json(folder / "tiny.json")["metrics"].keys() == set(CONDITIONS)
    assert main(["propagation", str(folder)]) == 0  # nothing is missing
    assert (folder / "tiny.json").read_bytes() == written
