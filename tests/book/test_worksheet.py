"""The student notebook: an empty cell and a check for each exercise, and no solution."""

import dataclasses

import editions
import notebooks
import pytest
import teaching
import worksheet
from notebooks import ROOT

from mgcore.lab.classroom.checks import EXERCISES
from mgcore.lab.classroom.submission import assigned, code_cells


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return worksheet.write(tmp_path_factory.mktemp("sheet"))


def test_each_exercise_has_an_empty_answer_and_its_check(file) -> None:
    cells = code_cells(file)
    for number, task in EXERCISES.items():
        place = cells.index(f"check_{number}()")
        empty = {line.partition(" = ...  # ")[0] for line in cells[place - 1].splitlines()}
        given = set().union(*(assigned(cell) for cell in cells[: place - 1]))
        assert empty and empty == set(task.readers) - (given - empty), number
    assert any(f"check_{len(EXERCISES)} = checks_of(globals())" in cell for cell in cells)


def test_nothing_of_the_solutions_and_no_markup_of_the_site_is_left(file) -> None:
    made = notebooks.read(file)
    text = "\n".join(cell.source for cell in made.cells)
    chapter = notebooks.read(ROOT / "book" / "lab.ipynb")
    solved = [cell.source for cell in chapter.cells if editions.is_solution(cell)]
    lines = {line.strip() for source in solved for line in source.splitlines() if len(line) > 30}
    assert not [line for line in lines if line in text]
    assert not any(mark in text for mark in ("```", "{ref}", "{download}", ".ipynb", "## Summary"))
    assert all(not cell.get("outputs") for cell in made.cells)


def test_checks_that_do_not_fit_the_exercises_are_refused() -> None:
    told, chapter = teaching.read("lab"), notebooks.read(ROOT / "book" / "lab.ipynb")
    for checks in (told.checks[:-1], (*told.checks[:-1], "ex-lab-unknown")):
        with pytest.raises(SystemExit, match="one for each check"):
            worksheet.make(chapter, dataclasses.replace(told, checks=checks))
