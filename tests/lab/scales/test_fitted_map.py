"""The fit of a map of kernels: its symmetries, its family, and what its record holds."""

from functools import partial

import pytest
import torch

from mgcore.grids import prolong
from mgcore.kernels import galerkin_map, refine_kernel
from mgcore.lab.records.files import read_json
from mgcore.lab.scales import fitted_map, size_change
from mgcore.lab.scales.fitted_map import (
    EXPONENTS,
    KINDS,
    Sweep,
    difference_exponents,
    fit_map,
    linear,
    read_sweeps,
    run_fitted_maps,
    symmetric,
    transferred,
)
from mgcore.lab.scales.kernel_maps import partial_galerkin
from mgcore.lab.scales.size_change import Change, draw, old_network

SMALL = Change("strokes", 8, 16)


@pytest.fixture(scope="module")
def images():
    return draw(SMALL, 0, 100, 60)


@pytest.fixture(scope="module")
def old(images):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(size_change, "OLD_EPOCHS", 3)
        return old_network(images, 0)


def test_a_symmetric_map_commutes_with_the_symmetries_of_the_square(rng):
    kernel_map = linear(symmetric(torch.randn(9, 9, generator=rng)))
    kernel = torch.randn(3, 3, generator=rng)
    for k in range(4):
        for turn in (lambda x, k=k: x.rot90(k), lambda x, k=k: x.rot90(k).T):
            torch.testing.assert_close(kernel_map(turn(kernel)), turn(kernel_map(kernel)))


def test_copying_and_the_galerkin_map_are_symmetric():
    for matrix in (torch.eye(9), galerkin_map().reshape(9, 9).float()):
        torch.testing.assert_close(symmetric(matrix), matrix)


@pytest.mark.parametrize(("exponent", "stencils"), [(0.0, "copy"), (1.0, "galerkin")])
def test_the_family_contains_copying_and_the_galerkin_condition(old, images, exponent, stencils):
    model = transferred(old, images, "original", partial_galerkin(exponent))
    kernel = old[0].weight
    expected = kernel if stencils == "copy" else refine_kernel(kernel)
    torch.testing.assert_close(model[0].weight, expected, rtol=1e-5, atol=1e-6)
    assert not model.training


def test_the_fit_lowers_the_loss_and_is_symmetric(old, images):
    def loss(matrix):
        model = transferred(old, images, "original", linear(matrix))
        return torch.nn.functional.cross_entropy(model(images.new), images.labels)

    matrix = fit_map([old], [images], "original", steps=40)
    torch.testing.assert_close(symmetric(matrix), matrix)
    assert loss(matrix) < loss(torch.eye(9))


def test_smooth_images_ask_for_the_galerkin_map_and_sharp_ones_for_copying():
    def waves(n):
        cells = (torch.arange(n) + 0.5) / n
        return torch.sin(2 * torch.pi * cells)[:, None].expand(n, n)[None, None]

    assert difference_exponents(waves(128), waves(256)) == pytest.approx([1, 1], abs=0.01)
    noise = torch.randn(64, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    assert difference_exponents(noise[..., :64, :64], noise) == pytest.approx([0, 0], abs=0.02)


def test_what_is_recorded_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(fitted_map, "DATA", {"strokes": SMALL})
    monkeypatch.setattr(fitted_map, "NETWORKS", 3)
    monkeypatch.setattr(fitted_map, "FITTED", 1)
    monkeypatch.setattr(fitted_map, "fit_map", partial(fit_map, steps=2))
    monkeypatch.setattr(fitted_map, "EXPONENTS", (0.0, 0.5, 1.0))
    monkeypatch.setattr(size_change, "OLD_EPOCHS", 1)
    monkeypatch.setattr(fitted_map, "draw", lambda change, seed: draw(change, seed, 50, 40))
    fit, run = fitted_map.run_fit, fitted_map.run_network
    monkeypatch.setattr(fitted_map, "run_fit", lambda change: fit(change, 3, 1))
    assert list(read_sweeps(tmp_path)) == []
    run_fitted_maps(tmp_path, 1)
    monkeypatch.setattr(fitted_map, "run_fit", None)
    monkeypatch.setattr(fitted_map, "run_network", None)
    run_fitted_maps(tmp_path, 1)  # nothing is missing
    found = {(name, kind): sweep for name, kind, sweep in read_sweeps(tmp_path)}
    assert list(found) == [("strokes", kind) for kind in KINDS]
    assert read_json(tmp_path / "strokes-1.json")["data"] == "strokes"
    sweep = found["strokes", "smoothed"]
    assert len(sweep.fitted) == len(sweep.judged(0.0)) == len(sweep.old) == 2
    again = run(SMALL, 1)["accuracy"]["smoothed"]
    assert sweep.judged(1.0)[0] == pytest.approx(again[2])


def test_the_best_exponent_is_that_of_the_networks_it_is_fitted_to(monkeypatch):
    monkeypatch.setattr(fitted_map, "FITTED", 1)
    rows = [[float(t == 0.5) for t in EXPONENTS], [float(t == 0.25) for t in EXPONENTS]]
    fit = {"accuracy": {"original": [50.0]}, "difference_exponents": {"original": [0.2, 0.1]}}
    sweep = Sweep([{"old": 97.0, "accuracy": {"original": row}} for row in rows], fit, "original")
    assert sweep.best == 0.5 and sweep.judged(0.5) == [0.0] and sweep.judged(0.25) == [1.0]


def test_smoothed_images_are_prolonged(images):
    training, held_out = fitted_map.new_images(images, "smoothed")
    assert torch.equal(training, prolong(images.old))
    assert torch.equal(held_out, prolong(images.old_held_out))
    assert torch.equal(fitted_map.new_images(images, "original")[1], images.new_held_out)
