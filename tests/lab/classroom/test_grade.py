"""Grading a folder: right, wrong and empty submissions, and those that crash or cheat."""

import csv
import json

import pytest

from mgcore.lab.classroom.checks import EXERCISES
from mgcore.lab.classroom.grade import grade_folder, submissions, table
from mgcore.lab.cli import main

RIGHT = {1: "restricted, prolonged, removed = [2, 6], [2, 3, 5, 6], [2, -3, 3, -2]",
         2: "coarse_kernel = [1 / 8, 3 / 4, 1 / 8]", 4: "%time\nscale = 1 / 4",
         8: "points_lost, cause = [3, 40], 'B'"}  # fmt: skip
CHEAT = """
import mgcore.lab.classroom.checks as checks, mgcore.lab.classroom.submission as child
checks.judge = lambda exercise, given: checks.Verdict(exercise, True, "Right.")
for exercise in checks.EXERCISES.values():
    object.__setattr__(exercise, "hint", lambda given: "")
check_2 = lambda: print("Right.")
coarse_kernel = [0, 1, 0]
"""
LAST_WORDS = "scale = 1 / 4\n", "import os\ncoarse_kernel = [0, 1, 0]\nos._exit(9)"
SUBMISSIONS = {
    "right": RIGHT.values(),
    "wrong": [RIGHT[1], "coarse_kernel = [0, 1, 0]", "scale = 1 / 2"],
    "empty": [f"{name} = ..." for task in EXERCISES.values() for name in task.readers],
    "cheat": [CHEAT],
    "crash": ["import a_package_that_nobody_has\ncoarse_kernel = 1", "scale = (", RIGHT[1]],
    "gone": LAST_WORDS,
    "nothing": [],
}


def notebook(sources) -> str:
    cells = [{"cell_type": "code", "source": source.splitlines(True)} for source in sources]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": "# Text"}, *cells]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("submissions")
    for name, sources in SUBMISSIONS.items():
        (made / f"{name}.ipynb").write_text(notebook(sources), encoding="utf-8")
    (made / "damaged").mkdir()
    (made / "damaged" / "lab.ipynb").write_text("{", encoding="utf-8")
    (made / "numpy.py").write_text("raise SystemExit", encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def grades(folder):
    return {one.submission: one for one in grade_folder(folder, limit=60)}


def test_right_wrong_and_empty(grades) -> None:
    marks = {name: [v.exercise for v in one.verdicts if v.right] for name, one in grades.items()}
    assert marks["right"] == list(RIGHT) and marks["wrong"] == [1] and marks["empty"] == []
    assert [one.submission for one in grades.values()] == sorted(grades)
    said = {v.exercise: v.sentence for v in grades["wrong"].verdicts}
    assert "not R K P" in said[2] and "on a line" in said[4]
    assert said[3] == "No answer: no cell assigns `fine_kernel` and `response` and `nyquist`."
    empty = [v.sentence for v in grades["empty"].verdicts]
    assert len(empty) == len(EXERCISES) and "`scale` is still empty" in empty[3]


def test_a_submission_cannot_change_its_judge(grades) -> None:
    assert grades["cheat"].right == 0
    assert "not R K P" in grades["cheat"].verdicts[1].sentence


def test_a_crash_costs_its_own_exercise_alone(grades) -> None:
    assert grades["crash"].right == 1 and grades["gone"].right == 1
    said = {v.exercise: v.sentence for v in grades["crash"].verdicts}
    assert said[2] == (
        "Code cell 1 stops with ModuleNotFoundError: No module named 'a_package_that_nobody_has'."
    )
    assert said[4].startswith("Code cell 2 stops with SyntaxError: ")
    assert grades["gone"].verdicts[1].sentence == "Python itself stopped in code cell 2 (status 9)."
    assert grades["damaged/lab"].verdicts[0].sentence == "lab.ipynb is not a notebook."
    assert grades["nothing"].right == 0


def test_a_submission_that_does_not_end_is_stopped(tmp_path) -> None:
    endless = "import time\nwhile True: time.sleep(0.01)"
    (tmp_path / "endless.ipynb").write_text(notebook([endless]), encoding="utf-8")
    (one,) = grade_folder(tmp_path, limit=0.2)
    assert "still running at the time limit of 0.2 s" in one.verdicts[0].sentence
    assert one.right == 0 and one.seconds < 30


def test_the_table_has_a_row_for_each_and_a_sentence_for_each_fault(grades) -> None:
    lines = table(grades.values()).splitlines()
    heads, *rows = lines[: len(grades) + 1]
    assert heads.split() == ["submission", *map(str, EXERCISES), "right", "seconds"]
    assert rows[-2].split()[:-1] == ["right", *"++-+---+", "4/8"]
    assert "wrong, exercise 4: Not yet: `scale` is the factor on a line" in "\n".join(lines)
    missed = sum(len(EXERCISES) - one.right for one in grades.values())
    assert len(lines) == 1 + len(grades) + missed


def test_the_command_writes_both_files(tmp_path, capsys) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "anna.ipynb").write_text(notebook([RIGHT[4]]), encoding="utf-8")
    files = [f"--json={tmp_path / 'g.json'}", f"--csv={tmp_path / 'g.csv'}"]
    assert main(["grade", str(work), *files]) == 0
    assert "anna" in capsys.readouterr().out
    (found,) = json.loads((tmp_path / "g.json").read_text("utf-8"))["submissions"]
    assert found["submission"] == "anna" and found["right"] == 1
    assert found["verdicts"][3] == {
        "exercise": 4, "right": True, "sentence": found["verdicts"][3]["sentence"],
    }  # fmt: skip
    heads, row = csv.reader((tmp_path / "g.csv").read_text("utf-8").splitlines())
    assert heads[4] == "exercise 4" and row[:5] == ["anna", "0", "0", "0", "1"] and row[9] == "1"


def test_a_folder_without_notebooks_is_one_sentence(tmp_path, capsys) -> None:
    assert main(["grade", str(tmp_path)]) == 2
    assert "holds no notebook. Give the folder of the submissions." in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds no notebook"):
        submissions(tmp_path / "missing")
