"""Claims and their verdicts, on trials made by hand; and the book's own claims."""

import math
from pathlib import Path

import pytest
import yaml

from mgcore.lab import STUDIES, study_protocol
from mgcore.lab.pages.ledger import deciding
from mgcore.lab.records.files import NotRecordedError
from mgcore.lab.verdict.agreement import interval
from mgcore.lab.verdict.claims import (
    AGAINST,
    UndefinedQuotientError,
    criteria,
    decide,
    read_claims,
)
from mgcore.lab.verdict.metrics import CELL_NAMES

FILE = Path(__file__).resolve().parents[3] / "book" / "claims.yml"
CLAIMS = read_claims(FILE)
MEASURED = [claim for claim in CLAIMS if not claim.check]
DRAWN = ("dataset", "seed", "resolution", "n_coarse", "n_fine", "n_validation", "normalisation")
ENTRY = {
    "id": "x", "section": "4.2", "text": "Multigrid trains best.", "studies": ["one"],
    "thesis": {"value": 1.5, "source": "Table 4.1"},
    "difference": ["multigrid.last.training", "new.last.training"], "least": 0.0,
}  # fmt: skip


def written(tmp_path, *entries):
    file = tmp_path / "claims.yml"
    file.write_text(yaml.safe_dump(list(entries), sort_keys=False), encoding="utf-8")
    return file


@pytest.fixture
def claim(tmp_path):
    """Return a maker of claims from changes of the entry; None takes a field away."""

    def make(**changes):
        entry = {k: v for k, v in (ENTRY | changes).items() if v is not None}
        return read_claims(written(tmp_path, entry))[0]

    return make


def ratio(first="landscape.transfer.radius", second="landscape.multigrid.radius", least=1.0):
    return {"difference": None, "ratio": [first, second], "least": least}


def trials(*differences, first=0):
    """Trials whose multigrid arm ends by so much above the new one."""

    def rows(value):
        return [{"training_accuracy": v, "validation_accuracy": v - 3} for v in (0, 50, value)]

    return [
        {"trial": k, "metrics": {"multigrid": rows(80 + d), "new": rows(80)}}
        for k, d in enumerate(differences, first)
    ]


def around(*radii):
    """Trials with the radius of transfer, that of multigrid being 2."""
    return [
        {"trial": k, "measures": {"landscape": {
            "transfer": {"radius": [r], "curvature": [r], "length": 1.0},
            "multigrid": {"radius": [2.0], "curvature": [-2.0], "length": 1.0},
        }}}
        for k, r in enumerate(radii)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "differences, least, word",
    [
        ((4.9, 5.0, 5.1), 0.0, "reproduced"),
        ((4.9, 5.0, 5.1), 10.0, "not reproduced"),
        ((-5.1, -5.0, -4.9), 0.0, "reversed"),
        ((-5.1, -5.0, -4.9), 10.0, "reversed"),
        ((-5.0, 0.0, 5.0), 0.0, "undecided"),
        ((-5.0, 0.0, 5.0), 30.0, "not reproduced"),
        ((-1.1, -1.0, -0.9), -5.0, "reproduced"),
        ((-9.1, -9.0, -8.9), -5.0, "reversed"),
        ((5.0,), 0.0, "undecided"),
        ((5.0, 5.0), 0.0, "reproduced"),
        ((5.0, 5.0), 5.0, "undecided"),  # above the least, not at it
    ],
)
def test_the_word_follows_from_the_interval(claim, differences, least, word):
    verdict = decide(claim(least=least), "one", trials(*differences))
    assert verdict.word == word and verdict.trials == len(differences)
    mean, half = interval(differences)
    assert verdict.estimate == pytest.approx(mean)
    half = math.inf if half is None else half
    assert (verdict.low, verdict.high) == pytest.approx((mean - half, mean + half))


@pytest.mark.parametrize(
    "radii, least, word",
    [
        ((3.9, 4.0, 4.1), 1.0, "reproduced"),
        ((3.9, 4.0, 4.1), 3.0, "not reproduced"),
        ((0.9, 1.0, 1.1), 1.0, "reversed"),
        ((0.9, 1.0, 1.1), 0.25, "reproduced"),  # a quarter is allowed, a half is found
        ((0.9, 1.0, 1.1), 0.75, "reversed"),
        ((1.0, 2.0, 4.0), 1.0, "undecided"),
        ((4.0,), 1.0, "undecided"),
    ],
)
def test_a_quotient_is_decided_by_its_geometric_mean(claim, radii, least, word):
    verdict = decide(claim(**ratio(least=least)), "one", around(*radii))
    assert verdict.word == word
    mean, half = interval([math.log(r / 2) for r in radii])
    assert verdict.estimate == pytest.approx(math.exp(mean))
    if half is not None:
        assert verdict.low == pytest.approx(math.exp(mean - half))
        assert verdict.high == pytest.approx(math.exp(mean + half))
        return
    assert (verdict.low, verdict.high) == (0, math.inf)


