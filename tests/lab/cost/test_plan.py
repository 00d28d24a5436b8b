"""Predicted cost: of studies, of chapters one after another, and which tier fits an hour."""

from pathlib import Path

import pytest

from mgcore.lab.cost import plan, rates
from mgcore.lab.cost.plan import (
    Cost,
    PlanRow,
    Prices,
    check,
    fits_an_hour,
    measure_prices,
    pieces,
    plan_book,
    predict,
    read_check,
    spell,
)  # fmt: skip
from mgcore.lab.cost.rates import seconds_per_image
from mgcore.lab.protocol import Protocol
from mgcore.lab.protocol.studies import CHAPTERS, STUDIES, study_protocol
from mgcore.lab.trial.work import Piece, figures_work, trial_work

RECORDED = Path(__file__).resolve().parents[3] / "book" / "records" / "bench" / "plan.json"
OPERATIONS = ("step", "forward", "prepare", "features", "pass", "local", "value", "product")


def images(work, operation, side=28):
    return sum(n for p, n in work.items() if p.operation == operation and p.resolution == side)


def flat(protocols, each=1e-3, startup=0.0, processes=1):
    """Prices that are the same for every piece."""
    return Prices({piece: each for piece in pieces(protocols)}, startup, processes)


def test_recorded_predictions_are_within_a_factor_of_1_5():
    outcome, _ = read_check(RECORDED)
    assert outcome
    for chapter, (predicted, actual) in outcome.items():
        assert 1 / 1.5 < actual / predicted < 1.5, chapter


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_has_a_price(operation):
    assert 0 < seconds_per_image(Piece(operation, 8, True, "float64"), 0.0) < 1


def test_the_studies_consist_of_these_operations():
    needed = pieces(study_protocol(study, "class") for study in STUDIES)
    assert {piece.operation for piece in needed} == set(OPERATIONS)
    assert {piece.resolution for piece in needed} == {14, 28}


def test_a_price_is_for_one_image(monkeypatch):
    """A call takes a second for ten images."""
    clock = iter(range(1000))
    monkeypatch.setattr(rates, "_operation", lambda piece: (lambda: None, 10))
    monkeypatch.setattr(rates.time, "perf_counter", lambda: next(clock))
    assert seconds_per_image(Piece("step", 8, True, "float64"), 0.0) == pytest.approx(0.1)


@pytest.mark.parametrize("processes", [1, 2])
def test_prices_are_measured_in_processes_at_once(processes):
    wanted = [Piece("forward", 8, True, "float64"), Piece("value", 8, False, "float32")]
    found = measure_prices(wanted, processes, budget=0.02)
    assert set(found.seconds) == set(wanted) and found.processes == processes
    assert all(0 < seconds < 1 for seconds in found.seconds.values()) and found.startup >= 0


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


def book_prices(tier, each):
    dataset = "strokes" if tier == "smoke" else "mnist"
    return flat([study_protocol(s, tier, dataset) for s in STUDIES], each, processes=2)


def test_every_study_belongs_to_one_chapter():
    assert sorted(study for studies in CHAPTERS.values() for study in studies) == sorted(STUDIES)


def test_a_chapter_is_the_sum_of_its_studies():
    rows = plan_book(("class",), prices=book_prices("class", 1e-4))
    assert [row.chapter for row in rows if row.study is None] == list(CHAPTERS)
    for chapter, studies in CHAPTERS.items():
        whole, *each = (row for row in rows if row.chapter == chapter)
        assert [row.study for row in each] == list(studies) and whole.trials == 3
        assert whole.cost.seconds == pytest.approx(sum(row.cost.seconds for row in each))
        assert whole.cost.memory_gib == max(row.cost.memory_gib for row in each)
    cost = {row.study: row.cost.seconds for row in rows}
    assert cost["baseline-prolonged"] < cost["baseline-original"]  # its coarse networks are there
    assert cost["joint-literal"] > cost["joint-pooled"]  # a pass is more than an epoch's work


def row(tier, chapter, hours):
    return PlanRow(tier, chapter, None, 3, Cost(3600 * hours, 1.0, 1.0))


def test_which_tier_fits_an_hour():
    rows = [row("smoke", "a", 0.1), row("smoke", "b", 0.2), row("class", "a", 0.5),
            row("class", "b", 1.0), row("paper", "a", 30), row("paper", "b", 40)]  # fmt: skip
    assert fits_an_hour(rows) == (
        "smoke fits an hour (18 min); class does not (90 min; of its chapters a, b would, each by "
        "itself); paper does not (70.0 h)."
    )
    assert spell(119) == "119 s"


def test_a_prediction_is_put_to_what_happens(monkeypatch):
    """The chapters' studies are run afresh, with one cache, outside of any record."""
    ran = []
    monkeypatch.setattr(plan, "measure_prices", lambda wanted: book_prices("smoke", 1e-6))

    def run(protocol, trials, device, *, record, cache):
        ran.append((protocol, trials, device, record, cache))

    found = check(["pooling", "baseline"], "smoke", 1, run=run)
    studies = CHAPTERS["pooling"] + CHAPTERS["baseline"]
    assert [one[0] for one in ran] == [study_protocol(s, "smoke", "strokes") for s in studies]
    assert {one[1:3] for one in ran} == {(1, "cpu")} and len({one[4] for one in ran}) == 1
    assert [one[3].name for one in ran] == [*studies]  # which the progress shows
    assert set(found) == {"pooling", "baseline"}
    assert all(said > 0 and 0 <= took < 60 for said, took in found.values())
