"""Progressive resizing: the published schedule by hand, and budgets."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mgcore.train.budgeted import SGD, Level, image_flops
from mgcore.train.progressive_resizing import composer_sizes, progressive_resizing


def pooled():
    torch.manual_seed(6)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(3, 2),
    )  # fmt: skip


def level(budget, n=16):
    images = torch.randn(12, 1, n, n, generator=torch.Generator().manual_seed(1))
    return Level(images, torch.arange(12) % 2, budget)


def test_the_default_schedule_by_hand():
    """At 0.6 and 0.7 of the time the scale is 2/3 and 5/6: 149.3 and 186.7, to multiples of 4."""
    assert composer_sizes(10, 224) == [112] * 6 + [148, 188, 224, 224]
    sizes = composer_sizes(100, 224)
    assert sizes[:51] == [112] * 51 and sizes[80:] == [224] * 20
    assert sizes == sorted(sizes) and all(n % 4 == 0 for n in sizes)


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"delay_fraction": 0.0, "finetune_fraction": 0.0, "size_increment": 1}, [8, 10, 12, 14]),
        ({"delay_fraction": 0.5, "finetune_fraction": 0.5}, [8, 8, 16, 16]),
        ({"initial_scale": 1.0}, [16] * 4),
        ({"initial_scale": 0.25}, [4, 4, 4, 16]),
    ],
)
def test_other_schedules(options, sizes):
    assert composer_sizes(4, 16, **options) == sizes


@pytest.mark.parametrize("budget", [0, 3, 20, 50])
def test_the_budget_buys_more_small_images(budget):
    model, spent = progressive_resizing(pooled(), level(budget), batch=4)
    assert spent.work <= budget
    sizes = composer_sizes(spent.steps, 16)
    assert sum(4 * (n / 16) ** 2 for n in sizes) <= budget
    longer = composer_sizes(spent.steps + 1, 16)
    assert sum(4 * (n / 16) ** 2 for n in longer) > budget
    counts = [4 * sizes.count(n) for n in sorted(set(sizes), reverse=True)]
    assert list(spent.images) == counts
    flops = [image_flops(model, (1, n, n)) for n in sorted(set(sizes), reverse=True)]
    assert spent.flops == sum(c * f for c, f in zip(counts, flops, strict=True))


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_it_is_sgd_on_shrunk_images(mode):
    start, data = pooled(), level(20)
    found, spent = progressive_resizing(start, data, batch=12, mode=mode)
    model, order = pooled(), torch.Generator().manual_seed(0)
    descent = SGD(model.parameters())
    for n in composer_sizes(spent.steps, 16):
        chosen = torch.randperm(12, generator=order)
        x = data.images[chosen]
        x = torch.nn.functional.interpolate(x, (n, n), mode=mode) if n < 16 else x
        descent.zero_grad()
        F.cross_entropy(model(x), data.labels[chosen]).backward()
        descent.step()
    assert spent.steps > 2
    for a, b, c in zip(*(m.parameters() for m in (found, model, start)), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: composer_sizes(4, 16, delay_fraction=0.9),
         "initial_scale=0.5, delay_fraction=0.9, finetune_fraction=0.2; accepted: numbers in "
         "[0, 1], the fractions of sum 1 at most."),
        (lambda: progressive_resizing(pooled(), level(9), mode="cubic"),
         "mode='cubic'; accepted: 'nearest' or 'bilinear'."),
        (lambda: progressive_resizing(
            pooled(), Level(torch.zeros(2, 1, 4, 8), torch.zeros(2).long(), 9)),
         "level has images of (1, 4, 8); accepted: square ones, (channels, n, n)."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == sentence


def test_a_network_of_one_size_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    with pytest.raises(ValueError, match=r"^model does not take images of 8×8 \(.*\); accepted:"):
        progressive_resizing(model, level(20))
