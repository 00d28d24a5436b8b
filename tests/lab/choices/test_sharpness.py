"""The sweep from smoothed to original images measures the recorded networks, and no others."""

import json
import shutil

import numpy as np
import pytest
import torch

from mgcore.grids import prolong, restrict
from mgcore.lab.choices import sharpness as module
from mgcore.lab.choices.sharpness import (
    CONDITIONS,
    PERTURBATIONS,
    STEPS,
    answers_by_sharpness,
    pack,
    perturbations,
    read_sharpness,
    sharpness,
    unpack,
)
from mgcore.lab.cli import main
from mgcore.lab.records.files import RecordError, checksum, read_json, write_json
from mgcore.lab.records.record import Record
from mgcore.lab.run.workers import settled_within
from mgcore.lab.trial.measures import measure
from mgcore.lab.trial.trial import run_trial
from mgcore.thesis.network import forward


@pytest.fixture(scope="module")
def recorded(tiny, tmp_path_factory):
    """Record trial 0 of a study whose fine training images are smoothed, with what it kept."""
    protocol = tiny(fine_training="prolonged", n_validation=60, normalisation="standardised")
    record = Record.create(tmp_path_factory.mktemp("record") / "tiny-class", protocol)
    with settled_within():
        result = run_trial(protocol, 0)
        measures = measure(protocol, 0, result["kept"])
    circumstances = {"seconds": result["seconds"]}
    record.add({"trial": 0, "metrics": result["metrics"], "circumstances": circumstances})
    return record, result["kept"], measures


@pytest.fixture(scope="module")
def content(recorded, tmp_path_factory):
    return sharpness(recorded[0], 0, tmp_path_factory.mktemp("cache"))


def blended(kept, t):
    """Return x_t of the validation images, written out."""
    pixels = kept.digits.select(kept.indices[2], torch.float64)[:, None]
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    deviation = pixels.std(dim=(2, 3), keepdim=True, correction=0).clamp_min(1 / 8)
    x = (pixels - mean) / deviation
    smoothed = prolong(restrict(x))
    return smoothed + t * (x - smoothed)


def test_the_ends_are_what_the_record_measures(recorded, content):
    record, _, measures = recorded
    assert content["agreement"].endswith("every metric identical.")
    smoothed, original = STEPS.index(0), STEPS.index(1)
    for condition in CONDITIONS:
        values = content["accuracy"][condition]
        last = record.trial(0)["metrics"][condition][-1]
        assert values[original] == last["validation_accuracy"]
        assert values[smoothed] == measures["preparation"][condition]["prolonged"]
        assert content["training"][condition] == last["training_accuracy"]


def test_accuracies_and_answers_between_are_the_networks(recorded, content):
    _, kept, _ = recorded
    labels = kept.fine_images.validation_labels
    pixels = unpack(content["answers"]["pixels"])
    probabilities = unpack(content["answers"]["probabilities"]) / 1000
    places = [int((labels == digit).nonzero()[0]) for digit in range(10)]
    assert content["answers"]["indices"] == kept.indices[2][places].tolist()
    wanted = 255 * kept.digits.select(kept.indices[2][places], torch.float64).numpy()
    assert np.abs(pixels - wanted).max() <= 0.5
    for k, t in enumerate(STEPS):
        for c, condition in enumerate(CONDITIONS):
            logits = forward(kept.phases[condition].weights, blended(kept, t), False)
            right = 100 * (logits.argmax(1) == labels).double().mean()
            assert content["accuracy"][condition][k] == pytest.approx(float(right))
            likely = logits[places].softmax(1).detach().numpy()
            assert np.abs(probabilities[c, k] - likely).max() <= 0.00051


