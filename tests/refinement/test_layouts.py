"""Layouts, followed through the operations that networks apply to maps."""

import pytest
import torch
import torch.nn.functional as F

from mgcore.refinement.layouts import Factor, layout_of_maps, regroup
from mgcore.refinement.tracing import Tracer

B, C, H, W = Factor("batch", 2), Factor("channel", 6), Factor("grid", 4), Factor("grid", 5)


@pytest.mark.parametrize(
    ("operation", "layout"),
    [
        (lambda x: x.flatten(1), ((B,), (C, H, W))),
        (lambda x: x.flatten(2), ((B,), (C,), (H, W))),
        (lambda x: x.reshape(2, -1), ((B,), (C, H, W))),
        (lambda x: x.permute(0, 2, 3, 1).reshape(2, -1), ((B,), (H, W, C))),
        (lambda x: x.transpose(-1, -2).reshape(2, -1), ((B,), (C, W, H))),
        (lambda x: x.flatten(2).mT.flatten(1), ((B,), (H, W, C))),
        (lambda x: x.mean(1).flatten(1), ((B,), (H, W))),
        (lambda x: x.sum((2, 3)), ((B,), (C,))),
        (lambda x: x.amax(-1), ((B,), (C,), (H,))),
        (lambda x: x.unsqueeze(1).squeeze(1).relu().exp(), ((B,), (C,), (H,), (W,))),
        (lambda x: torch.sigmoid(x.mean((2, 3)))[:, :, None, None] * x, ((B,), (C,), (H,), (W,))),
        (lambda x: F.pad(x, (1, 1, 0, 0)),
         ((B,), (C,), (H,), (Factor("grid", 7),))),
        (lambda x: F.max_pool2d(x, 2),
         ((B,), (C,), (Factor("grid", 2),), (Factor("grid", 2),))),
        (lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
         ((B,), (C, Factor("grid", 1), Factor("grid", 1)))),
        (lambda x: torch.cat([x, x], 1), ((B,), (Factor("channel", 12),), (H,), (W,))),
        (lambda x: x.view(2, 2, 3, 4, 5).transpose(1, 2).reshape(2, 6, 4, 5).flatten(1),
         ((B,), (Factor("channel", 3), Factor("channel", 2), H, W))),  # a channel shuffle
        (lambda x: x.view(2, 6, 2, 2, 5), None),  # cells regrouped
        (lambda x: torch.bmm(x.flatten(2), x.flatten(2).mT), ((B,), (C,), (C,))),
        (lambda x: torch.bmm(x.flatten(2).mT, x.flatten(2)), ((B,), (H, W), (H, W))),
        (lambda x: torch.bmm(x.flatten(2), torch.zeros(2, 20, 3)), None),
        (lambda x: x.logsumexp(-1), ((B,), (C,), (H,))),
        (lambda x: x.norm(dim=(2, 3)), ((B,), (C,))),
        (lambda x: x.sum(), ()),
    ],
)  # fmt: skip
def test_axes_are_followed(operation, layout):
    x = torch.rand(2, 6, 4, 5)
    tracer = Tracer()
    with tracer:
        tracer.start(x)
        out = operation(x)
    assert tracer.layouts.get(out) == layout


def test_a_view_that_mixes_images_shows():
    """Half the channels leave for the batch axis."""
    mixed = regroup(layout_of_maps((2, 6, 4, 5)), (4, 60))
    assert mixed == ((B, Factor("channel", 2)), (Factor("channel", 3), H, W))


@pytest.mark.parametrize("shape", [(2, 6, 40), (240, 2), (3, 80), ()])
def test_views_that_fit_no_factors_are_unknown(shape):
    assert regroup(layout_of_maps((2, 6, 4, 5)), shape) is None
