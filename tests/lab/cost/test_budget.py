"""The plan of the book: every study once, chapters one after another, which tier fits an hour."""

import pytest

from mgcore.lab.cost import budget
from mgcore.lab.cost.budget import Row, check, fits_an_hour, plan_book, spell
from mgcore.lab.cost.plan import Cost, pieces
from mgcore.lab.cost.prices import Prices
from mgcore.lab.protocol.studies import CHAPTERS, STUDIES, study_protocol


def flat(tier, each):
    dataset = "strokes" if tier == "smoke" else "mnist"
    return Prices(
        {p: each for p in pieces(study_protocol(s, tier, dataset) for s in STUDIES)}, 0.0, 2
    )


def test_every_study_belongs_to_one_chapter():
    assert sorted(study for studies in CHAPTERS.values() for study in studies) == sorted(STUDIES)


def test_a_chapter_is_the_sum_of_its_studies():
    rows = plan_book(("class",), prices=flat("class", 1e-4))
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
    return Row(tier, chapter, None, 3, Cost(3600 * hours, 1.0, 1.0))


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
    monkeypatch.setattr(budget, "measure_prices", lambda wanted: flat("smoke", 1e-6))

    def run(protocol, trials, device, *, record, cache):
        ran.append((protocol, trials, device, record, cache))

    found = check(["pooling", "baseline"], "smoke", 1, run=run)
    studies = CHAPTERS["pooling"] + CHAPTERS["baseline"]
    assert [one[0] for one in ran] == [study_protocol(s, "smoke", "strokes") for s in studies]
    assert {one[1:3] for one in ran} == {(1, "cpu")} and len({one[4] for one in ran}) == 1
    assert len({one[3] for one in ran}) == len(studies)
    assert set(found) == {"pooling", "baseline"}
    assert all(said > 0 and 0 <= took < 60 for said, took in found.values())
