"""Linked grids: losses written out, derivatives by differences, expectations over all draws."""

from itertools import combinations, product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mgcore import ThesisCNN, coarsen, restrict
from mgcore.kernels import coarsen_classifier, coarsen_kernel
from mgcore.thesis.network import forward
from mgcore.train.multilevel import Hierarchy, joint_loss, multilevel_loss

LINKS = pytest.mark.parametrize("stencils", ["galerkin", "copy"])


def small():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv2d(2, 2, 3, padding=1, groups=2),
        nn.Tanh(), nn.Flatten(), nn.Linear(2 * 64, 3),
    ).double()  # fmt: skip


@pytest.fixture
def data(rng):
    images = torch.randn(4, 1, 8, 8, generator=rng, dtype=torch.float64)
    return images, torch.tensor([0, 1, 2, 1])


def gradient(value, model):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(model.parameters()))])


@LINKS
@pytest.mark.parametrize("kind", ["bilinear", "constant"])
def test_weights_below_are_those_of_coarsening(stencils, kind):
    model = small()
    grids = Hierarchy(model, (1, 8, 8), 2, stencils=stencils, prolongation=kind)
    once = coarsen(model, (1, 8, 8), stencils=stencils, prolongation=kind)
    twice = coarsen(once, (1, 4, 4), stencils=stencils, prolongation=kind)
    assert grids.depth == 2 and grids.shapes == [(1, 8, 8), (1, 4, 4), (1, 2, 2)]
    for level, reference in enumerate((model, once, twice)):
        for name, expected in reference.named_parameters():
            assert torch.allclose(grids.weights(level)[name], expected, rtol=0, atol=1e-14)
    with torch.no_grad():
        model[0].weight += 1.0  # training the finest moves every grid
    moved = coarsen(model, (1, 8, 8), stencils=stencils, prolongation=kind)
    assert torch.allclose(grids.weights(1)["0.weight"], moved[0].weight, rtol=0, atol=1e-14)


def test_joint_gradient_is_that_of_the_two_grid_loss_written_out(data):
    images, labels = data
    net = ThesisCNN(8).double()
    grids = Hierarchy(net, (1, 8, 8))
    found = gradient(joint_loss(grids, images, labels, (0.3, 0.7)), net)
    fine = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    coarse = dict(fine)
    for name in ("conv1.weight", "conv2.weight"):
        coarse[name] = coarsen_kernel(fine[name])
    coarse["classifier.weight"] = coarsen_classifier(fine["classifier.weight"], (8, 8))
    value = 0.3 * F.cross_entropy(forward(fine, images, False), labels)
    value = value + 0.7 * F.cross_entropy(forward(coarse, restrict(images), False), labels)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(value, list(fine.values()))])
    assert (found - expected).abs().max() < 1e-12 * expected.abs().max()


@LINKS
def test_the_coarse_loss_alone_moves_the_fine_weights_as_differences_say(stencils, data):
    images, labels = data
    model = small()
    grids = Hierarchy(model, (1, 8, 8), 2, stencils=stencils)
    found = gradient(joint_loss(grids, images, labels, (0, 0.5, 0.5)), model)
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).double()
    values = []
    for sign in (1, -1):
        moved = nn.utils.parameters_to_vector(model.parameters()) + sign * 1e-5 * direction
        other = small()
        nn.utils.vector_to_parameters(moved, other.parameters())
        own = Hierarchy(other, (1, 8, 8), 2, stencils=stencils)
        values.append(joint_loss(own, images, labels, (0, 0.5, 0.5)).item())
    slope = (values[0] - values[1]) / 2e-5
    assert slope == pytest.approx(float(found @ direction), rel=1e-6)
    assert found.abs().max() > 1e-3


@LINKS
def test_the_telescoping_sum_is_unbiased(stencils, data):
    """Over all draws of 1 fine, 2 coarser and 3 coarsest of 4 images: exactly the fine gradient."""
    images, labels = data
    model = small()
    grids = Hierarchy(model, (1, 8, 8), 2, stencils=stencils)
    exact = gradient(F.cross_entropy(model(images), labels), model)
    draws = list(product(*(combinations(range(4), count) for count in (1, 2, 3))))
    assert len(draws) == 4 * 6 * 4
    estimates = torch.stack([
        gradient(multilevel_loss(grids, [(images[list(c)], labels[list(c)]) for c in draw]), model)
        for draw in draws
    ])  # fmt: skip
    assert (estimates.mean(0) - exact).abs().max() < 1e-14 + 1e-12 * exact.abs().max()
    assert (estimates - exact).abs().amax(1).min() > 1e-3 * exact.abs().max()  # each one errs


def filters(axes):
    """A network from maps to maps, with a coarser grid inside."""
    conv, pool = ((nn.Conv1d, nn.AvgPool1d), (nn.Conv2d, nn.AvgPool2d))[axes - 1]
    torch.manual_seed(1)
    return nn.Sequential(
        conv(1, 3, 3, padding=1), nn.Tanh(), pool(2), nn.Upsample(scale_factor=2),
        conv(3, 2, 3, padding=1),
    ).double()  # fmt: skip


