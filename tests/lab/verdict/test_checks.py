"""Each check of a mathematical statement, also with operators that are wrong on purpose."""

import re
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mgcore.data.strokes import stroke_digits
from mgcore.grids import PROLONGATIONS, prolong, restrict
from mgcore.kernels import coarsen_kernel, refine_classifier
from mgcore.lab.verdict import checks
from mgcore.multigrid.poisson import jacobi
from mgcore.operators import from_operators, rediscretise
from mgcore.thesis.network import feature_maps, refine_weights

EXPECTED = {
    "operator-limit": "corrected",
    "relaxation-smooths": "reproduced",
    "four-times-cheaper": "reproduced",
    "coarse-stencil-size": "corrected",
    "geometric-or-algebraic": "corrected",
    "prolongation-restriction": "corrected",
    "galerkin-exact": "corrected",
    "classifier-factor": "reversed",
    "penalty-factor": "reversed",
    "weights-count": "corrected",
    "bias-terms": "not decidable",
}


def carried(times, default=None):
    """Return a classifier's refinement that is `times` too large, with another default factor."""

    def refine(weight, shape, prolongation="bilinear", scale=None):
        scale = default if scale is None else scale
        return times * refine_classifier(weight, shape, prolongation, scale)

    return refine


def test_every_statement_is_there_once():
    assert set(checks.CHECKS) == {*EXPECTED, "discontinuous-images"}


