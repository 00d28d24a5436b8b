"""Predictions come before their outcomes, and follow from the disturbance of the first layer."""

import numpy as np
import pytest
import torch

from mgcore.grids import prolong, restrict
from mgcore.lab.choices import predictions
from mgcore.lab.choices.sharpness import CONDITIONS, STEPS, blend
from mgcore.lab.records.files import RecordError, read_json, write_json
from mgcore.lab.verdict.agreement import interval


@pytest.fixture
def images(rng):
    return torch.rand(6, 1, 8, 8, generator=rng, dtype=torch.float64)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a planted base: accuracy falls by 40 t and 10 t, with an offset."""
    monkeypatch.setattr(predictions, "BASE_TRIALS", 3)
    for trial in range(3):
        slopes = dict(zip(CONDITIONS, (10 + trial, 40 + trial), strict=True))
        accuracy = {name: [80 + trial - slope * t for t in STEPS] for name, slope in slopes.items()}
        file = tmp_path / "base" / f"trial-{trial:03d}.json"
        file.parent.mkdir(exist_ok=True)
        write_json(file, {"steps": list(STEPS), "accuracy": accuracy})
    return tmp_path


@pytest.fixture
def small(monkeypatch):
    """Return the base with few and small images, with one setting: the images are blurred."""
    base = predictions.BASE.changed(
        n_coarse=20, n_fine=20, n_validation=40, coarse_epochs=1, fine_epochs=1, resolution=8
    )
    monkeypatch.setattr(predictions, "BASE", base)
    monkeypatch.setattr(
        predictions, "SETTINGS", {"blurred": predictions.Setting("blurred", base, blur=True)}
    )
    return base


@pytest.mark.parametrize("condition", CONDITIONS)
def test_disturbance_is_proportional_to_the_step(images, condition):
    smoothed = prolong(restrict(images))
    whole = predictions.disturbance(images, smoothed, condition, "bilinear")
    part = predictions.disturbance(blend(smoothed, images, 0.25), smoothed, condition, "bilinear")
    assert part == pytest.approx(whole / 4, rel=1e-12)


def test_galerkin_kernels_are_disturbed_more(images):
    smoothed = prolong(restrict(images))
    copied, galerkin = (
        predictions.disturbance(images, smoothed, name, "bilinear") for name in CONDITIONS
    )
    assert galerkin > 1.5 * copied


def test_blurring_keeps_constants_and_removes_the_nyquist_frequency():
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(4)
    waves = torch.stack([torch.ones(8, 8, dtype=torch.float64), torch.outer(sign, sign)])
    found = predictions.blurred(waves[:, None])
    assert torch.allclose(found[0], torch.ones_like(found[0]))
    assert found[1, 0, 1:-1, 1:-1].abs().max() < 1e-15


def test_predictions_are_read_from_the_sweep(folder, small):
    found = predictions.predict(folder)
    assert read_json(folder / "predictions.json") == found
    drop = found["blurred"]["drop"]["multigrid"]
    drops = [slope * drop["tau"] for slope in (40, 41, 42)]
    mean, half = interval(drops)
    assert drop["mean"] == pytest.approx(mean)
    assert drop["half"] == pytest.approx(half * np.sqrt(1 + 3 / predictions.TRIALS))


def test_a_prediction_after_its_outcome_is_refused(folder):
    late = folder / "outcomes" / "blurred" / "trial-100.json"
    late.parent.mkdir(parents=True)
    late.write_text("{}")
    with pytest.raises(RecordError, match="a prediction after its outcome is none"):
        predictions.predict(folder)


def test_outcomes_stand_beside_their_predictions(folder, small, monkeypatch):
    monkeypatch.setattr(predictions, "TRIALS", 2)
    monkeypatch.setattr(predictions, "LEAST", 2)
    with pytest.raises(RecordError):
        predictions.outcomes(folder, 1)
    predictions.predict(folder)
    predictions.outcomes(folder, 1)
    rows = predictions.read_outcomes(folder)
    assert [(row.setting, row.condition) for row in rows] == [
        ("blurred", name) for name in CONDITIONS
    ]
    trial = read_json(folder / "outcomes" / "blurred" / "trial-100.json")["transfer"]
    other = read_json(folder / "outcomes" / "blurred" / "trial-101.json")["transfer"]
    expected = (trial["smoothed"] - trial["other"] + other["smoothed"] - other["other"]) / 2
    assert rows[0].observed == pytest.approx(expected)
    assert rows[0].inside == (abs(expected - rows[0].predicted) <= rows[0].half)
