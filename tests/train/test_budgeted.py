"""Training on one grid: torch's own loop, and budgets counted by the loss itself."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mgcore import ThesisCNN
from mgcore.thesis.network import step_flops
from mgcore.train.budgeted import Level, Scheme, image_flops, train


def small():
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))


@pytest.fixture
def level(rng):
    images, labels = torch.randn(10, 1, 8, 8, generator=rng), torch.arange(10) % 3
    return lambda budget: Level(images, labels, budget)


class Counting:
    """Cross-entropy that counts the images it is asked about."""

    def __init__(self):
        self.calls = []

    def __call__(self, outputs, labels):
        self.calls.append(len(outputs))
        return F.cross_entropy(outputs, labels)


def generator(seed=5):
    return torch.Generator().manual_seed(seed)


def test_the_plain_scheme_is_plain_sgd(level):
    """Two passes over ten images and five more, in batches of four."""
    ours, theirs, data = small(), small(), level(25)
    optimizer = partial(torch.optim.SGD, lr=0.05, momentum=0.8, nesterov=True)
    spent = train(ours, data, generator(), scheme=Scheme(batches=(4,)), optimizer=optimizer)
    descent, order = optimizer(theirs.parameters()), generator()
    left = 25
    while left:
        for chosen in torch.randperm(10, generator=order).split(4):
            chosen = chosen[:left]
            left -= len(chosen)
            if len(chosen):
                descent.zero_grad()
                F.cross_entropy(theirs(data.images[chosen]), data.labels[chosen]).backward()
                descent.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (spent.steps, spent.images, spent.work) == (8, (25,), 25)


@pytest.mark.parametrize("budget", [0, 1, 7, 10, 33])
def test_the_plain_budget_is_spent_to_the_image(budget, level):
    loss = Counting()
    spent = train(small(), level(budget), generator(), scheme=Scheme(batches=(4,)), loss=loss)
    assert sum(loss.calls) == spent.images[0] == budget == spent.work


@pytest.mark.parametrize(
    ("scheme", "most", "grids"),
    [
        (Scheme("joint", (3,), depth=2), 3 * (1 + 1 / 4 + 1 / 16), 3),
        (Scheme("multilevel", (1, 2)), 1 + 1 / 4 + 2 / 4, 2),
        (Scheme("multilevel", (1, 2, 4), stencils="copy"), 1 + (1 + 2) / 4 + (2 + 4) / 16, 3),
    ],
)
@pytest.mark.parametrize("budget", [0, 2, 5, 17])
def test_other_budgets_are_not_exceeded_nor_left_lying(budget, scheme, most, grids, level):
    loss = Counting()
    spent = train(small(), level(budget), generator(), scheme=scheme, below=2, loss=loss)
    assert sum(loss.calls) == sum(spent.images) and len(spent.images) == grids
    assert spent.work == pytest.approx(sum(n / 4**k for k, n in enumerate(spent.images)))
    assert budget - most < spent.work <= budget
    assert len(loss.calls) == spent.steps * (grids if scheme.kind == "joint" else 2 * grids - 1)


def test_a_rung_without_coarser_grids_is_plain_whatever_the_scheme(level):
    nets = [small(), small(), small()]
    schemes = (Scheme(batches=(5,)), Scheme("joint", (5,)), Scheme("multilevel", (5, 9)))
    for net, scheme in zip(nets, schemes, strict=True):
        assert train(net, level(20), generator(), scheme=scheme, below=0).images == (20,)
    for a, b, c in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)


@pytest.mark.parametrize("scheme", [Scheme(), Scheme("joint"), Scheme("multilevel", (8, 16))])
def test_training_learns(scheme, rng):
    """Bright above against bright below: every scheme finds it."""
    images = torch.randn(64, 1, 8, 8, generator=rng)
    labels = (torch.arange(64) % 2).long()
    images[labels == 0, :, :4] += 1
    images[labels == 1, :, 4:] += 1
    net = small()
    train(net, Level(images, labels, 2000), generator(), scheme=scheme, below=1)
    assert (net(images).argmax(1) == labels).float().mean() > 0.95


def test_flops_are_those_of_the_thesis_by_formula():
    assert image_flops(ThesisCNN(8), (1, 8, 8)) == step_flops(8, False)


def test_spent_flops_add_up_over_grids(level):
    net = small()
    coarse = nn.Sequential(*copy.deepcopy(list(net)[:3]), nn.Linear(32, 3))
    spent = train(net, level(20), generator(), scheme=Scheme("multilevel", (1, 2)), below=1)
    fine, rough = image_flops(net, (1, 8, 8)), image_flops(coarse, (1, 4, 4))
    assert spent.flops == spent.images[0] * fine + spent.images[1] * rough
    assert spent.shape == (1, 8, 8) and spent.seconds > 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Level(torch.zeros(2, 1, 4, 4), torch.zeros(2), -1),
         "budget=-1; accepted: a number of images, 0 or more."),
        (lambda: Level(torch.zeros(2, 1, 4, 4), torch.zeros(2), 1.5),
         "budget=1.5; accepted: a number of images, 0 or more."),
        (lambda: Level(torch.zeros(2, 1, 4, 4), torch.zeros(3), 1),
         "labels are 3 of 2 images; accepted: one for each image, at least one."),
        (lambda: Scheme("coarse"), "kind='coarse'; accepted: 'fine', 'joint', 'multilevel'."),
        (lambda: Scheme("joint", (3, 4)),
         "batches=(3, 4) of kind='joint'; accepted: one positive number."),
        (lambda: Scheme("multilevel", (0, 4)),
         "batches=(0, 4) of kind='multilevel'; accepted: one positive number a grid."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == sentence
