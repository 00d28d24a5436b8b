"""The pages for a class: the primer's figure and table, and the minute plans."""

import re
import xml.etree.ElementTree

import editions
import generated
import lessons
import numpy as np
import primer
import pytest
import teaching
from notebooks import ROOT
from opening import read_times


def test_the_picture_shows_what_the_kernel_does_to_a_mode() -> None:
    picture = xml.etree.ElementTree.fromstring(primer.picture())
    drawn = [float(c.get("cy")) for c in picture.iter("{http://www.w3.org/2000/svg}circle")]
    rows = np.array(drawn).reshape(len(primer.FREQUENCIES), 2, primer.CELLS)
    for (before, after), omega in zip(rows, primer.FREQUENCIES.values(), strict=True):
        wave = np.cos(omega * np.arange(100))
        inside = np.convolve(wave, primer.KERNEL, mode="valid")
        assert np.allclose(inside, primer.response(omega) * wave[1:-1])
        middle = before.mean() if omega else before[0] + 32
        assert np.allclose(after - middle, primer.response(omega) * (before - middle), atol=0.2)


def test_quantiles_are_those_of_a_table(tmp_path) -> None:
    text = primer.quantiles(generated.Book(tmp_path, "book", {}, ()))
    for value in ("12.71", "4.30", "2.78", "2.26", "2.09"):
        assert f"- {value}" in text


def test_the_lab_plan_fills_both_lengths(monkeypatch) -> None:
    text = lessons.lab_plan(None)
    rows = re.findall(r"^\* - (.*)\n  - (.*)$", text, re.M)[1:]
    told = teaching.read("lab")
    assert len(rows) == len(told.checks) + 2
    for place, length in enumerate(lessons.LENGTHS):
        ends = [row[place].split(" to ")[1] for row in rows if " to " in row[place]]
        assert ends[-1] == str(length) and ends == sorted(ends, key=int)
    assert sum(row[1] == "–" for row in rows) == len(told.checks) - len(told.short)
    monkeypatch.setattr(lessons, "OPENING", 60)
    with pytest.raises(SystemExit, match="shorten them"):
        lessons.lab_plan(None)


def test_the_ticket_names_kernels_whose_response_grows_and_stays() -> None:
    text = lessons.refined_kernels(None)
    rows = re.findall(r"^\* - (.*)\n  - (.*)\n  - (.*)$", text, re.M)[1:]
    found = {name.split(",")[0]: (float(before), float(after)) for name, before, after in rows}
    before, after = found["second difference"]
    assert after == 16 * before and found["mean"] == (0, 1)
    kept = [b == a for b, a in found.values()]
    assert kept == [False, False, True, True]
    assert "99 % have" in text and "factor is 20." in text


def test_the_time_to_build_is_the_sum_over_the_chapters() -> None:
    (minutes,) = re.findall(r"(\d+) minutes were measured", lessons.build_minutes(None))
    seconds = sum(float(one["seconds"]) for one in read_times().values())
    assert abs(int(minutes) - seconds / 60) <= 0.5


@pytest.mark.parametrize(("edition", "answers"), [("book", 0), ("student", 0), ("instructor", 3)])
def test_answers_of_the_exit_ticket_are_for_instructors(edition, answers) -> None:
    page = (ROOT / "book" / "exit_ticket.md").read_text("utf-8")
    assert editions.cut_page(page, edition).count("{admonition} Answer") == answers
