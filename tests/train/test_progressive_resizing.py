"""Progressive resizing: the published schedule by hand, and budgets."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mgcore.train.budgeted import SGD, Level, image_flops
from mgcore.train.progressive_resizing import _affordable, composer_sizes, progressive_resizing


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
        ({"initial_scale": 0.01, "delay_fraction": 1.0, "finetune_fraction": 0.0}, [4] * 4),
        ({"size_increment": 64}, [16] * 4),
    ],
)
def test_other_schedules(options, sizes):
    assert composer_sizes(4, 16, **options) == sizes


@pytest.mark.parametrize("budget", [0, 4, 20, 50])
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
         "initial_scale, delay_fraction and finetune_fraction must be in [0, 1], and the two "
         "fractions add up to 1 at most, got 0.5, 0.9 and 0.2."),
        (lambda: progressive_resizing(pooled(), level(9), mode="cubic"),
         "mode must be 'nearest' or 'bilinear', got 'cubic'."),
        (lambda: progressive_resizing(
            pooled(), Level(torch.zeros(2, 1, 4, 8), torch.zeros(2).long(), 9)),
         "level must have square images, (channels, n, n), got images of (1, 4, 8)."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == sentence


def test_a_network_of_one_size_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    with pytest.raises(
        ValueError, match=r"^model does not take images of 8×8 \(.*\)\. Use a network"
    ):
        progressive_resizing(model, level(20))


def test_a_schedule_that_never_grows_ends_within_its_budget():
    options = {"initial_scale": 0.01, "delay_fraction": 1.0, "finetune_fraction": 0.0}
    _, spent = progressive_resizing(pooled(), level(8), batch=4, size_increment=8, **options)
    assert spent.steps == 8 and spent.images == (32,) and spent.work == 8


def test_the_longest_schedule_is_found_for_every_budget():
    for full, options in ((16, {}), (28, {"initial_scale": 0.3}), (12, {"delay_fraction": 0.0})):
        for budget in (0.2, 1, 7.5, 40, 333):

            def cost(steps, full=full, options=options):
                return sum((n / full) ** 2 for n in composer_sizes(steps, full, **options))

            steps = len(_affordable(budget, full, options))
            assert cost(steps) <= budget + 1e-9 < cost(steps + 1)


def test_the_copy_is_trained_in_training_mode_and_a_small_budget_is_an_error():
    model = nn.Sequential(nn.BatchNorm2d(1), *pooled()).eval()
    found, spent = progressive_resizing(model, level(20), batch=4)
    assert int(found[0].num_batches_tracked) == spent.steps and not found.training
    assert int(model[0].num_batches_tracked) == 0
    with pytest.raises(ValueError, match="budget=1 is too small for one step of 32 images"):
        progressive_resizing(model, level(1))
