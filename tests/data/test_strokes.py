"""The stroke digits: continuous functions, sampled; neither trivial nor noise."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mgcore.data import strokes
from mgcore.data.strokes import _GLYPHS, _draw, _sample, _templates, _uniform, stroke_digits


def test_shapes_dtypes_range_and_labels():
    images, labels = stroke_digits(600, seed=3)
    assert images.shape == (600, 28, 28) and images.dtype == torch.float32
    assert labels.shape == (600,) and labels.dtype == torch.int64
    assert images.min() >= 0 and images.max() <= 1
    assert stroke_digits(2, dtype=torch.float64)[0].dtype == torch.float64
    peaks = images.amax((1, 2))
    assert peaks.min() > 0.6  # every image has ink
    assert 0.08 < images.mean() < 0.16  # 0.13 on MNIST
    border = torch.cat([images[:, [0, -1]].flatten(1), images[:, :, [0, -1]].flatten(1)], 1)
    assert (border.amax(1) > 0.1).float().mean() < 0.05  # strokes stay within the picture


def test_processes_that_take_denormal_numbers_for_zero_draw_the_same():
    """A worker does, and a cell far from every stroke would hold one."""
    kept = stroke_digits(50, 16)[0]
    assert (kept[kept != 0] >= torch.finfo(torch.float32).tiny).all() and (kept == 0).any()
    torch.set_flush_denormal(True)
    assert torch.equal(stroke_digits(50, 16)[0], kept)
    assert torch.equal(kept.double().float(), kept)


def test_labels_are_uniform():
    uniform = _uniform(0, 0, 5000)
    assert uniform.min() >= 0 and uniform.max() < 1
    counts = _draw(uniform)[0].bincount(minlength=10)
    assert ((counts - 500) ** 2 / 500).sum() < 27.9  # chi squared, 9 degrees of freedom, 0.1 %


def test_every_handwriting_is_used_and_stands_with_its_digit():
    digits, points, ends = _templates()
    assert sorted(digits) == list(digits) and set(digits) == set(range(10))
    assert np.allclose(ends.sum(-1), 1)  # each end is an affine combination of control points
    assert len(points) == len(_GLYPHS) and len(points) == len(ends)
    # Without randomness a label's strokes are those of its own handwriting.
    uniform = torch.full((len(_GLYPHS), 56), 0.5, dtype=torch.float64)
    for row, digit in enumerate(digits):
        place = row - int(np.argmax(digits == digit))
        uniform[row, 0] = (digit + 0.5) / 10
        uniform[row, 1] = (place + 0.5) / np.sum(digits == digit)
    labels, pieces, _, _ = _draw(uniform)
    assert labels.tolist() == digits.tolist()
    height = pieces[..., 1].amax((1, 2)) - pieces[..., 1].amin((1, 2))
    width = pieces[..., 0].amax((1, 2)) - pieces[..., 0].amin((1, 2))
    assert torch.allclose(height, torch.full_like(height, 0.57), rtol=0.05)
    assert (height > width).all()
    apart = torch.cdist(pieces.flatten(1), pieces.flatten(1), p=math.inf).fill_diagonal_(1)
    assert apart.min() > 0.01


def test_rows_run_downwards_and_columns_to_the_right():
    images, labels = stroke_digits(1500, seed=2)
    # A seven has its bar at the top, a six its bowl at the bottom.
    seven, six = images[labels == 7].mean(0), images[labels == 6].mean(0)
    assert seven[:14].sum() > 1.2 * seven[14:].sum()
    assert six[14:].sum() > 1.2 * six[:14].sum()
    # A three is open to the left; a five turns left above and right below.
    three, five = images[labels == 3].mean(0), images[labels == 5].mean(0)
    assert three[:, 14:].sum() > 1.5 * three[:, :14].sum()
    assert five[7:14, :14].sum() > 1.1 * five[7:14, 14:].sum()
    assert five[14:21, 14:].sum() > 1.5 * five[14:21, :14].sum()


def test_cell_means_approach_coarse_samples_at_second_order():
    grids = [14, 28, 56, 112, 224]
    errors = []
    for n in grids:
        coarse = stroke_digits(40, n, dtype=torch.float64)[0]
        fine = stroke_digits(40, 2 * n, dtype=torch.float64)[0]
        means = F.avg_pool2d(fine[:, None], 2)[:, 0]
        errors.append((means - coarse).square().mean().sqrt().item())
    slopes = [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]
    # From 28 on, where the strokes are resolved; on the way there it grows towards 2.
    fit = -np.polyfit(np.log(grids[1:]), np.log(errors[1:]), 1)[0]
    assert fit == pytest.approx(2, abs=0.05)
    assert slopes[-1] == pytest.approx(2, abs=0.01)
    assert slopes == sorted(slopes) and slopes[0] > 1.7


def test_odd_refinement_shares_cell_centres():
    """On a grid of 3 n cells the middle of each 3 x 3 block is a cell centre of n cells."""
    for n in (5, 14, 28):
        coarse = stroke_digits(20, n, seed=9, dtype=torch.float64)[0]
        fine = stroke_digits(20, 3 * n, seed=9, dtype=torch.float64)[0]
        assert torch.allclose(fine[:, 1::3, 1::3], coarse, rtol=0, atol=1e-12)


def test_ink_follows_its_formula():
    """The separated sum is the integral over the strokes, written out piece by piece."""
    _, pieces, sigma, ink = _draw(_uniform(4, 0, 3))
    n = 9
    images = _sample(pieces, sigma, ink, n)
    for b in range(3):
        for i, j in [(0, 0), (4, 4), (2, 6), (6, 3)]:
            x = np.array([(j + 0.5) / n, (i + 0.5) / n])
            dose = 0.0
            for p, q in zip(pieces[b, 0].numpy(), pieces[b, 1].numpy(), strict=True):
                s, square = sigma[b].item(), np.sum((x - (p + q) / 2) ** 2)
                dose += math.dist(p, q) * math.exp(-square / (2 * s * s)) / s
            expected = 1 - math.exp(-ink[b].item() * dose / math.sqrt(2 * math.pi))
            assert images[b, i, j].item() == pytest.approx(expected, abs=1e-12)


def test_straight_stroke_has_the_profile_of_a_gaussian_pen():
    """Across a long line at x = 1/2, ink is 1 - exp(-c exp(-d^2 / 2 sigma^2))."""
    y = torch.linspace(-0.5, 1.5, 65, dtype=torch.float64)
    line = torch.stack([torch.full_like(y, 0.5), y], -1)
    pieces = torch.stack([line[:-1], line[1:]])[None]
    sigma, ink = torch.tensor([0.03]).double(), torch.tensor([2.5]).double()
    image = _sample(pieces, sigma, ink, 28)[0]
    d = (torch.arange(28, dtype=torch.float64) + 0.5) / 28 - 0.5
    profile = 1 - torch.exp(-2.5 * torch.exp(-(d**2) / (2 * 0.03**2)))
    assert torch.allclose(image, profile.expand(28, 28), atol=1e-6)


def test_pieces_are_short_against_the_pen():
    """Then the midpoint rule, off by 2 exp(-2 pi^2 (sigma / length)^2), shows no beads."""
    _, pieces, sigma, _ = _draw(_uniform(0, 0, 5000))
    longest = (pieces[:, 1] - pieces[:, 0]).norm(dim=-1).amax(1) / sigma
    assert longest.median() < 1.1 and longest.quantile(0.99) < 2 and longest.max() < 2.5


def test_images_are_near_the_limit_of_many_pieces(monkeypatch):
    images, _ = stroke_digits(200)
    monkeypatch.setattr(strokes, "_SEGMENTS", 640)
    _templates.cache_clear()
    limit, _ = stroke_digits(200)
    _templates.cache_clear()
    assert (images - limit).abs().amax((1, 2)).median() < 0.015
    assert (images - limit).abs().max() < 0.06


@pytest.mark.parametrize("dtype,atol", [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_images_do_not_depend_on_how_the_sequence_is_cut(dtype, atol):
    images, labels = stroke_digits(500, 13, seed=6, start=7, dtype=dtype)
    again, same = stroke_digits(500, 13, seed=6, start=7, dtype=dtype)
    assert torch.equal(images, again) and torch.equal(labels, same)
    for start, count in [(7, 1), (8, 3), (100, 400), (506, 1)]:
        part, part_labels = stroke_digits(count, 13, seed=6, start=start, dtype=dtype)
        at = slice(start - 7, start - 7 + count)
        assert torch.equal(labels[at], part_labels)
        assert torch.allclose(images[at], part, rtol=0, atol=atol)


def test_grid_seed_and_global_settings():
    images, labels = stroke_digits(50, 28, seed=1)
    for n in (4, 7, 14, 31, 56):
        other, other_labels = stroke_digits(50, n, seed=1)
        assert other.shape == (50, n, n) and torch.equal(labels, other_labels)
    different, different_labels = stroke_digits(50, 28, seed=2)
    assert not torch.equal(labels, different_labels)
    assert (images - different).abs().amax((1, 2)).min() > 0.2
    later, _ = stroke_digits(50, 28, seed=1, start=50)
    assert (images - later).abs().amax((1, 2)).min() > 0.2
    torch.manual_seed(123), np.random.seed(123)
    with torch.device("meta"):
        again, _ = stroke_digits(50, 28, seed=1)
    assert torch.equal(images, again)
    assert stroke_digits(0)[0].shape == (0, 28, 28)
    assert stroke_digits(1, seed=2**64 - 1, start=2**64 - 1)[0].isfinite().all()
    assert torch.equal(stroke_digits(np.int64(2), np.int32(28), seed=1)[0], images[:2])


def test_random_numbers_are_pinned():
    """The first images of seed 0 stay what they are: records depend on them."""
    images, labels = stroke_digits(12, 14, dtype=torch.float64)
    assert labels.tolist() == [0, 2, 6, 6, 2, 0, 8, 9, 7, 4, 3, 6]
    means = [0.154447673363, 0.124397944842, 0.160976839724, 0.135424314371]
    assert images.mean((1, 2))[:4].tolist() == pytest.approx(means, abs=1e-9)


@pytest.mark.parametrize(
    "arguments,message",
    [
        (dict(count=-1), "count must be an integer at least 0"),
        (dict(count=2.5), "count must be an integer at least 0"),
        (dict(count=True), "count must be an integer at least 0"),
        (dict(count="many"), "count must be an integer at least 0"),
        (dict(count=1, resolution=3), "resolution must be an integer at least 4"),
        (dict(count=1, resolution=28.0), "resolution must be an integer at least 4"),
        (dict(count=1, seed=-1), "seed must be an integer from 0 to 2**64 - 1"),
        (dict(count=1, seed=2**64), "seed must be an integer from 0 to"),
        (dict(count=1, seed=None), "seed must be an integer from 0 to"),
        (dict(count=1, start=-5), "start must be an integer from 0 to 2**64 - 1"),
        (
            dict(count=1, dtype=torch.float16),
            "dtype must be torch.float32 or torch.float64, got torch.float16",
        ),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        stroke_digits(**arguments)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def _linear_accuracy(train: int, test: int, iterations: int) -> float:
    """Accuracy on new images of multinomial logistic regression with a small penalty."""
    images, labels = stroke_digits(train, seed=5)
    weight = torch.zeros(10, 785, requires_grad=True)
    flat = F.pad(images.flatten(1), (0, 1), value=1.0)
    optimiser = torch.optim.LBFGS([weight], max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(flat @ weight.T, labels) + 1e-4 * weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    images, labels = stroke_digits(test, seed=5, start=10**6)
    scores = F.pad(images.flatten(1), (0, 1), value=1.0) @ weight.detach().T
    return (scores.argmax(1) == labels).float().mean().item()


def test_linear_classifier_gets_most_but_not_all():
    assert 0.80 < _linear_accuracy(2500, 2000, 60) < 0.95


@pytest.mark.slow
@pytest.mark.parametrize("pooling", [True, False])
def test_small_cnn_gets_nearly_all(pooling):
    images, labels = stroke_digits(10_000)
    new, new_labels = stroke_digits(2000, start=10**6)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3, padding=1, bias=False),
        torch.nn.ReLU(),
        torch.nn.AvgPool2d(2) if pooling else torch.nn.Identity(),
        torch.nn.Conv2d(32, 64, 3, padding=1, bias=False),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(64 * (14 if pooling else 28) ** 2, 10),
    )
    optimiser = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    for rate in (0.02, 0.02, 0.005):
        optimiser.param_groups[0]["lr"] = rate
        for batch in torch.randperm(len(images)).split(32):
            optimiser.zero_grad()
            F.cross_entropy(network(images[batch, None]), labels[batch]).backward()
            optimiser.step()
    with torch.no_grad():
        guesses = torch.cat([network(part[:, None]).argmax(1) for part in new.split(200)])
    assert (guesses == new_labels).float().mean() > 0.97
