"""Training with a budget: each strategy uses its budget and no more."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mgcore.grids import restrict
from mgcore.lab.scales import work_grid
from mgcore.lab.scales.kernel_maps import partial_galerkin
from mgcore.lab.scales.strategies import COARSE_SHARE, STRATEGIES, Strategy
from mgcore.lab.scales.tasks import TASKS, accuracy, draw_digits, draw_films, draw_noisy_digits
from mgcore.lab.scales.work_grid import train_with_budget
from mgcore.lab.trial.phases import stream
from mgcore.train.budgeted import Level
from mgcore.train.resolution_ladder import coarse_to_fine

POOLED = TASKS["pooled"]
DATA = {"pooled": "images", "film": "films", "unet": "noisy", "filter": "noisy"}  # fixtures


@pytest.fixture(scope="module")
def images():
    return draw_digits(0, 64, 32, "strokes")


@pytest.fixture(scope="module")
def films():
    return draw_films(0, 48, 24)


@pytest.fixture(scope="module")
def noisy():
    return draw_noisy_digits(0, 256, 16)


def test_the_coarse_share_is_composers_default():
    """Half of the steps at half the size: of 1,000 steps, 500 cost a quarter."""
    assert COARSE_SHARE == pytest.approx(500 / 4 / (500 / 4 + 500)) == 0.2


@pytest.mark.parametrize(
    ("task", "name"),
    [(task, name) for task in DATA for name in TASKS[task].strategies],
)
def test_a_strategy_uses_its_budget_and_no_more(task, name, request):
    """The work is within a step of the budget, with coarse inputs counted by their cells."""
    data = request.getfixturevalue(DATA[task])
    strategy = TASKS[task].strategies[name]
    model, spent = train_with_budget(strategy, TASKS[task], 96, data, 0, 0.01)
    cells = math.prod(data.training.shape[2:])
    shares = [math.prod(one.shape[1:]) / cells for one in spent]
    coarse = [0.5 ** len(strategy.coarse_axes)] if strategy.coarse_share else []
    assert shares == [*coarse, 1.0]
    work = sum(one.work * share for one, share in zip(spent, shares, strict=True))
    assert 96 - 40 < work <= 96 + (1 if task == "film" else 1e-9)
    if name == "fine only":
        assert work == 96
    if task == "film" and coarse:  # about half of the inputs are coarse
        assert spent[0].images[0] == pytest.approx(spent[1].images[0], rel=0.1)
    outputs = {"film": (8,), "pooled": (10,)}.get(task, data.validation.shape[1:])
    assert model(data.validation).shape == (len(data.validation), *outputs)


def test_the_grids_of_a_multilevel_gradient_are_as_many_as_its_batches(noisy, monkeypatch):
    train, asked = work_grid.train, []
    monkeypatch.setattr(
        work_grid, "train", lambda *a, **k: asked.append(train(*a, **k)) or asked[-1]
    )
    task = TASKS["unet"]
    train_with_budget(task.strategies["multilevel, copied"], task, 35, noisy, 0, 0.01)
    _, spent = asked  # a fifth of the work on the coarse grid, and one step
    assert [n / spent.steps for n in spent.images] == [8, 8 + 32, 32 + 128]


def test_a_task_without_a_rate_of_its_own_asks_for_one(noisy):
    with pytest.raises(ValueError, match="Pass one as rate"):
        train_with_budget(STRATEGIES["copied"], TASKS["unet"], 96, noisy, 0)


@pytest.mark.parametrize("name", ["unet", "filter"])
def test_the_score_of_noisy_digits_is_the_noise_that_is_removed(name, noisy):
    task = TASKS[name]
    assert task.score(nn.Identity(), noisy.validation, noisy.validation_labels) == pytest.approx(0)
    model, _ = train_with_budget(task.strategies["fine only"], task, 400, noisy, 0, 0.1)
    assert task.score(model, noisy.validation, noisy.validation_labels) > 5


@pytest.mark.parametrize("name", ["fine only", "copied", "multilevel, copied"])
def test_with_decay_the_rate_falls_linearly_with_the_work_of_both_grids(name):
    task, rates = TASKS["resnet-decay"], []
    images = draw_digits(0, 640, 2, "strokes")  # more than are needed: every batch is whole
    # 320 images of work: coarse steps of 32/4 = 8, fine ones of 32, multilevel ones of 18.
    noted = register_optimizer_step_pre_hook(
        lambda descent, *_: rates.append(descent.param_groups[0]["lr"])
    )
    train_with_budget(task.strategies[name], task, 320, images, 0, 0.5)
    noted.remove()
    work, expected = 0.0, []
    coarse = {"fine only": 0}.get(name, 8)
    fine = {"multilevel, copied": 18}.get(name, 32)
    for each in [8] * coarse + [fine] * (len(rates) - coarse):
        expected.append(0.5 * (1 - work / 320))
        work += each
    step = 0.5 * fine / 320  # the budget is no whole number of fine steps
    np.testing.assert_allclose(rates, expected, atol=0.25 * step, rtol=0)
    assert len(rates) == coarse + -(-(320 - 8 * coarse) // fine) - (fine == 18)


def test_strategies_share_their_coarse_network(images, monkeypatch):
    """Strategies differ only in the transfer of the coarse network."""
    coarse = []
    refine = work_grid.refine

    def recording(model, shape, **options):
        coarse.append([p.clone() for p in model.parameters()])
        assert tuple(shape) == restrict(images.training).shape[1:]
        return refine(model, shape, **options)

    monkeypatch.setattr(work_grid, "refine", recording)
    a, b, c = (
        train_with_budget(STRATEGIES[name], POOLED, 40, images, 3)[0].conv1.weight
        for name in ("copied", "Galerkin, bilinear", "Galerkin, constant")
    )
    assert all(torch.equal(p, q) for p, q in zip(coarse[0], coarse[1], strict=True))
    assert not torch.equal(a, b) and not torch.equal(b, c)


def test_a_strategy_takes_the_steps_of_coarse_to_fine(images):
    strategy, budget, seed = STRATEGIES["Galerkin, constant"], 96, 3
    model, spent = train_with_budget(strategy, POOLED, budget, images, seed)
    torch.manual_seed(seed)
    coarse = int(budget * strategy.coarse_share)
    levels = [
        Level(restrict(images.training), images.labels, 4 * coarse),
        Level(images.training, images.labels, budget - coarse),
    ]
    sgd = partial(
        torch.optim.SGD, lr=POOLED.coarse_rate, momentum=work_grid.MOMENTUM, nesterov=True
    )
    reference, reference_spent = coarse_to_fine(
        POOLED.network(14), levels, stencils="galerkin", prolongation="constant",
        optimizer=sgd, generator=stream(seed, budget, "order"),
    )  # fmt: skip
    for (name, a), b in zip(model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)
    assert [one.images for one in spent] == [one.images for one in reference_spent]


@pytest.mark.parametrize(("exponent", "name"), [(1.0, "Galerkin, bilinear"), (0.0, "copied")])
def test_kernel_maps_end_in_the_two_transfers_of_refine(exponent, name, images):
    mapped = Strategy(stencils="copy", kernel_map=partial_galerkin(exponent))
    a, b = (
        train_with_budget(strategy, POOLED, 96, images, 3)[0].state_dict()
        for strategy in (STRATEGIES[name], mapped)
    )
    for key, w in a.items():
        torch.testing.assert_close(b[key], w, rtol=1e-3, atol=1e-4)


def test_accuracy_is_the_share_of_correct_classes(images):
    class Constant(torch.nn.Module):
        def forward(self, x):
            return torch.eye(10)[3].expand(len(x), -1)

    expected = 100 * float((images.validation_labels == 3).double().mean())
    assert accuracy(Constant(), images.validation, images.validation_labels, 7) == expected
