"""Tables and intervals: against scipy, against numbers written out, and as HTML."""

import html.parser
import math

import numpy as np
import pytest
from scipy import stats

from mgcore.lab.pages.tables import Table, results_table, seconds_table
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.protocol import printed_tables as thesis
from mgcore.lab.verdict.agreement import interval


def make_trials(values, last=10):
    """Return trials whose every accuracy at the last epoch is one of `values`."""

    def rows(value):
        keys = [f"{i}_{m}" for i in ("training", "validation") for m in ("accuracy", "loss")]
        return [{"epoch": e} | dict.fromkeys(keys, value * e / last) for e in (0, 1, 2, last)]

    return [
        {
            "metrics": {"coarse": rows(value)} | {arm: rows(value) for arm in CONDITIONS},
            "circumstances": {"seconds": {
                "coarse": {"training": value, "evaluation": 1.0}, "whole": 9.0,
            }},
        }
        for value in values
    ]  # fmt: skip


def test_interval_agrees_with_scipy():
    values = [96.4, 97.1, 95.9, 96.6, 96.2]
    mean, half = interval(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-12)


def test_interval_of_one_value_is_none():
    assert interval([3.5]) == (3.5, None)


def test_interval_narrows_with_confidence_and_covers():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        mean, half = interval(rng.normal(size=3))
        hits += abs(mean) <= half
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)
    assert interval([1, 2, 3], 0.5)[1] < interval([1, 2, 3])[1]


@pytest.mark.parametrize("values, level", [([], 0.95), ([1, 2], 1.0), ([1, 2], 0.0)])
def test_interval_refuses(values, level):
    with pytest.raises(ValueError, match="accepted"):
        interval(values, level)


def test_results_table_cells():
    # Mean 90, standard deviation 2, half-width 4.3027 · 2 / √3.
    text = repr(results_table(make_trials([88, 90, 92]), thesis.TABLE_4_1))
    half = 4.302652729911275 * 2 / math.sqrt(3)
    assert f"90.0 ± {half:.1f}" in text and "sd 2.0" in text
    assert "thesis 63.6" in text and "mean of 3 trials" in text
    table = results_table(make_trials([88, 90, 92]), thesis.TABLE_4_1)
    cells = {row[0]: row[1:] for row in table.rows}
    assert list(cells) == list(CONDITIONS)
    # Training at epochs 0, 1, 10, then validation: the thesis has nothing at epoch 0.
    assert ["thesis" in cell for cell in cells["new"]] == [False, True, True] * 2
    last_lines = [cell.split("\n")[-1] for cell in cells["transfer"]]
    assert [last_lines[i] for i in (1, 2, 4, 5)] == [
        "thesis 97.9", "thesis 99.4", "thesis 93.5", "thesis 94.6",
    ]  # fmt: skip


def test_results_table_of_one_trial_claims_no_interval():
    text = repr(results_table(make_trials([90])))
    assert "±" not in text and "sd" not in text
    assert "one trial: no interval" in text


def test_results_table_of_another_metric():
    assert "1.235" in repr(results_table(make_trials([1.23456]), metric="loss"))


def test_results_table_refuses():
    with pytest.raises(ValueError, match=r"metric='speed'; accepted: 'accuracy'"):
        results_table(make_trials([1]), metric="speed")
    with pytest.raises(ValueError, match="trials is empty"):
        results_table([])


def test_seconds_table():
    text = repr(seconds_table(make_trials([10.0, 20.0])))
    assert "15.0" in text and "whole" not in text


def test_ragged_rows_are_refused():
    with pytest.raises(ValueError, match="one of 1 cells; accepted: 2"):
        Table(("a", "b"), [("x",)])


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.text = [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes).get("scope")))

    def handle_data(self, data):
        self.text.append(data)


def test_an_empty_heading_is_no_header():
    page = Table(("", "a"), [("x", 1)])._repr_html_()
    assert "<thead><tr><td></td><th" in page and "<th></th>" not in page


def test_html_has_headers_caption_and_escapes():
    page = Tags()
    page.feed(Table(("arm", "a < b"), [("new", "1\n2"), ("x & y", 3)], "Read <me>.")._repr_html_())
    assert page.seen.count(("th", "col")) == 2 and page.seen.count(("th", "row")) == 2
    assert page.seen.count(("td", None)) == 2 and ("br", None) in page.seen
    assert ("caption", None) in page.seen
    assert {"Read <me>.", "a < b", "x & y"} <= set(page.text)


def test_text_is_aligned():
    lines = repr(Table(("arm", "n"), [("new", "1\n22"), ("multigrid", "3")])).splitlines()
    assert lines == ["arm        n", "---------  --", "new        1", "           22", "",
                     "multigrid  3"]  # fmt: skip


def test_thesis_tables_are_complete():
    for table in (thesis.TABLE_4_1, thesis.TABLE_4_2):
        assert list(table) == list(CONDITIONS)
        assert all(set(row) == {"training", "validation"} for row in table.values())
    for table in (thesis.TABLE_4_3, thesis.TABLE_4_4):
        assert list(table) == list(CONDITIONS)
        assert all(set(row) == set(thesis.STAGES) for row in table.values())
        assert all(len(v) == len(thesis.COLUMNS) for row in table.values() for v in row.values())
    # Sums of all that is printed, added up apart from this file.
    assert sum(sum(p) for r in thesis.TABLE_4_1.values() for p in r.values()) == pytest.approx(
        88.4 + 85.0 + 96.4 + 91.9 + 97.9 + 93.5 + 99.4 + 94.6 + 97.5 + 62.9 + 99.9 + 63.6
    )


def test_a_row_may_be_linked_to():
    text = Table(("a", "b"), [("x", 1), ("y", 2)], anchors=["row-x", "row-y"])._repr_html_()
    assert '<tr id="row-x">' in text and '<tr id="row-y">' in text
    assert " id=" not in Table(("a",), [("x",)])._repr_html_()
    with pytest.raises(ValueError, match="anchors are 1; accepted: one for each of 2 rows"):
        Table(("a",), [("x",), ("y",)], anchors=["row-x"])


def test_a_column_of_sentences_is_prose_and_one_of_numbers_is_not():
    sentence = "what is meant holds, and what is printed does not hold, wherever one looks for it"
    rows = [["a", "96.4 ± 0.2", "short"], ["b", "1", sentence]]
    table = Table(["word", "number", "means"], rows)
    page = table._repr_html_()
    assert page.count('<td class="prose">') == 2 and "<td>96.4 ± 0.2</td>" in page
    assert f'<td class="prose">{sentence}</td>' in page  # broken by the page, not before
    lines = repr(table).splitlines()
    assert max(map(len, lines)) < len(sentence) and " ".join(repr(table).split()).endswith("for it")
