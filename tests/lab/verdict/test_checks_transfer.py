"""Checks on stencils and images between two grids, with operators that are wrong on purpose."""

from functools import partial

import pytest
import torch

from mgcore.data.strokes import stroke_digits
from mgcore.grids import PROLONGATIONS, prolong, restrict
from mgcore.kernels import coarsen_kernel
from mgcore.lab.verdict import checks_transfer as checks
from mgcore.operators import rediscretise
from mgcore.thesis.network import feature_maps, refine_weights


@pytest.mark.parametrize("kind", PROLONGATIONS)
def test_the_product_of_operators_is_the_map_on_stencils(kind):
    theta = torch.arange(9, dtype=torch.float64).view(3, 3) - 3.5
    found = checks.galerkin_stencil(theta, kind)
    torch.testing.assert_close(found, coarsen_kernel(theta, kind), rtol=0, atol=1e-12)


def test_sizes_are_those_of_both_prolongations():
    shown = checks.coarse_stencil_size().shown
    assert "bilinear P: 3×3 → 3×3, 5×5 → 5×5, 7×7 → 5×5" in shown
    assert "constant P: 3×3 → 3×3, 5×5 → 3×3, 7×7 → 5×5" in shown


def test_a_wider_restriction_makes_stencils_wider(monkeypatch):
    def wide(x):  # four cells wide along the rows, as the transpose of bilinear P
        return restrict((torch.roll(x, 1, -1) + x + torch.roll(x, -1, -1)) / 3)

    monkeypatch.setattr(checks, "restrict", wide)
    assert checks.coarse_stencil_size().word == "not reproduced"


def test_stencils_that_kept_their_size_would_be_as_printed(monkeypatch):
    monkeypatch.setattr(checks, "galerkin_stencil", lambda stencil, kind: stencil)
    assert checks.coarse_stencil_size().word == "reproduced"


def test_another_mesh_size_would_make_a_difference(monkeypatch):
    def wrong(stencil, h_from, h_to, basis):
        return rediscretise(stencil, h_from, 1.01 * h_to, basis=basis)

    monkeypatch.setattr(checks, "rediscretise", wrong)
    assert checks.geometric_or_algebraic().word == "reproduced"


def test_constant_prolongation_doubles_diffusion():
    shown = checks.geometric_or_algebraic().shown
    assert "apart by 0 with" in shown
    assert "diffusion by 1.00 with bilinear and 2.00 with constant P" in shown


def test_restriction_undoes_the_constant_prolongation_alone(monkeypatch):
    found = checks.prolongation_restriction()
    assert found.word == "corrected"
    assert "bilinear P: R P is off the identity by 0.25" in found.shown  # rows [1 6 1]/8
    assert "constant P: R P is off the identity by 0, P R by 0.5" in found.shown
    assert found.shown.endswith("rank 14 of 28")
    monkeypatch.setattr(checks, "prolong", lambda y, kind, ndim=2: prolong(y, "bilinear", ndim))
    assert checks.prolongation_restriction().word == "not reproduced"


def test_operators_that_lose_nothing_would_do(monkeypatch):
    monkeypatch.setattr(checks, "restrict", lambda x, ndim=2: x)
    monkeypatch.setattr(checks, "prolong", lambda x, kind, ndim=2: x)
    assert checks.prolongation_restriction().word == "reproduced"


def test_copied_stencils_do_not_satisfy_the_galerkin_condition(monkeypatch):
    monkeypatch.setattr(checks, "refine_weights", partial(refine_weights, stencils="copy"))
    assert checks.galerkin_exact().word == "not reproduced"


def test_only_constant_prolongation_is_exact_at_the_edge(monkeypatch):
    """And a network of one linear layer would be as printed with it."""
    shown = checks.galerkin_exact().shown
    bilinear, constant = shown.split("constant P: ")
    assert "off by 0 inside and 0 of its size at" in constant
    assert "off by 0 inside" in bilinear and "and 0 of" not in bilinear
    monkeypatch.setattr(checks, "PROLONGATIONS", ("constant",))
    assert checks.galerkin_exact().word == "corrected"  # for the ReLU's sake

    def linear(weights, x, pooling):
        maps = torch.nn.functional.conv2d(x, weights["conv1.weight"], padding=1)
        assert len(feature_maps(weights, x, pooling)) == 2
        return [maps, maps]

    monkeypatch.setattr(checks, "feature_maps", linear)
    assert checks.galerkin_exact().word == "reproduced"


@pytest.mark.parametrize("power", [1, 40])
def test_images_as_rough_as_their_thresholds_are_not_worse(monkeypatch, power):
    """The same images in both places; and noise, beside which thresholded digits are smooth."""
    digits, labels = stroke_digits(30, 28, dtype=torch.float64)
    noise = torch.randn(30, 28, 28, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fake = (digits > 0.5).double() if power == 1 else digits.round() + 0.49 * noise.tanh()
    monkeypatch.setattr(checks, "stroke_digits", lambda *given, **named: (fake, labels))
    assert checks.discontinuous_images().word == ("not reproduced" if power == 1 else "reversed")
