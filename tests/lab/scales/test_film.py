"""Films: what moves in them, and how budgets are spent along space, time, or both."""

import math

import pytest
import torch

from mgcore.data.strokes import stroke_digits
from mgcore.lab.scales import film
from mgcore.lab.scales.film import (
    DIRECTIONS,
    WAYS,
    coarser,
    data,
    films,
    network,
    read_films,
    run_films,
)


@pytest.fixture(scope="module")
def few():
    return data(0, 48, 24)


def test_a_film_is_a_digit_that_moves_by_its_label(monkeypatch):
    monkeypatch.setattr(film, "NOISE", 0.0)
    x, y = films(20, 3)
    assert x.shape == (20, 1, 8, 16, 16) and set(y.tolist()) <= set(range(8))
    still, _ = stroke_digits(20, 16, seed=3)
    for one, label, picture in zip(x[:, 0], y.tolist(), still, strict=True):
        assert float(one[0].sum()) == pytest.approx(float(picture.sum()), rel=1e-5)
        for before, after in zip(one, one[1:], strict=False):
            assert torch.equal(after, before.roll(DIRECTIONS[label], (0, 1)))


def test_films_of_a_seed_are_always_the_same_and_noisy(few):
    again = data(0, 48, 24)
    assert torch.equal(few.training, again.training) and torch.equal(few.labels, again.labels)
    assert not torch.equal(data(1, 48, 24).training, few.training)
    assert float(few.training.mean()) == pytest.approx(0, abs=1e-5)
    assert float(few.training.std()) == pytest.approx(1, abs=1e-5)
    assert len(DIRECTIONS) == len(set(DIRECTIONS)) == 8


@pytest.mark.parametrize(("axes", "shape"), [((0,), (4, 6, 8)), ((1, 2), (8, 3, 4)),
                                             ((0, 1, 2), (4, 3, 4))])  # fmt: skip
def test_coarser_films_are_means_along_the_axes_that_are_asked_for(axes, shape, rng):
    x = torch.rand(2, 1, 8, 6, 8, generator=rng)
    found = coarser(x, axes)
    assert found.shape == (2, 1, *shape) and found.is_contiguous()
    sizes = [2 if axis in axes else 1 for axis in range(3)]
    mean = torch.nn.functional.avg_pool3d(x, sizes)
    torch.testing.assert_close(found, mean)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_way_spends_its_budget_along_its_axes(way, few):
    model, spent = film.spend(way, 64, few, 0)
    where, _ = WAYS[way]
    shares = [math.prod(one.shape[1:]) / (8 * 16 * 16) for one in spent]
    expected = {"": [1.0], "space": [0.25, 1.0], "time": [0.5, 1.0], "both": [0.125, 1.0]}[where]
    assert shares == expected
    work = sum(one.work * share for one, share in zip(spent, shares, strict=True))
    assert 62 < work <= 65
    if where:  # half of the steps, about, see coarse films
        films_seen = [one.images[0] for one in spent]
        assert films_seen[0] == pytest.approx(films_seen[1], rel=0.1)
    assert model(few.validation).shape == (24, 8)


def test_the_network_takes_films_of_any_grid_and_does_not_mind_where_the_digit_is():
    model = network()
    assert model(torch.zeros(2, 1, 4, 8, 8)).shape == (2, 8)
    film_ = torch.zeros(1, 1, 8, 16, 16)
    film_[..., 5:9, 5:9] = 1.0
    torch.testing.assert_close(model(film_.roll(2, -1)), model(film_), rtol=1e-4, atol=1e-6)


def test_one_run_has_a_point_for_each_way_and_budget(few):
    points = film.run_one(0, dict.fromkeys(WAYS, 0.01), (32,), few)["points"]
    assert [p["way"] for p in points] == list(WAYS)
    assert all(0 <= p["accuracy"] <= 100 for p in points)


def test_what_is_there_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(
        film, "run_one",
        lambda seed, rates: {"seed": seed, "points": [], "seconds": 1.0, "rates": rates},
    )  # fmt: skip
    monkeypatch.setattr(film, "pilot", lambda: {"fine only": {"0.01": 9.0, "0.1": 8.0}})
    run_films(tmp_path, workers=1, seeds=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "film-0.json", "film-1.json", "rates-film.json"
    ]  # fmt: skip
    assert [one["seed"] for one in read_films(tmp_path)] == [0, 1]
    assert all(one["rates"] == {"fine only": 0.01} for one in read_films(tmp_path))


def test_the_pilot_tries_every_rate_of_every_way(few, monkeypatch):
    monkeypatch.setattr(film, "RATES", (0.01, 1e30))
    found = film.pilot(few, (16, 32))
    assert set(found) == set(WAYS)
    assert all(set(of) == {"0.01", "1e+30"} for of in found.values())
    assert all(0 <= value <= 100 for of in found.values() for value in of.values())
