"""Tables as HTML with header cells and as aligned text."""

import html.parser

import pytest

from mgcore.lab.pages.tables import Table


def test_ragged_rows_are_refused():
    with pytest.raises(ValueError, match="a row must have 2 cells"):
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


def test_a_row_may_be_linked_to():
    text = Table(("a", "b"), [("x", 1), ("y", 2)], anchors=["row-x", "row-y"])._repr_html_()
    assert '<tr id="row-x">' in text and '<tr id="row-y">' in text
    assert " id=" not in Table(("a",), [("x",)])._repr_html_()
    with pytest.raises(ValueError, match="anchors must be one for each of 2 rows, got 1"):
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