def test_verdicts_are_written_as_they_are_read(claim):
    assert str(decide(claim(), "one", trials(4.9, 5.0, 5.1))) == "+5.0 ± 0.2"
    assert str(decide(claim(), "one", trials(0.05, 0.07))) == "+0.06 ± 0.13"
    assert str(decide(claim(), "one", trials(-5.0))) == "-5.0, no interval"
    assert str(decide(claim(**ratio()), "one", around(4.0, 4.0))) == "× 2.00 (2.00 to 2.00)"
    assert str(decide(claim(**ratio()), "one", around(4.0))) == "× 2.00, no interval"


def test_trials_of_equal_number_are_compared_with_the_other_study(claim):
    """The difference of two noisy studies is sharp where their trials go together."""
    against = claim(
        difference=[f"{AGAINST}multigrid.last.training", "multigrid.last.training"],
        against={"one": "two"},
    )
    assert against.against == {"one": "two"}
    mine, theirs = trials(1.0, 9.0, 4.0, 2.0), trials(7.0, 12.2, 3.9, 0.0, first=1)[::-1]
    verdict = decide(against, "one", mine, theirs)
    assert verdict.trials == 3 and verdict.word == "undecided"
    mean, half = interval([7.0 - 9.0, 12.2 - 4.0, 3.9 - 2.0])
    assert verdict.estimate == pytest.approx(mean) and verdict.high == pytest.approx(mean + half)
    other = claim(
        difference=["multigrid.last.training", f"{AGAINST}new.last.training"],
        against={"one": "two"},
    )  # fmt: skip
    assert decide(other, "one", mine, theirs).estimate == pytest.approx((9 + 4 + 2) / 3)


@pytest.mark.parametrize("others", [None, [], trials(1.0, first=5)])
def test_without_a_trial_of_equal_number_it_is_one_sentence(claim, others):
    against = claim(
        difference=[f"{AGAINST}multigrid.last.training", "multigrid.last.training"],
        against={"one": "two"},
    )
    with pytest.raises(NotRecordedError) as raised:
        decide(against, "one", trials(1.0, 2.0), others)
    assert str(raised.value) == (
        "claim 'x' finds no trials of equal number. Run the same trials of both studies."
    )


def test_a_quotient_of_what_is_not_positive_is_one_sentence(claim):
    bad = claim(**ratio("landscape.transfer.curvature", "landscape.multigrid.curvature"))
    with pytest.raises(UndefinedQuotientError) as raised:
        decide(bad, "one", around(1.0, 2.0))
    assert str(raised.value) == (
        "claim 'x' has -2 on a side of a quotient, which needs positive numbers."
    )