def test_perturbations_have_the_norm_of_what_is_removed_and_the_content_they_name(recorded):
    kept = recorded[1]
    smoothed, x = blended(kept, 0.0), blended(kept, 1.0)
    added = dict(zip(PERTURBATIONS, perturbations(smoothed, x, "bilinear", 0), strict=True))
    norms = (x - smoothed).flatten(1).norm(dim=1)
    for change in added.values():
        torch.testing.assert_close(change.flatten(1).norm(dim=1), norms)
    torch.testing.assert_close(added["removed"], x - smoothed)
    parallel = [
        torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), 0)
        for a, b in zip(added["exchanged"], (x - smoothed).roll(1, 0), strict=True)
    ]
    assert min(parallel) > 1 - 1e-12
    coarse = {name: restrict(change).norm() / norms.norm() for name, change in added.items()}
    # R halves the norm of a smooth image, which has a quarter of the cells on the coarse grid.
    assert float(coarse["smooth"]) > 0.4 > 0.2 > float(coarse["rough"])


def test_accuracies_under_perturbations_are_the_networks(recorded, content):
    _, kept, _ = recorded
    labels, smoothed = kept.fine_images.validation_labels, blended(kept, 0.0)
    added = perturbations(smoothed, blended(kept, 1.0), "bilinear", 0)
    for condition in CONDITIONS:
        values = content["perturbed"][condition]
        assert list(values) == list(PERTURBATIONS)
        assert values["removed"] == content["accuracy"][condition][STEPS.index(1)]
        for name, change in zip(PERTURBATIONS, added, strict=True):
            logits = forward(kept.phases[condition].weights, smoothed + change, False)
            right = 100 * (logits.argmax(1) == labels).double().mean()
            assert values[name] == pytest.approx(float(right))


def test_another_run_than_the_recorded_one_is_refused(recorded, tmp_path):
    record, _, _ = recorded
    shutil.copytree(record.folder, tmp_path / "r")
    file = tmp_path / "r" / "trial-000.json"
    trial = read_json(file)
    row = trial["metrics"]["multigrid"][-1]
    row["validation_accuracy"] += 20 if row["validation_accuracy"] < 50 else -20
    text = json.dumps({**trial, "sha256": checksum(trial)}, indent=1, ensure_ascii=False)
    file.write_text(text + "\n")
    with pytest.raises(RecordError, match="does not agree with trial 0 of .*20.00 points"):
        sharpness(Record(tmp_path / "r"), 0, None)


def test_a_class_without_images_is_named(recorded, tiny):
    protocol = tiny(n_validation=2)
    with settled_within():
        kept = run_trial(protocol, 0, conditions=CONDITIONS)["kept"]
    with pytest.raises(ValueError, match=r"has no image of \[.*\]. Use more images"):
        answers_by_sharpness(protocol, kept)


def test_packed_arrays_come_back():
    values = np.random.default_rng(0).integers(0, 1001, (2, 3, 4)).astype(np.uint16)
    assert np.array_equal(unpack(json.loads(json.dumps(pack(values)))), values)


def test_the_command_writes_what_is_missing_and_reads_it_back(
    recorded, tmp_path, monkeypatch, capsys
):
    record, _, _ = recorded
    monkeypatch.setenv("MGCORE_RECORDS", str(record.folder.parent))
    monkeypatch.setattr(module, "STUDY", "tiny")
    folder = tmp_path / "sweep"
    command = ["sharpness", str(folder), "--tier", "class"]
    assert main([*command, "--workers", "1"]) == 0
    assert "trial 0: Agrees" in capsys.readouterr().out
    written = (folder / "class-000.json").read_bytes()
    assert main(command) == 0  # nothing is missing
    assert "sweep: tiny-class, trials: 1" in capsys.readouterr().out
    assert (folder / "class-000.json").read_bytes() == written
    sweep = read_sharpness(folder)
    assert sweep.trials == [0] and sweep.accuracy["transfer"].shape == (1, len(STEPS))
    original = record.trial(0)["metrics"]["multigrid"][-1]["validation_accuracy"]
    assert sweep.at("multigrid", 1).tolist() == [original]
    content = read_json(folder / "class-000.json")
    for tier, count, shown in (("class", 4, "class"), ("paper", 4, "paper"), ("class", 5, "class"),
                               ("paper", 5, "paper")):  # fmt: skip
        for number in range(count):  # the larger study comes first, from five trials on
            write_json(folder / f"{tier}-{number:03d}.json", content | {"study": f"tiny-{tier}"})
        assert read_sharpness(folder).study == f"tiny-{shown}"
