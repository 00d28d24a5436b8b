"""The order of the transferred features' error, on waves and on stroke digits."""

import math

import pytest
import torch

from mgcore.data.strokes import stroke_digits
from mgcore.grids import prolong
from mgcore.multigrid.order import convergence_orders, transfer_errors


@pytest.fixture
def stencils(rng):
    return torch.randn(8, 3, 3, generator=rng, dtype=torch.float64)


def waves(n):
    """Cell means of two smooth waves, exactly: R of the finer grid's are the coarser grid's."""
    edges = torch.arange(n + 1, dtype=torch.float64) / n
    found = []
    for k, l in ((1, 2), (3, 1)):
        rows, columns = (
            n * torch.diff(-torch.cos(math.pi * m * edges) / (math.pi * m)) for m in (k, l)
        )
        found.append(1 + torch.outer(rows, columns))
    return torch.stack(found)


@pytest.mark.parametrize(
    ("transfer", "held", "expected"),
    [
        ("bilinear", "weights", 2), ("constant", "weights", 2), ("copy", "weights", 1),
        ("bilinear", "operators", 2), ("constant", "operators", 1), ("copy", "operators", 1),
    ],
)  # fmt: skip
def test_orders_on_waves(transfer, held, expected, stencils):
    """Bilinear keeps β and is second order on any ladder; constant loses one with diffusion."""
    grids = [waves(n) for n in (16, 32, 64, 128, 256, 512)]
    found = convergence_orders(transfer_errors(stencils, grids, transfer, held))
    assert found[-1] == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize(
    ("transfer", "least", "most"),
    [("bilinear", 1.8, 2.3), ("constant", 1.7, 2.1), ("copy", 0.9, 1.2)],
)
def test_orders_on_stroke_digits_from_14_to_112(transfer, least, most, stencils):
    digits = [stroke_digits(12, n, dtype=torch.float64)[0] for n in (14, 28, 56, 112)]
    found = convergence_orders(transfer_errors(stencils, digits, transfer))
    assert len(found) == 2 and least < found[-1] < most


def test_prolonged_images_leave_no_error_and_copies_one(stencils, rng):
    x = torch.rand(3, 8, 8, generator=rng, dtype=torch.float64)
    for kind in ("bilinear", "constant"):
        pair = [x, prolong(x, kind)]
        assert transfer_errors(stencils, pair, kind)[0] < 1e-12
        assert transfer_errors(stencils, pair, "copy")[0] > 0.1


def test_copies_do_not_care_what_is_held(stencils):
    grids = [waves(n) for n in (8, 16, 32)]
    both = [transfer_errors(stencils, grids, "copy", held) for held in ("weights", "operators")]
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"transfer": "cubic"}, "transfer must be 'bilinear', 'constant' or 'copy', got 'cubic'."),
        ({"held": "beta"}, "held must be 'weights' or 'operators', got 'beta'."),
        ({"images": [torch.zeros(1, 8, 8), torch.zeros(1, 12, 12)]},
         "images must be on two or more grids of doubling size, got [8, 12]."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(options, sentence, stencils):
    with pytest.raises(ValueError) as raised:
        transfer_errors(stencils, **({"images": [waves(8), waves(16)]} | options))
    assert str(raised.value) == sentence
