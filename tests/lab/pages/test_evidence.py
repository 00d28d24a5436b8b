"""Tables of evidence, on studies made by hand: what stands in a cell, and what is left out."""

from types import SimpleNamespace

import pytest
from handmade import body, study, trial

from mgcore.lab.pages import evidence
from mgcore.lab.protocol.printed_tables import TABLE_4_2
from mgcore.lab.verdict.claims import Claim


def claim(name="first", **changes):
    fields = {
        "id": name, "section": "4.3", "text": "A statement.", "studies": ("pooling-original",),
        "thesis": 11.8, "source": "Table 4.2", "ratio": False, "least": 2.0, "against": {},
        "sides": ("multigrid.last.training", "multigrid.last.validation"), "fingerprint": "abc",
    }  # fmt: skip
    return Claim(**(fields | changes))


def test_claims_stand_with_the_thesis_number_and_a_verdict():
    table = evidence.claims_table([claim(), claim("other", studies=("elsewhere",))], {"x": study()})
    ((statement, cells),) = body(table).items()
    assert statement == "A statement. (§4.3)"
    assert cells[:2] == ["above +2", "+11.8\n(Table 4.2)"]
    assert cells[2].startswith("+16.0 ± ") and cells[2].endswith("\nreproduced")
    by_eye = evidence.claims_table([claim(thesis=None)], {"x": study()})
    assert body(by_eye)["A statement. (§4.3)"][1] == "no number\n(Table 4.2)"


@pytest.mark.parametrize(
    "changes, limit",
    [
        ({"least": 0.0}, "above 0"), ({"least": -5.0}, "above -5"),
        ({"least": 1.0, "ratio": True}, "above × 1"),
    ],
)  # fmt: skip
def test_a_claim_says_from_where_on_it_counts_as_reproduced(changes, limit):
    table = evidence.claims_table([claim(**changes)], {"x": study()})
    assert body(table)["A statement. (§4.3)"][0] == limit


def test_a_study_that_repeats_another_table_has_that_tables_number_below():
    both = ("pooling-original", "baseline-original")
    studies = {"x": study(), "y": study("baseline-original")}
    table = evidence.claims_table([claim(studies=both)], studies)
    mine, other = body(table)["A statement. (§4.3)"][2:]
    assert "thesis" not in mine and other.endswith("\nthesis +36.3")  # 99.9 − 63.6


def test_a_claim_against_another_study_takes_it_from_there():
    crossed = claim(
        sides=("against:multigrid.last.gap", "multigrid.last.gap"),
        against={"pooling-original": "baseline-original"},
    )
    other = study("baseline-original", (30.0, 32.0))
    found = evidence.verdicts([crossed], {"x": study()}, {"baseline-original": other})
    assert found["first"]["x"].estimate == pytest.approx(30.0)


def test_criteria_count_as_before_only_where_the_fingerprint_is_the_records():
    claims = [claim(), claim("second"), claim("third"), claim("away", studies=("elsewhere",))]
    said = evidence.before_or_after(claims, study())
    assert said == "pooling-original: 1 of 3 criteria stood before its record was begun."


def test_measures_are_geometric_means_over_directions_and_means_over_trials():
    cells = body(evidence.landscape_table({"x": study()}))["x\nmultigrid"]
    assert cells == ["1.00 ± 0.00", "10.0 ± 0.0", "2.00 ± 0.00", "0.0200 ± 0.0000", "0.25 ± 0.00"]
    assert body(evidence.survival_table({"x": study()}))["x\nnew"][0] == "0.500 ± 0.000"
    alone = evidence.preparation_table({"x": study(offs=(1.0,))})
    assert body(alone)["x\ntransfer"] == ["61.0", "97.0"]


def test_a_quotient_without_meaning_is_left_open():
    curved = claim(
        sides=("landscape.coarse.curvature", "landscape.transfer.curvature"), ratio=True, least=1.0
    )
    flat = study()
    for one in flat.trials:
        one["measures"]["landscape"]["coarse"]["curvature"] = [-1.0, 0.5]
    assert evidence.verdicts([curved], {"x": flat, "y": study()})["first"].keys() == {"y"}


def test_a_study_beside_the_chapters_comes_from_its_record_or_not_at_all(monkeypatch):
    record = SimpleNamespace(trials=lambda: [trial(0), trial(1, off=2.0)])
    recorded = {"paper": record}
    monkeypatch.setattr("mgcore.lab.records.study.committed", lambda name, tier: recorded.get(tier))
    table, said = evidence.recorded_table("printed-pooling", "paper", TABLE_4_2, "As printed.")
    assert said["multigrid-last-training"] == "91.0" and said["new-last-gap"] == "16.0"
    assert table.caption.startswith("As printed.") and "2 trials" in table.caption
    assert evidence.recorded_table("printed-pooling", "class", TABLE_4_2) == (
        "printed-pooling: not recorded at the class tier.", {},
    )  # fmt: skip