def test_the_fingerprint_is_of_what_the_entry_says(claim, tmp_path):
    base = claim().fingerprint
    changes = [
        {"id": "y"}, {"section": "4.3"}, {"text": "Another."}, {"studies": ["one", "two"]},
        {"thesis": {"value": 1.6, "source": "Table 4.1"}}, {"least": 0.5}, {"least": 0.0001},
        {"thesis": {"value": 1.5, "source": "Table 4.2"}}, {"against": {"one": "two"}},
        {"difference": ENTRY["difference"][::-1]}, {"note": "a field that nobody reads"},
    ]  # fmt: skip
    found = {claim(**change).fingerprint for change in changes}
    assert len(found) == len(changes) and base not in found
    # How it is written and what stands beside it do not matter.
    reordered = dict(reversed(ENTRY.items()))
    file = written(tmp_path, ENTRY | {"id": "before"}, reordered)
    assert criteria(file)["x"] == base and list(criteria(file)) == ["before", "x"]
    text = "# a comment\n- {" + ", ".join(
        f"{k}: {v!r}" for k, v in ENTRY.items() if k != "text"
    ) + ',\n   text: "Multigrid trains\n     best."}\n'  # fmt: skip
    file.write_text(text)
    assert criteria(file)["x"] == base


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"difference": ["multigrid.middle.gap", "new.1.gap"]},
         f"claim 'x' names the unknown cell 'multigrid.middle.gap'. Use {CELL_NAMES}."),
        ({"difference": ["new.1.gap", f"{AGAINST}nonsense"], "against": {"one": "two"}},
         f"claim 'x' names the unknown cell 'against:nonsense'. Use {CELL_NAMES}."),
        ({"difference": [f"{AGAINST}new.1.gap", "new.1.gap"]},
         "claim 'x' compares 'one' with no study. Name one in its field against."),
        ({"difference": ["new.1.gap", f"{AGAINST}new.1.gap"], "studies": ["one", "two"],
          "against": {"one": "three"}},
         "claim 'x' compares 'two' with no study. Name one in its field against."),
        ({"least": None}, "claim 'x' of {file} lacks the field 'least'. Add it."),
        ({"difference": None}, "claim 'x' of {file} lacks the field 'difference'. Add it."),
        ({"thesis": {"value": 1.0}}, "claim 'x' of {file} lacks the field 'source'. Add it."),
        ({"id": None}, "claim '?' of {file} lacks the field 'id'. Add it."),
        ({"difference": ["new.1.gap"]},
         "claim 'x' has sides=('new.1.gap',) and least=0.0. A claim needs two cells, and a "
         "quotient a positive least."),
        (ratio("new.1.gap", "new.1.gap", least=0.0),
         "claim 'x' has sides=('new.1.gap', 'new.1.gap') and least=0.0. A claim needs two cells, "
         "and a quotient a positive least."),
    ],
)  # fmt: skip
def test_a_bad_claim_is_one_sentence(claim, tmp_path, changes, sentence):
    with pytest.raises(ValueError) as raised:
        claim(**changes)
    assert str(raised.value) == sentence.replace("{file}", str(tmp_path / "claims.yml"))


def test_the_books_claims_are_complete_and_distinct():
    assert len({c.id for c in CLAIMS}) == len(CLAIMS) >= 26
    assert len({c.fingerprint for c in CLAIMS}) == len(CLAIMS)
    assert criteria(FILE) == {c.id: c.fingerprint for c in CLAIMS}
    assert all(len(c.fingerprint) == 12 and c.text.endswith((".", ").")) for c in CLAIMS)


@pytest.mark.parametrize("one", MEASURED, ids=lambda one: one.id)
def test_the_books_claims_name_studies_of_the_book(one):
    assert set(one.studies) | set(one.against) | set(one.against.values()) <= set(STUDIES)
    assert set(one.against) <= set(one.studies) and len(set(one.studies)) == len(one.studies) > 0
    if one.against:
        assert any(side.startswith(AGAINST) for side in one.sides)
    for study, other in one.against.items():  # trials of equal number share their images
        mine, theirs = study_protocol(study), study_protocol(other)
        assert study != other and mine.key(*DRAWN) == theirs.key(*DRAWN)


@pytest.mark.parametrize("one", [c for c in CLAIMS if c.thesis is not None], ids=lambda c: c.id)
def test_the_thesis_s_numbers_follow_from_its_tables(one):
    """By the tables that the deciding study and the one beside it repeat."""
    assert one.thesis_for(deciding(one, one.studies)) == pytest.approx(one.thesis, abs=1e-9)
    assert one.source.startswith("Table") and not one.ratio


@pytest.mark.parametrize(
    "name, study, points",
    [
        # From the thesis's tables by hand.
        ("classifier-first-does-not-help-multigrid", "classifier-pooled", 88.0 - 62.4),
        ("classifier-first-does-not-help-multigrid", "classifier-unpooled", 63.6 - 62.4),
        ("classifier-first-does-not-help-transfer", "classifier-package", 92.8 - 93.8),
        ("joint-worse-from-new", "joint-unpooled", 91.9 - 79.5),
        ("joint-worse-from-multigrid", "joint-unpooled", 63.6 - 50.8),
        ("classifier-overfits-multigrid", "classifier-pooled", 85.2 - 34.1),
        ("pooling-narrows-gap", "printed-pooling", (99.9 - 63.6) - (99.8 - 88.0)),
        ("classifier-stage-widens-gap", "classifier-pooled", None),
        ("pooling-more-convex", "pooling-original", None),
        ("operator-limit", "pooling-original", None),
    ],
)
def test_a_study_has_the_number_of_the_table_that_it_repeats(name, study, points):
    found = next(c for c in CLAIMS if c.id == name).thesis_for(study)
    assert found is None if points is None else found == pytest.approx(points)


def test_a_claim_has_no_number_where_the_thesis_prints_one_side_only(claim):
    ends = [f"multigrid_classifier.last.{part}" for part in ("training", "validation")]
    assert claim(difference=ends, studies=["joint-pooled"]).thesis_for("joint-pooled") is None
