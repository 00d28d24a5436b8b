"""The PDF of the book, where Chromium is installed."""

import re

import pdf
import pytest
from browsing import CHROMIUM
from notebooks import ROOT, chapters


def test_without_chromium_one_sentence_says_so(monkeypatch, capsys) -> None:
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    assert pdf.main() == 1
    said = capsys.readouterr().err
    assert said.startswith("No PDF: it needs Chromium on the path (chromium, ")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_the_book_is_printed_with_every_chapter() -> None:
    if CHROMIUM is None:
        pytest.skip("no chromium is on the path, so no PDF can be printed")
    if not all((ROOT / "_build" / "executed" / path).exists() for path in chapters()):
        pytest.skip("the chapters have not been executed; `make book` does")
    assert pdf.main() == 0
    content = pdf.FILE.read_bytes()
    assert content.startswith(b"%PDF") and len(content) > 500_000
    counts = [int(n) for n in re.findall(rb"/Type\s*/Pages\s.*?/Count (\d+)", content, re.S)]
    assert max(counts, default=0) > 5 * len(chapters())
