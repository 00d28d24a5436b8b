"""The ladder, against its rungs one by one."""

import pytest
import torch
from torch import nn

from mgcore import coarse_to_fine, coarsen, refine
from mgcore.data.strokes import stroke_digits
from mgcore.train.budgeted import Level, Scheme, train
from mgcore.train.resolution_ladder import fine_to_coarse


def small(n=7):
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(3 * n * n, 10)
    )


def levels(*sizes, budget=40):
    found = []
    for k, n in enumerate(sizes):
        images, labels = stroke_digits(24, n)
        found.append(Level(images[:, None], labels, budget + k))
    return found


def generator():
    return torch.Generator().manual_seed(0)


def equal(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("stencils", ["galerkin", "copy"])
@pytest.mark.parametrize("kind", ["bilinear", "constant"])
def test_climbing_is_training_and_refining_in_turn(stencils, kind):
    start, rungs = small(), levels(7, 14, 28)
    how = {"stencils": stencils, "prolongation": kind}
    found, spent = coarse_to_fine(start, rungs, **how)
    assert equal(start, small())  # the given network is left as it is
    model, order = small(), generator()
    for k, rung in enumerate(rungs):
        if k:
            model = refine(model, tuple(rungs[k - 1].images.shape[1:]), **how)
        train(model, rung, order)
    assert equal(found, model)
    assert [s.images for s in spent] == [(40,), (41,), (42,)]
    assert [s.shape for s in spent] == [(1, 7, 7), (1, 14, 14), (1, 28, 28)]


def test_descending_is_training_and_coarsening_in_turn():
    rungs = levels(14, 7)
    found, spent = fine_to_coarse(small(14), rungs)
    model, order = small(14), generator()
    train(model, rungs[0], order)
    model = coarsen(model, (1, 14, 14))
    train(model, rungs[1], order)
    assert equal(found, model) and [s.images for s in spent] == [(40,), (41,)]


def test_one_level_is_plain_sgd():
    (rung,) = levels(7)
    model = small()
    train(model, rung, generator())
    assert equal(coarse_to_fine(small(), [rung])[0], model)


@pytest.mark.parametrize(
    "scheme", [Scheme("multilevel", (2, 4, 8)), Scheme("joint", (4,), depth=2)]
)
def test_schemes_use_the_grids_of_the_rungs_below(scheme):
    """The hot start: one grid on the first rung, two on the second, three on the third."""
    _, spent = coarse_to_fine(small(4), levels(4, 8, 16), scheme=scheme)
    assert [len(s.images) for s in spent] == [1, 2, 3]
    assert all(s.work <= budget for s, budget in zip(spent, (40, 41, 42), strict=True))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: coarse_to_fine(small(14), levels(14, 7)),
         "Each level must be twice as fine as the level before, got images of (1, 14, 14) and "
         "then (1, 7, 7)."),
        (lambda: fine_to_coarse(small(), levels(7, 14)),
         "Each level must be half as fine as the level before, got images of (1, 7, 7) and then "
         "(1, 14, 14)."),
        (lambda: coarse_to_fine(small(), []), "levels must hold at least one level, got none."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == sentence
