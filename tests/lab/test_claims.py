"""Claims and their verdicts, on trials made by hand."""

from pathlib import Path

import pytest

from mgcore.lab.claims import Claim, cell, criteria_hash, decide, read_claims

FILE = Path(__file__).resolve().parents[2] / "book" / "claims.yml"


def claim(least):
    cells = ("multigrid.last.training", "new.last.training")
    return Claim("x", "4.2", "text", ("study",), 1.0, "4.1", cells, least)


def trials(*differences):
    def rows(value):
        return [{"training_accuracy": v, "validation_accuracy": v - 3} for v in (0, 50, value)]

    return [{"metrics": {"multigrid": rows(80 + d), "new": rows(80)}} for d in differences]


@pytest.mark.parametrize(
    "differences, least, word",
    [
        ((4.9, 5.0, 5.1), 0.0, "reproduced"),
        ((4.9, 5.0, 5.1), 10.0, "not reproduced"),
        ((-5.1, -5.0, -4.9), 0.0, "reversed"),
        ((-5.1, -5.0, -4.9), 10.0, "reversed"),
        ((-5.0, 0.0, 5.0), 0.0, "undecided"),
        ((-1.1, -1.0, -0.9), -5.0, "reproduced"),
        ((-9.1, -9.0, -8.9), -5.0, "reversed"),
        ((5.0,), 0.0, "undecided"),
    ],
)
def test_the_word_follows_from_the_interval(differences, least, word):
    assert decide(claim(least), "study", trials(*differences)).word == word


def test_cells_are_read_by_epoch_and_gap_is_training_minus_validation():
    one = trials(4.0)[0]
    assert cell(one, "multigrid.last.training") == 84
    assert cell(one, "multigrid.1.validation") == 47
    assert cell(one, "multigrid.last.gap") == 3


def test_the_books_claims_are_complete_and_distinct():
    claims = read_claims(FILE)
    assert len({c.id for c in claims}) == len(claims) >= 8
    assert len(criteria_hash(FILE)) == 64


def test_the_theses_numbers_are_differences_of_its_tables():
    from mgcore.lab import thesis

    tables = {"4.1": thesis.TABLE_4_1, "4.2": thesis.TABLE_4_2}

    def printed(table, name):
        arm, epoch, metric = name.split(".")
        place = -1 if epoch == "last" else 0
        pair = {k: v[place] for k, v in tables[table][arm].items()}
        return pair["training"] - pair["validation"] if metric == "gap" else pair[metric]

    for one in read_claims(FILE):
        first, second = (printed(one.table, name) for name in one.difference)
        assert one.thesis == pytest.approx(first - second, abs=1e-9), one.id


@pytest.mark.parametrize(
    "old, new, word",
    [
        ("multigrid.last.gap", "multigrid.middle.gap", "multigrid.middle.gap"),
        ("least:", "most:", "least"),
    ],
)
def test_a_bad_claim_is_one_sentence(tmp_path, old, new, word):
    file = tmp_path / "claims.yml"
    file.write_text(FILE.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=word):
        read_claims(file)
