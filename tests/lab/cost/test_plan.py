"""Predicted cost, against counts of operations and of work made another way."""

import pytest

from mgcore.lab.cost.bench import trial_flops
from mgcore.lab.cost.plan import figures_work, pieces, predict, trial_work
from mgcore.lab.cost.prices import Prices
from mgcore.lab.protocol import Protocol
from mgcore.lab.trial import figure_arrays as keepsakes
from mgcore.lab.trial import measures
from mgcore.thesis.network import forward_flops, step_flops


def images(work, what, side=28):
    return sum(n for piece, n in work.items() if piece.what == what and piece.resolution == side)


def flat(protocols, each=1e-3, startup=0.0, processes=1):
    """Prices that are the same for every piece."""
    return Prices({piece: each for piece in pieces(protocols)}, startup, processes)


@pytest.mark.parametrize("pooling", [False, True])
def test_training_and_evaluation_are_those_that_the_rates_count(pooling):
    protocol = Protocol.printed(pooling=pooling)
    work, flops = trial_work(protocol), trial_flops(protocol)
    for grid, side in (("coarse", 14), ("fine", 28)):
        assert images(work, "step", side) * step_flops(side, pooling) == flops[grid, "training"]
        measured = flops[grid, "evaluation"] / forward_flops(side, pooling)
        beyond = images(work, "forward", side) - measured
        assert 0 < beyond < measured  # what is measured beside accuracy and loss


def test_a_coarse_network_that_is_there_is_not_trained():
    protocol = Protocol.printed()
    with_it, without = trial_work(protocol), trial_work(protocol, coarse=False)
    assert images(without, "step", 14) == 0 < images(with_it, "step", 14)
    assert images(without, "step") == images(with_it, "step")


def test_newtons_work_is_counted():
    """A pass over the images in minibatches costs several times what SGD does."""
    joint = {"retraining": "joint", "pooling": True}
    sgd, work, whole = (
        trial_work(Protocol.printed(**changes))
        for changes in ({"pooling": True}, joint, joint | {"newton_epoch": "pass"})
    )
    assert images(whole, "local") == images(sgd, "step")
    assert images(whole, "product") > images(whole, "local") > images(work, "local") > 0
    # In the work of an epoch of SGD, by the protocol's own prices, fits one.
    units = images(work, "local") + images(work, "value") / 3 + 2 * images(work, "product")
    assert units == pytest.approx(images(sgd, "step"))
    classifier = trial_work(Protocol.printed(retraining="classifier"))
    assert images(classifier, "pass") > 3 * 5 * 10_000 and images(classifier, "features") == 30_000
    package = trial_work(Protocol.printed(retraining="joint", newton="meganet"))
    assert images(package, "features") == 3 * (1 + 10) * 10_000
    assert images(package, "step") == 3 * 10 * 10_000


def test_figures_are_points_of_three_planes():
    points = keepsakes.SIDE["paper"] ** 2 * keepsakes.SURFACE_IMAGES["paper"]
    work = figures_work(Protocol.printed())
    assert (images(work, "forward"), images(work, "forward", 14)) == (2 * points, points)
    assert measures.DIRECTIONS == 4


def test_time_is_that_of_whole_rounds_of_trials_and_of_one_set_of_figures():
    protocol = Protocol.printed()
    each = sum(trial_work(protocol).values()) * 1e-3
    figures = sum(figures_work(protocol).values()) * 1e-3
    for trials, processes, rounds in ((1, 1, 1), (4, 1, 4), (4, 2, 2), (5, 2, 3), (1, 2, 1)):
        prices = flat([protocol], startup=2.0, processes=processes)
        cost = predict([(protocol, trials)], prices, set())
        assert cost.seconds == pytest.approx(rounds * each + figures + 4.0)
        assert cost.memory_gib == pytest.approx(
            min(trials, processes) * predict([(protocol, 1)], prices, set()).memory_gib
        )


def test_coarse_networks_serve_the_studies_after_the_first():
    first, second = Protocol.printed(), Protocol.printed(fine_training="prolonged")
    other, prices, trained = Protocol.printed(pooling=True), None, set()
    prices = flat([first, second, other])
    one = predict([(first, 2)], prices, trained)
    two = predict([(second, 2)], prices, trained)
    saved = 2e-3 * (images(trial_work(first), "step", 14) + 3 * 50_000 + 18 * 2_000)
    assert one.seconds - two.seconds == pytest.approx(saved)
    assert len(trained) == 2
    more = predict([(second, 4)], prices, trained)
    assert more.seconds > 2 * two.seconds and len(trained) == 4
    predict([(other, 1)], prices, trained)
    assert len(trained) == 5


def test_memory_is_within_what_the_book_promises():
    """1.2 GiB a process by stochastic gradients, 3 GiB in the classifier's Newton phase."""
    for changes, most in (({}, 1.2), ({"retraining": "classifier"}, 3.0)):
        protocol = Protocol.printed(**changes)
        assert 0.5 < predict([(protocol, 1)], flat([protocol]), set()).memory_gib < most
