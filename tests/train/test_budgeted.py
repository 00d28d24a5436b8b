"""Training on one grid: torch's own loop, and budgets counted by the loss itself."""

import copy
import inspect
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mgcore import ThesisCNN, coarsen, minimize_trust_region, refine
from mgcore.thesis.network import step_flops
from mgcore.train.budgeted import BatchLevel, Level, Scheme, image_flops, train
from mgcore.train.progressive_resizing import progressive_resizing
from mgcore.train.resolution_ladder import coarse_to_fine, fine_to_coarse


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
@pytest.mark.parametrize("budget", [0, 4, 5, 17])
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


@pytest.mark.parametrize(
    ("scheme", "grids"),
    [(Scheme(), 1), (Scheme("joint", (4,), depth=2), 3), (Scheme("multilevel", (1, 2, 4)), 3)],
)
def test_a_scheme_trains_on_all_its_grids_by_default(scheme, grids, level):
    free, limited = small(), small()
    spent = train(free, level(20), generator(), scheme=scheme)
    assert len(spent.images) == grids and all(spent.images)
    train(limited, level(20), generator(), scheme=scheme, below=grids - 1)
    assert all(map(torch.equal, free.parameters(), limited.parameters()))


def test_the_order_of_images_is_reproducible_without_a_generator(level):
    default, zero = small(), small()
    train(default, level(20))
    train(zero, level(20), generator(0))
    assert all(map(torch.equal, default.parameters(), zero.parameters()))


@pytest.mark.parametrize(
    "run",
    [
        train,
        progressive_resizing,
        lambda model, level, **how: coarse_to_fine(model, [level], **how),
    ],
)
def test_an_optimizer_or_a_model_that_cannot_train_gets_one_sentence(run, level):
    model = small()
    with pytest.raises(TypeError, match=r"got a SGD\. Pass for instance partial\(torch\.optim\."):
        run(model, level(4), optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    for nothing in (nn.Flatten(), model.requires_grad_(False)):
        with pytest.raises(ValueError, match="no parameter that requires a gradient"):
            run(nothing, level(4))


@pytest.mark.parametrize("below", [-1, 1.5])
def test_a_number_of_coarser_grids_is_checked_by_its_name(below, level):
    with pytest.raises(ValueError, match=f"below must be .* or None, got {below}"):
        train(small(), level(4), below=below)


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
         "budget must be a number of images, 0 or more, got -1."),
        (lambda: Level(torch.zeros(2, 1, 4, 4), torch.zeros(2), 1.5),
         "budget must be a number of images, 0 or more, got 1.5."),
        (lambda: Level(torch.zeros(2, 1, 4, 4), torch.zeros(3), 1),
         "There must be one label for each of at least one image, got 3 labels for 2 images."),
        (lambda: Scheme("coarse"),
         "kind must be one of 'fine', 'joint', 'multilevel', got 'coarse'."),
        (lambda: Scheme("joint", (3, 4)),
         "batches of kind='joint' must be one positive number, got (3, 4)."),
        (lambda: Scheme("multilevel", (0, 4)),
         "batches of kind='multilevel' must be one positive number for each grid, got (0, 4)."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == sentence


@pytest.mark.parametrize("scheme", [Scheme("joint", (8,)), Scheme("multilevel", (2, 8))])
def test_a_budget_below_one_step_is_an_error(scheme, level):
    model = small()
    with pytest.raises(ValueError, match=r"budget=3 is too small: one step costs [0-9.]+ images"):
        train(model, level(3), generator(), scheme=scheme, below=1)
    for a, b in zip(model.parameters(), small().parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_is_in_training_mode_and_modes_are_restored(level):
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(128, 3),
    ).eval()  # fmt: skip
    model[2].train()
    seen = []
    model[1].register_forward_hook(lambda module, *_: seen.append(module.training))
    train(model, level(20), generator())
    assert any(seen) and int(model[1].num_batches_tracked) == sum(seen)
    assert [m.training for m in model.modules()] == [False, False, False, True, False, False]


@pytest.mark.parametrize("scheme", [Scheme(batches=(4,)), Scheme("joint", (4,))])
def test_a_loader_gives_the_same_training_as_its_batches(scheme, level):
    data = level(25)
    dataset = torch.utils.data.TensorDataset(data.images, data.labels)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4)
    ours, theirs = small(), small()
    spent = train(ours, BatchLevel(loader, 24), scheme=scheme, below=0)  # its order is its own
    descent, left = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9), 24
    while left:
        for images, labels in loader:
            images, labels = images[:left], labels[:left]
            if len(images):
                descent.zero_grad()
                F.cross_entropy(theirs(images), labels).backward()
                descent.step()
            left -= len(images)
    assert spent.images == (24,) and spent.shape == (1, 8, 8)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["Adam", "RMSprop", "Adagrad", "LBFGS", "Rprop", "ASGD"])
