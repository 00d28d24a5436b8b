"""Claims decided by studies made by hand: the cells of the table, and what is left out."""

import pytest
from handmade import body, study

from mgcore.lab import RecordError
from mgcore.lab.pages import verdicts
from mgcore.lab.verdict.claims import Claim


def claim(name="first", **changes):
    fields = {
        "id": name, "section": "4.3", "text": "A statement.", "studies": ("pooling-original",),
        "thesis": 11.8, "source": "Table 4.2", "ratio": False, "least": 2.0, "against": {},
        "sides": ("multigrid.last.training", "multigrid.last.validation"), "fingerprint": "abc",
    }  # fmt: skip
    return Claim(**(fields | changes))


def test_claims_stand_with_the_thesis_number_and_a_verdict():
    table = verdicts.claims_table([claim(), claim("other", studies=("elsewhere",))], {"x": study()})
    ((statement, cells),) = body(table).items()
    assert statement == "A statement. (§4.3)"
    assert cells[:2] == ["above +2", "+11.8\n(Table 4.2)"]
    assert cells[2].startswith("+16.0 ± ") and cells[2].endswith("\nreproduced")
    by_eye = verdicts.claims_table([claim(thesis=None)], {"x": study()})
    assert body(by_eye)["A statement. (§4.3)"][1] == "no number\n(Table 4.2)"


@pytest.mark.parametrize(
    "changes, limit",
    [
        ({"least": 0.0}, "above 0"), ({"least": -5.0}, "above -5"),
        ({"least": 1.0, "ratio": True}, "above × 1"),
    ],
)  # fmt: skip
def test_a_claim_says_from_where_on_it_counts_as_reproduced(changes, limit):
    table = verdicts.claims_table([claim(**changes)], {"x": study()})
    assert body(table)["A statement. (§4.3)"][0] == limit


def test_a_study_that_repeats_another_table_has_that_tables_number_below():
    both = ("pooling-original", "baseline-original")
    studies = {"x": study(), "y": study("baseline-original")}
    table = verdicts.claims_table([claim(studies=both)], studies)
    mine, other = body(table)["A statement. (§4.3)"][2:]
    assert "thesis" not in mine and other.endswith("\nthesis +36.3")  # 99.9 − 63.6


def test_a_claim_against_another_study_takes_it_from_there():
    crossed = claim(
        sides=("against:multigrid.last.gap", "multigrid.last.gap"),
        against={"pooling-original": "baseline-original"},
    )
    other = study("baseline-original", (30.0, 32.0))
    found = verdicts.decide_claims([crossed], {"x": study()}, {"baseline-original": other})
    assert found["first"]["x"].estimate == pytest.approx(30.0)


def test_criteria_count_as_before_only_where_the_fingerprint_is_the_records():
    claims = [claim(), claim("second"), claim("third"), claim("away", studies=("elsewhere",))]
    said = verdicts.criteria_sentence(claims, study())
    assert said == "pooling-original: 1 of 3 criteria stood before its record was begun."


def test_a_quotient_without_meaning_is_left_open():
    curved = claim(
        sides=("landscape.coarse.curvature", "landscape.transfer.curvature"), ratio=True, least=1.0
    )
    flat = study()
    for one in flat.trials:
        one["measures"]["landscape"]["coarse"]["curvature"] = [-1.0, 0.5]
    assert verdicts.decide_claims([curved], {"x": flat, "y": study()})["first"].keys() == {"y"}


def test_a_damaged_number_is_an_error_and_not_a_claim_that_is_left_open():
    damaged = study()
    damaged.trials[0]["metrics"]["multigrid"] = "none"
    with pytest.raises(RecordError, match="is damaged"):
        verdicts.decide_claims([claim()], {"x": damaged})


def test_the_criteria_of_every_committed_record_are_counted(monkeypatch):
    record = study().record
    record.numbers = lambda: [0, 1]
    monkeypatch.setattr(verdicts, "committed", lambda name, tier: {"y": None}.get(name, record))
    listed = [claim(studies=("x", "y")), claim("second", studies=("x",))]
    assert body(verdicts.criteria_table(listed)) == {"x": ["paper", 2, 2, 1]}