@pytest.mark.parametrize("name", checks.CHECKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
def test_findings_are_one_line_whatever_the_default_dtype(name, dtype):
    before, given = torch.get_default_dtype(), checks.CHECKS[name]()
    torch.set_default_dtype(dtype)
    try:
        assert checks.CHECKS[name]() == given
    finally:
        torch.set_default_dtype(before)
    assert given.word == EXPECTED.get(name, given.word) and given.word in checks.WORDS
    assert "\n" not in given.shown and any(c.isdigit() for c in given.shown)
    assert not given.shown.endswith(".") and "nan" not in given.shown


def test_logits_are_kept_by_a_quarter():
    assert "0.2500 for constant features (they then differ by 0 of" in (
        checks.classifier_factor().shown
    )
    assert "with × 4 the logits are 16.0 times as large" in checks.classifier_factor().shown


@pytest.mark.parametrize(
    ("times", "word"),
    [(1 / 16, "reproduced"), (1 / 8, "corrected"), (1.0, "reversed"), (1 / 2, "reversed")],
)
def test_the_word_on_the_classifier_follows_its_factor(monkeypatch, times, word):
    monkeypatch.setattr(checks, "refine_classifier", carried(times))
    assert checks.classifier_factor().word == word


def test_a_classifier_that_keeps_no_logits_is_no_correction(monkeypatch):
    def shuffled(weight, shape, scale):
        fine = refine_classifier(weight, shape, scale=scale)
        return fine[:, torch.randperm(fine.shape[1], generator=torch.Generator().manual_seed(0))]

    monkeypatch.setattr(checks, "refine_classifier", shuffled)
    assert checks.classifier_factor().word == "not reproduced"


def test_the_penalty_of_the_same_classifier_is_a_sixteenth_or_a_quarter():
    shown = checks.penalty_factor().shown
    found = re.findall(r"([\d.]+) α_fine", shown) + re.findall(r"values, for (.+) and (.+)", shown)
    plain, physical, *values = (float(text) for text in (*found[:2], *found[2]))
    assert plain == pytest.approx(1 / 16, rel=0.1) and physical == pytest.approx(1 / 4, rel=0.1)
    assert values == [pytest.approx(1, rel=0.1), pytest.approx(4, rel=0.1)]


@pytest.mark.parametrize(("default", "word"), [(1.0, "not decidable"), (4.0, "corrected")])
def test_the_word_on_the_penalty_follows_the_factor_of_the_weights(monkeypatch, default, word):
    """Function values ask for 1 or 4, as h is read; the printed × 4 would ask for 16 or 64."""
    monkeypatch.setattr(checks, "refine_classifier", carried(1.0, default))
    assert checks.penalty_factor().word == word


def test_words_are_those_of_the_ledger():
    with pytest.raises(ValueError, match="word must be one of 'reproduced', 'not reproduced'"):
        checks.Finding("maybe", "1 of 2")


def test_distances_of_rounding_are_printed_as_zero():
    assert [checks.size(x) for x in (3e-16, -2e-13, 0.1234, 0.0)] == ["0", "0", "0.12", "0"]


def test_the_limit_is_second_order_and_the_printed_stencil_is_none():
    found = checks.operator_limit()
    shown = found.shown
    assert found.word == "corrected"
    assert "the printed [-1 2 1] sums to 2, and [-1 2 -1]/h² is -1.00 ∂²" in shown
    assert "3 operators on a line" in shown and "9 on a square" in shown


@pytest.mark.parametrize("ndim", [1, 2])
def test_a_derivative_of_the_wrong_sign_has_no_limit(monkeypatch, ndim):
    def flipped(beta, h, given):
        sign = torch.ones_like(beta)
        if given == ndim:
            sign[{1: 2, 2: 4}[ndim]] = -1.0  # ∂u²
        return from_operators(beta * sign, h, given)

    monkeypatch.setattr(checks, "from_operators", flipped)
    assert checks.operator_limit().word == "not reproduced"


def test_one_sided_differences_are_not_second_order(monkeypatch):
    def shifted(beta, h, ndim):
        stencil = from_operators(beta, h, ndim)
        return torch.roll(stencil, 1, -1) if ndim == 1 and beta[1] else stencil

    monkeypatch.setattr(checks, "from_operators", shifted)
    assert checks.operator_limit().word == "not reproduced"


def test_undamped_relaxation_does_not_smooth(monkeypatch):
    monkeypatch.setattr(checks, "jacobi", lambda a, u, f, omega=1.0: jacobi(a, u, f, 1, omega))
    assert checks.relaxation_smooths().word != "reproduced"


def test_relaxation_that_takes_the_smooth_part_is_the_opposite(monkeypatch):
    def opposite(a, u, f, sweeps=1, omega=2 / 3):
        return u - jacobi(a, u, f, sweeps, omega)

    monkeypatch.setattr(checks, "jacobi", opposite)
    monkeypatch.setattr(checks, "gauss_seidel", opposite)
    assert checks.relaxation_smooths().word == "reversed"


def test_without_a_coarse_grid_the_smooth_part_stays(monkeypatch):
    monkeypatch.setattr(checks, "coarse_correction", lambda levels, e, f: e)
    assert checks.relaxation_smooths().word == "not reproduced"


@pytest.mark.parametrize(
    ("power", "word"), [(2, "reproduced"), (1, "not reproduced"), (-1, "reversed")]
)
def test_cheaper_is_what_the_operations_say(monkeypatch, power, word):
    monkeypatch.setattr(checks, "step_flops", lambda n, pooling: float(n) ** power)
    assert checks.four_times_cheaper().word == word


def test_a_missing_record_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("MGCORE_RECORDS", str(tmp_path))
    found = checks.four_times_cheaper()
    assert found.word == "reproduced" and "no record unpooled, no record pooled" in found.shown


def test_seconds_an_image_are_compared_image_by_image():
    fine, coarse = {"training": 30.0}, {"training": 24.0}
    seconds = {"coarse": coarse} | dict.fromkeys(("new", "transfer", "multigrid"), fine)
    record = SimpleNamespace(
        protocol=SimpleNamespace(n_coarse=40, coarse_epochs=20, n_fine=10, fine_epochs=10),
        trials=lambda: [{"circumstances": {"seconds": seconds}}],
    )
    assert checks.recorded_ratio(record) == pytest.approx((30 / 100) / (24 / 800))


def test_weights_are_counted_as_by_hand():
    shown = checks.weights_count().shown
    for side in (28, 14, 7):
        assert f"{9 * 32 + 9 * 32 * 64 + 10 * (64 * side**2 + 1):,}" in shown


def test_smaller_networks_would_have_tens_of_thousands(monkeypatch):
    monkeypatch.setattr(
        checks, "ThesisCNN", lambda resolution, pooling: nn.Linear(resolution**2, 99)
    )
    assert checks.weights_count().word == "reproduced"


def test_biases_can_be_judged_only_where_there_are_some(monkeypatch):
    assert "0 of the 2 convolutions" in checks.bias_terms().shown
    monkeypatch.setattr(checks, "ThesisCNN", partial(nn.Conv2d, 1, 1))
    assert checks.bias_terms().word == "not reproduced"  # R and P keep constants
    monkeypatch.setattr(checks, "prolong", lambda y: prolong(y) * 2)
    assert checks.bias_terms().word == "reproduced"


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