def test_any_optimizer_of_torch_trains(name, level):
    loss, model = Counting(), small()
    spent = train(model, level(60), generator(), optimizer=getattr(torch.optim, name), loss=loss)
    assert spent.images == (sum(loss.calls),) and spent.work >= 60
    assert not torch.equal(model[0].weight, small()[0].weight)


def test_one_module_under_two_names_is_trained(level):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(1, 1, 3, padding=1)
            self.b, self.head = self.a, nn.Linear(64, 3)

        def forward(self, x):
            return self.head(self.b(torch.tanh(self.a(x))).flatten(1))

    model = Twice()
    spent = train(model, level(20), generator(), scheme=Scheme("joint", (4,)), below=1)
    assert spent.steps == 4 and spent.flops > 0 and model.a is model.b
    copy.deepcopy(model)


def test_counting_that_fails_costs_no_training(level, monkeypatch):
    calls = Counting()

    def broken(*arguments):
        raise RuntimeError("no count")

    monkeypatch.setattr("mgcore.train.budgeted.image_flops", broken)
    with pytest.raises(RuntimeError, match="no count"):
        train(small(), level(20), generator(), loss=calls)
    assert not calls.calls


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: BatchLevel(iter([]), 3), "iterated only once"),
        (lambda: BatchLevel([], 3).shape, "no images"),
        (lambda: BatchLevel([], -1), "budget must be"),
    ],
)
def test_bad_batches_get_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("scheme", [Scheme(), Scheme("joint"), Scheme("multilevel", (2, 8))])
def test_images_are_moved_to_the_device_of_the_network(scheme, level):
    """The meta device stands for a GPU: images of the CPU would end in a raw error."""
    model = small().to("meta")
    spent = train(model, level(20), generator(), scheme=scheme, below=1)
    assert spent.steps > 0 and next(model.parameters()).is_meta
    whole = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).to("meta")
    resized, spent = progressive_resizing(whole, level(40), batch=4)
    assert spent.steps > 0 and next(resized.parameters()).is_meta


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("batches", [False, True])
def test_training_needs_no_gradients_of_the_caller(level, mode, batches):
    def images():
        if not batches:
            return level(20)
        return BatchLevel([(level(8).images, level(8).labels)], 16)

    expected, model = small(), small()
    train(expected, images(), generator())
    with mode():
        train(model, images(), generator())
    assert all(map(torch.equal, model.parameters(), expected.parameters()))


@pytest.mark.parametrize(
    "function",
    [refine, coarsen, minimize_trust_region, train, coarse_to_fine, fine_to_coarse],
    ids=lambda function: function.__name__,
)
def test_a_docstring_has_every_parameter_and_what_is_returned_and_raised(function):
    text = inspect.getdoc(function)
    sections = dict(re.findall(r"^(\w+)\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", text, re.S | re.M))
    assert {"Parameters", "Returns", "Raises"} <= set(sections)
    named = re.findall(r"^([\w, ]+?)(?: : .*)?$", sections["Parameters"], re.M)
    names = {name for entry in named for name in entry.split(", ")}
    assert set(inspect.signature(function).parameters) <= names
