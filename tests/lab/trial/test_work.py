"""The work of a trial, against hand arithmetic and against what a trial does."""

import pytest

from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.lab.trial import figure_arrays, measures
from mgcore.lab.trial.trial import run_trial
from mgcore.lab.trial.work import (
    Phase,
    figures_work,
    flops,
    image_steps,
    phase_work,
    phases,
    trial_work,
)  # fmt: skip


def images(work, operation, side=28):
    return sum(n for p, n in work.items() if p.operation == operation and p.resolution == side)


def test_flops_of_table_4_1_equal_hand_arithmetic():
    protocol = Protocol.printed()
    coarse, *fine = phases(protocol)
    # One image forward at 28×28: 784 cells × 9 × (32 + 32·64) products, and 50,176 × 10.
    image = 2 * (784 * 9 * (32 + 32 * 64) + 50_176 * 10)
    step = 3 * image - 2 * 784 * 9 * 32
    assert fine == [Phase("fine", "sgd", 10_000, 10)] * 3
    work = phase_work(protocol, fine[0])
    assert images(work, "step") == 9_984 * 10  # 312 whole minibatches an epoch
    assert images(work, "forward") == 3 * 20_000 + 8 * 2_000  # all images at epochs 0, 1 and 10
    assert flops(work) == 9_984 * 10 * step + (3 * 20_000 + 8 * 2_000) * image
    assert images(phase_work(protocol, coarse), "step", 14) == 40_000 * 20
    # Beside evaluating the phases: measures, and the validation images in the other preparation.
    points = measures.DIRECTIONS * 34 * measures.LOSS_IMAGES["paper"]
    assert images(trial_work(protocol), "forward") == 3 * 76_000 + 2 * points + 3 * 10_000


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
    points = figure_arrays.SIDE["paper"] ** 2 * figure_arrays.SURFACE_IMAGES["paper"]
    work = figures_work(Protocol.printed())
    assert (images(work, "forward"), images(work, "forward", 14)) == (2 * points, points)
    assert measures.DIRECTIONS == 4


def test_image_steps_are_what_the_bar_is_told(tiny):
    for arms in (CONDITIONS, ("new",), ("new", "transfer")):
        ticks = []
        run_trial(tiny(), 0, conditions=arms, tick=ticks.append)
        assert sum(ticks) == image_steps(tiny(), arms)
    assert image_steps(tiny()) == 24 * 3 + 3 * 16 * 3


@pytest.mark.parametrize("retraining", ["classifier", "joint"])
def test_image_steps_count_both_stages(tiny, retraining):
    protocol, ticks = tiny(retraining=retraining, classifier_epochs=2, newton="meganet"), []
    run_trial(protocol, 0, tick=ticks.append)
    assert sum(ticks) == image_steps(protocol) == 24 * 3 + 3 * 16 * (2 + 3)