@pytest.mark.parametrize("axes", [1, 2])
def test_maps_are_restricted_with_the_images(axes, rng):
    model, shape = filters(axes), (1, *[8] * axes)
    images = torch.randn(4, *shape, generator=rng, dtype=torch.float64)
    targets = torch.randn(4, 2, *shape[1:], generator=rng, dtype=torch.float64)
    grids = Hierarchy(model, shape, 1)
    losses = [F.mse_loss(model(images), targets)]
    coarse = restrict(images, axes), restrict(targets, axes)
    losses.append(F.mse_loss(grids(coarse[0], level=1), coarse[1]))
    found = joint_loss(grids, images, targets, (0.25, 0.75), F.mse_loss)
    assert torch.allclose(found, 0.25 * losses[0] + 0.75 * losses[1], rtol=1e-14, atol=0)
    halves = [(images[k::2], targets[k::2]) for k in range(2)]
    one = multilevel_loss(grids, [halves[0], halves[1]], F.mse_loss)
    pair = [F.mse_loss(grids(restrict(x, axes), 1), restrict(y, axes)) for x, y in halves]
    assert torch.allclose(one, F.mse_loss(model(halves[0][0]), halves[0][1]) - pair[0] + pair[1])


def test_numbers_for_each_image_are_no_maps_even_if_they_are_as_many_as_cells(rng):
    """Regression of 8 numbers from a signal of 8 cells."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(16, 8)).double()
    signals = torch.randn(3, 1, 8, generator=rng, dtype=torch.float64)
    targets = torch.randn(3, 8, generator=rng, dtype=torch.float64)
    grids = Hierarchy(model, (1, 8), 1)
    found = joint_loss(grids, signals, targets, (0, 1), F.mse_loss)
    assert torch.equal(found, F.mse_loss(grids(restrict(signals, 1), 1), targets))


def test_maps_of_classes_are_refused_and_of_probabilities_accepted(rng):
    model, images = filters(2), torch.randn(4, 1, 8, 8, generator=rng, dtype=torch.float64)
    classes = torch.randint(2, (4, 8, 8), generator=rng)
    grids = Hierarchy(model, (1, 8, 8), 1)
    with pytest.raises(ValueError, match="Pass class probabilities"):
        joint_loss(grids, images, classes)
    probabilities = F.one_hot(classes).movedim(-1, 1).double()
    assert torch.isfinite(joint_loss(grids, images, probabilities))


def test_equal_batches_telescope_to_the_fine_loss(data):
    model = small()
    grids = Hierarchy(model, (1, 8, 8), 2)
    value = multilevel_loss(grids, [data] * 3)
    assert float(value.detach()) == pytest.approx(float(F.cross_entropy(model(data[0]), data[1])))


def test_without_coarser_grids_both_losses_are_the_plain_one(data):
    model = small()
    grids = Hierarchy(model, (1, 8, 8), 0)
    plain = F.cross_entropy(model(data[0]), data[1])
    assert torch.equal(joint_loss(grids, *data), plain)
    assert torch.equal(multilevel_loss(grids, [data]), plain)


def test_statistics_and_modes_of_each_grid(data):
    """Batch normalisation counts on every grid by itself, in the mode of the finest network."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)).double()
    grids = Hierarchy(model, (1, 8, 8))
    grids(grids.restricted(data[0], 1), level=1)
    assert int(model[1].num_batches_tracked) == 0
    assert int(grids.models[1][1].num_batches_tracked) == 1
    model.eval()
    grids(grids.restricted(data[0], 1), level=1)
    assert int(grids.models[1][1].num_batches_tracked) == 1


@pytest.mark.parametrize(("shape", "share"), [((1, 8), 0.5), ((1, 8, 8), 0.25)])
def test_an_image_costs_its_cells(shape, share):
    conv = {2: nn.Conv1d, 3: nn.Conv2d}[len(shape)](1, 1, 3, padding=1)
    grids = Hierarchy(conv, shape)
    assert [grids.cells(0), grids.cells(1)] == [1, share]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda grids, data: Hierarchy(small(), (1, 8, 8), -1),
         "depth must be a number of coarser grids, 0 or more, got -1."),
        (lambda grids, data: joint_loss(grids, *data, [1.0]),
         "shares must be 2 numbers, one for each grid, got [1.0]."),
        (lambda grids, data: multilevel_loss(grids, [data]),
         "batches must be 2, one for each grid, the finest first; got 1."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, sentence, data):
    with pytest.raises(ValueError) as raised:
        call(Hierarchy(small(), (1, 8, 8)), data)
    assert str(raised.value) == sentence


class Tied(nn.Module):
    """One module under two names, and one parameter in two modules."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.a = nn.Conv2d(1, 1, 3, padding=1)
        self.b, self.c = self.a, nn.Conv2d(1, 1, 3, padding=1)
        self.c.weight = self.a.weight
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))).flatten(1))


@LINKS
def test_shared_modules_and_parameters_stay_shared_and_whole(stencils, data):
    model = Tied().double()
    grids = Hierarchy(model, (1, 8, 8), stencils=stencils)
    value = joint_loss(grids, *data, (0, 1))
    found = gradient(value, model)
    coarse = grids.models[1]
    assert coarse.a is coarse.b and coarse.a.weight is coarse.c.weight
    assert all(isinstance(p, nn.Parameter) for p in (coarse.a.weight, coarse.c.bias))
    apart = coarsen(Tied().double(), (1, 8, 8), stencils=stencils)
    expected = F.cross_entropy(apart(restrict(data[0])), data[1])
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    assert found.abs().max() > 1e-3
