"""Ways of training on two grids: each spends what it is given, and no more."""

import math
from functools import partial

import pytest
import torch

from mgcore.grids import restrict
from mgcore.lab.scales import strategies as ways
from mgcore.lab.scales.kernel_maps import part_way
from mgcore.lab.scales.strategies import FAIR, NETWORKS, SMALL, WAYS, Way, accuracy, data, spend
from mgcore.lab.trial.phases import stream
from mgcore.train.budgeted import Level
from mgcore.train.resolution_ladder import coarse_to_fine


@pytest.fixture(scope="module")
def images():
    return data(0, 64, 32, "strokes")


def test_the_share_of_small_images_is_composers_default():
    """Half of the steps at half the size: of 1,000 steps, 500 cost a quarter."""
    assert SMALL == pytest.approx(500 / 4 / (500 / 4 + 500)) == 0.2


def test_images_are_drawn_apart_and_standardised(images):
    assert images.training.shape == (64, 1, 28, 28) and images.validation.shape == (32, 1, 28, 28)
    assert float(images.training.mean()) == pytest.approx(0, abs=1e-5)
    assert float(images.training.std()) == pytest.approx(1, abs=1e-5)
    assert (data(0, 64, 32, "strokes").training == images.training).all()
    assert not (data(1, 64, 32, "strokes").training == images.training).all()


@pytest.mark.parametrize("way", WAYS | FAIR, ids=str)
def test_a_way_spends_its_budget_and_no_more(way, images):
    """Within a step of the budget, coarse images counted by their cells."""
    chosen = (WAYS | FAIR)[way]
    model, spent = spend(chosen, NETWORKS["pooled"], 96, images, 0)
    shares = [math.prod(one.shape[1:]) / 28**2 for one in spent]
    assert shares == ([1.0] if chosen.small == 0 else [0.25, 1.0])
    work = sum(one.work * share for one, share in zip(spent, shares, strict=True))
    assert 96 - 40 < work <= 96 + 1e-9
    if way == "fine only":
        assert work == 96
    assert model(images.validation).shape == (32, 10)


def test_ways_that_start_small_share_their_coarse_network(images, monkeypatch):
    """So that the ways differ in what is done with it alone."""
    seen = []
    real = ways.refine

    def watched(model, shape, **options):
        seen.append([p.clone() for p in model.parameters()])
        assert tuple(shape) == restrict(images.training).shape[1:]
        return real(model, shape, **options)

    monkeypatch.setattr(ways, "refine", watched)
    ends = [
        spend(WAYS[name], NETWORKS["pooled"], 40, images, 3)[0].conv1.weight
        for name in ("copied", "Galerkin, bilinear", "Galerkin, constant")
    ]
    assert all((a == b).all() for a, b in zip(seen[0], seen[1], strict=True))
    assert not (ends[0] == ends[1]).all() and not (ends[1] == ends[2]).all()


def test_a_way_is_the_ladder_of_the_numerics(images):
    """The steps of `spend` are those of `coarse_to_fine`, which has one optimizer for all rungs."""
    way, budget, seed = WAYS["Galerkin, constant"], 96, 3
    model, spent = spend(way, NETWORKS["pooled"], budget, images, seed)
    torch.manual_seed(seed)
    coarse = int(budget * way.small)
    levels = [
        Level(restrict(images.training), images.labels, 4 * coarse),
        Level(images.training, images.labels, budget - coarse),
    ]
    sgd = partial(torch.optim.SGD, lr=ways.RATE, momentum=ways.MOMENTUM, nesterov=True)
    other, theirs = coarse_to_fine(
        NETWORKS["pooled"](14), levels, stencils="galerkin", prolongation="constant",
        optimizer=sgd, generator=stream(seed, budget, "order"),
    )  # fmt: skip
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)
    assert [one.images for one in spent] == [one.images for one in theirs]


def test_a_carry_that_is_all_of_the_way_is_the_galerkin_map(images):
    """So the two code paths, by the ladder and by hand, are one."""
    ends = [
        spend(way, NETWORKS["pooled"], 96, images, 3)[0].state_dict()
        for way in (WAYS["Galerkin, bilinear"], Way(stencils="copy", carry=part_way(1.0)),
                    WAYS["copied"], Way(stencils="copy", carry=part_way(0.0)))
    ]  # fmt: skip
    for a, b in (ends[:2], ends[2:]):
        for name, w in a.items():
            torch.testing.assert_close(b[name], w, rtol=1e-3, atol=1e-4)


def test_accuracy_is_the_share_that_is_named_rightly(images):
    class Constant(torch.nn.Module):
        def forward(self, x):
            return torch.eye(10)[3].expand(len(x), -1)

    expected = 100 * float((images.validation_labels == 3).double().mean())
    assert accuracy(Constant(), images.validation, images.validation_labels, 7) == expected
