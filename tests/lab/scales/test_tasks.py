"""The data of the tasks: digits drawn apart, and films of digits that move by their label."""

import pytest
import torch

from mgcore.data.strokes import stroke_digits
from mgcore.lab.scales.tasks import (
    DIRECTIONS,
    NOISE,
    coarsen_digits,
    coarsen_films,
    draw_digits,
    draw_films,
    draw_noisy_digits,
    film_network,
    moving_digits,
)


@pytest.mark.parametrize(
    ("draw", "shape"),
    [
        (lambda seed: draw_digits(seed, 64, 32, "strokes"), (28, 28)),
        (lambda seed: draw_films(seed, 64, 32), (8, 16, 16)),
    ],
    ids=["digits", "films"],
)
def test_data_depend_on_the_seed_alone_and_are_standardised(draw, shape):
    data = draw(0)
    assert data.training.shape == (64, 1, *shape) and data.validation.shape == (32, 1, *shape)
    assert float(data.training.mean()) == pytest.approx(0, abs=1e-5)
    assert float(data.training.std()) == pytest.approx(1, abs=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(data, draw(0), strict=True))
    assert not torch.equal(data.training, draw(1).training)


def test_a_film_shows_a_digit_that_moves_by_its_label():
    x, y = moving_digits(20, 3, noise=0.0)
    assert x.shape == (20, 1, 8, 16, 16) and set(y.tolist()) <= set(range(8))
    images, _ = stroke_digits(20, 16, seed=3)
    for film, label, image in zip(x[:, 0], y.tolist(), images, strict=True):
        assert float(film[0].sum()) == pytest.approx(float(image.sum()), rel=1e-5)
        for before, after in zip(film, film[1:], strict=False):
            assert torch.equal(after, before.roll(DIRECTIONS[label], (0, 1)))
    assert len(DIRECTIONS) == len(set(DIRECTIONS)) == 8


@pytest.mark.parametrize(("axes", "shape"), [((0,), (4, 6, 8)), ((1, 2), (8, 3, 4)),
                                             ((0, 1, 2), (4, 3, 4))])  # fmt: skip
def test_coarse_films_are_means_along_the_given_axes(axes, shape, rng):
    x = torch.rand(2, 1, 8, 6, 8, generator=rng)
    coarse = coarsen_films(x, axes)
    assert coarse.shape == (2, 1, *shape) and coarse.is_contiguous()
    sizes = [2 if axis in axes else 1 for axis in range(3)]
    torch.testing.assert_close(coarse, torch.nn.functional.avg_pool3d(x, sizes))


def test_noisy_digits_depend_on_the_seed_alone_and_have_white_noise():
    data = draw_noisy_digits(0, 64, 32)
    assert all(torch.equal(a, b) for a, b in zip(data, draw_noisy_digits(0, 64, 32), strict=True))
    noise = data.training - data.labels
    assert float(noise.std()) == pytest.approx(NOISE, rel=0.01)
    assert abs(float(noise.mean())) < 0.01 and 0 <= float(data.labels.min())
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean() / NOISE**2
    assert abs(float(neighbours)) < 0.02
    assert not torch.equal(data.labels[:32], data.validation_labels)


def test_digits_are_coarsened_along_both_axes_only(rng):
    with pytest.raises(ValueError, match=r"both axes, \(0, 1\); got \(1,\)"):
        coarsen_digits(torch.rand(2, 1, 4, 4, generator=rng), (1,))


def test_the_film_network_takes_any_grid_and_ignores_the_digits_position():
    model = film_network(16)
    assert model(torch.zeros(2, 1, 4, 8, 8)).shape == (2, 8)
    film = torch.zeros(1, 1, 8, 16, 16)
    film[..., 5:9, 5:9] = 1.0
    torch.testing.assert_close(model(film.roll(2, -1)), model(film), rtol=1e-4, atol=1e-6)
