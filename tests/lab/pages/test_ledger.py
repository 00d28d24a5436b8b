"""The ledger: each claim of the book once, with the verdict that records and checks give today."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from docutils.nodes import make_id

from mgcore.lab.pages import ledger
from mgcore.lab.pages.ledger import (
    WORDS,
    counts,
    criterion,
    deciding,
    evidence_page,
    ledger_table,
    read_ledger,
    sizes,
)
from mgcore.lab.records.record import Record
from mgcore.lab.verdict.checks import CHECKS
from mgcore.lab.verdict.claims import decide, read_claims
from mgcore.lab.verdict.readings import READINGS

ROOT = Path(__file__).resolve().parents[3]
BOOK = ROOT / "book"
CLAIMS = read_claims(BOOK / "claims.yml")


@pytest.fixture(scope="module")
def entries():
    return read_ledger(BOOK / "claims.yml")


@pytest.fixture(autouse=True)
def records(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_every_claim_stands_there_once_with_a_word(entries):
    assert [e.claim.id for e in entries] == [c.id for c in CLAIMS] and len(entries) >= 26
    assert {e.word for e in entries} <= set(WORDS) and all(e.shown for e in entries)
    assert sum(counts(entries).values()) == len(entries) and list(counts(entries)) == list(WORDS)


def test_every_check_of_the_book_is_named_by_a_claim_and_the_other_way_round():
    assert {c.check for c in CLAIMS if c.check} == set(CHECKS) | set(READINGS)


@pytest.mark.parametrize("kind", ["numerical", "qualitative", "mathematical"])
def test_every_kind_is_there(kind):
    assert sum(c.kind == kind for c in CLAIMS) >= 5


def test_a_measured_verdict_is_that_of_the_trial_files(entries):
    """From the files themselves, not by way of the ledger."""
    entry = next(e for e in entries if e.claim.id == "multigrid-validates-far-worse")
    files = sorted((BOOK / "records" / "baseline-prolonged-paper").glob("trial-*.json"))
    trials = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    verdict = decide(entry.claim, "baseline-prolonged", trials)
    assert entry.word == verdict.word and entry.shown.startswith(str(verdict))
    ends = [
        t["metrics"]["transfer"][-1]["validation_accuracy"]
        - t["metrics"]["multigrid"][-1]["validation_accuracy"]
        for t in trials
    ]
    assert verdict.estimate == pytest.approx(sum(ends) / len(ends))


def test_the_size_says_where_the_thesiss_number_lies(entries):
    for entry in entries:
        value = entry.claim.thesis_for(entry.shown.rsplit("(", 1)[-1].split(",")[0])
        numbers = re.match(r"([+-][\d.]+) ± ([\d.]+)", entry.shown)
        if value is None or not numbers:
            assert entry.size == "", entry.claim.id
            continue
        estimate, half = map(float, numbers.groups())
        if abs(abs(estimate - value) - half) > 0.11:  # what is shown is rounded
            size = "agrees" if abs(estimate - value) < half else "larger"
            assert entry.size == (size if value < estimate or size == "agrees" else "smaller")
    assert sum(sizes(entries).values()) == sum(bool(entry.size) for entry in entries) > 10


def test_an_edited_record_is_refused_and_another_outcome_is_another_verdict(tmp_path, monkeypatch):
    book = tmp_path / "book"
    for name in ("baseline-prolonged-paper", "baseline-original-paper"):
        shutil.copytree(BOOK / "records" / name, book / "records" / name)
    one = [c for c in CLAIMS if c.id == "multigrid-validates-far-worse"]
    monkeypatch.setattr("mgcore.lab.records.study.records_folder", lambda: book / "records")
    monkeypatch.setattr(ledger, "read_claims", lambda file: one)
    ledger._study.cache_clear()
    before = read_ledger(book / "claims.yml")[0]
    assert before.word == "reproduced"
    file = book / "records" / "baseline-prolonged-paper" / "trial-000.json"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"validation_accuracy": ', '"validation_accuracy": 1', 1))
    ledger._study.cache_clear()
    with pytest.raises(ValueError, match="truncated or altered"):
        read_ledger(book / "claims.yml")
    file.write_text(text, encoding="utf-8")
    record = Record(book / "records" / "baseline-prolonged-paper")
    for trial in record.trials():
        trial["metrics"]["multigrid"] = trial["metrics"]["transfer"]
        (record.folder / f"trial-{trial['trial']:03d}.json").unlink()
        record.add(trial)
    ledger._study.cache_clear()
    assert read_ledger(book / "claims.yml")[0].word == "not reproduced"
    ledger._study.cache_clear()


def test_the_study_on_prolonged_images_decides_where_there_is_one(entries):
    for entry in entries:
        if not entry.claim.check and "(" in entry.shown:
            study = entry.shown.rsplit("(", 1)[1].split(",")[0]
            assert study in entry.claim.studies and study not in entry.others
            if "baseline-prolonged" in entry.claim.studies:
                assert study == "baseline-prolonged"
    claim = next(c for c in CLAIMS if c.id == "pooling-more-convex")
    assert deciding(claim, {"pooling-original": None}) == "pooling-original"


def test_a_check_that_is_not_there_is_one_sentence(tmp_path):
    file = tmp_path / "claims.yml"
    file.write_text(
        "- {id: x, section: '2.3', text: X., thesis: {source: s}, kind: mathematical, check: 'no'}"
    )
    with pytest.raises(ValueError) as raised:
        read_ledger(file)
    assert str(raised.value).startswith("The check of claim 'x' must be one of '")


def test_a_claim_whose_evidence_has_no_page_is_one_sentence():
    claim = replace(CLAIMS[0], id="new-claim", source="Table 9.9")
    with pytest.raises(ValueError, match="'new-claim' is not known. Add its source, 'Table 9.9',"):
        evidence_page(claim)
    assert all(evidence_page(claim) for claim in CLAIMS)


def test_an_unknown_kind_is_one_sentence(tmp_path):
    file = tmp_path / "claims.yml"
    file.write_text("- {id: x, section: '2', text: X., thesis: {source: s}, kind: odd, check: c}")
    with pytest.raises(ValueError) as raised:
        read_claims(file)
    assert str(raised.value) == (
        "claim 'x': kind must be one of 'numerical', 'qualitative', 'mathematical', got 'odd'."
    )


def test_what_is_not_recorded_is_undecided(monkeypatch):
    monkeypatch.setattr(ledger, "_study", lambda name, tier: None)
    claim = next(c for c in CLAIMS if c.id == "joint-worse-from-new")
    entry = ledger._measured(claim)
    assert entry.word == "undecided" and entry.shown == "not recorded yet" and not entry.others


def headings(page):
    """The ids that the site gives to the headings and targets of a page."""
    cells = json.loads((BOOK / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    prose = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    named = re.findall(r"^\((\w+)\)=$", prose, re.M)
    return {make_id(text) for text in re.findall(r"^##+ (.+)$", prose, re.M)} | set(named)


def test_the_table_has_a_row_for_each_claim_and_links_where_the_evidence_is(entries):
    table = ledger_table(entries)
    assert len(table.rows) == len(entries)
    html = table._repr_html_()
    for entry, row in zip(entries, table.rows, strict=True):
        unbroken = " ".join(row[2].split())
        assert (
            row[-1] == (entry.size or "–")
            and str(row[-2]) == entry.word
            and " ".join(entry.shown.split()) in unbroken
        )
        page, _, anchor = evidence_page(entry.claim).partition("#")
        assert not anchor or anchor in headings(page.removesuffix(".html"))
        assert f'href="{evidence_page(entry.claim)}"' in html


def test_a_study_set_against_another_table_has_that_tables_number_beside_it(entries):
    rows = dict(zip((e.claim.id for e in entries), ledger_table(entries).rows, strict=True))
    row = rows["classifier-first-does-not-help-multigrid"]
    assert row[1] == "+1.2, Tables 4.1, 4.3"
    beside = {part.split(":")[0]: part for part in row[2].split("\n")[1:]}
    assert beside["classifier-pooled"].endswith(" (thesis +25.6)")
    assert "thesis" not in "".join(rows["multigrid-gap-large"][2])


def test_criteria_are_said_in_words():
    by_id = {c.id: c for c in CLAIMS}
    assert criterion(by_id["multigrid-gap-large"]) == (
        "multigrid.last.training − multigrid.last.validation > 10"
    )
    assert criterion(by_id["transfer-less-sensitive"]).endswith("multigrid.radius > 1")
    assert "÷" in criterion(by_id["transfer-less-sensitive"])
    assert criterion(by_id["weights-count"]) == "by computation"
