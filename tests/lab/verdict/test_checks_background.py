"""Checks on stencils, relaxation and networks, with operators that are wrong on purpose."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mgcore.grids import prolong
from mgcore.lab.verdict import checks_background as checks
from mgcore.multigrid.poisson import jacobi
from mgcore.operators import from_operators


def test_words_are_those_of_the_ledger():
    with pytest.raises(ValueError, match="word='maybe'; accepted: 'reproduced', 'not reproduced'"):
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
