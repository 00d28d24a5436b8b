"""Quizzes and mistakes: every chapter has them, one answer is right, numbers are computed."""

import re

import editions
import notebooks
import pytest
import teaching
from nbformat import v4

CHAPTERS = notebooks.chapters()
NUMBER = re.compile(r"\d")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
class TestChapter:
    def test_has_a_quiz(self, path) -> None:
        quiz = teaching.read(path.stem).quiz
        assert len(quiz) >= 3, (
            f"Add at least three questions to book/teaching/{path.stem}.yml, as "
            "book/contributing.md says."
        )
        for question in quiz:
            assert len(question.options) >= 3
            assert sum(option.right for option in question.options) == 1
            assert all(len(option.why) > 15 for option in question.options), question.text

    def test_right_answers_that_are_numbers_are_computed(self, path) -> None:
        for question in teaching.read(path.stem).quiz:
            for option in question.options:
                bare = re.sub(r"\$[^$]*\$", "", option.text)
                assert not (option.right and NUMBER.search(bare)) or option.computed, option.text

    def test_every_exercise_has_a_mistake_to_expect(self, path) -> None:
        told = dict(teaching.read(path.stem).mistakes)
        assert set(told) == set(editions.of_chapter(path)), (
            f"book/teaching/{path.stem}.yml must have one entry under mistakes for each exercise."
        )
        assert all(len(text) > 15 for text in told.values())

    def test_every_exercise_says_how_long_a_class_should_have(self, path) -> None:
        told = dict(teaching.read(path.stem).minutes)
        assert set(told) == set(editions.of_chapter(path)), (
            f"book/teaching/{path.stem}.yml must have one entry under minutes for each exercise."
        )
        assert max(told.values(), default=0) <= 45  # a longer one is a project


def write(folder, text: str):
    (folder / "page.yml").write_text(text, encoding="utf-8")
    return teaching.read("page", folder)


QUESTION = "quiz:\n- question: Q\n  options:\n"


def test_a_value_takes_its_place(tmp_path) -> None:
    options = (
        '  - {text: "about {value}", value: 2 / 3, format: .2f, right: true, why: so}\n'
        '  - {text: "{value}", value: 7, why: no}\n'
    )
    (question,) = write(tmp_path, QUESTION + options).quiz
    found = {option.text: option.right for option in question.options}
    assert found == {"about 0.67": True, "7": False}
    assert all(option.computed for option in question.options)


def test_the_right_answer_stands_anywhere() -> None:
    questions = [question for path in CHAPTERS for question in teaching.read(path.stem).quiz]
    places = [[o.right for o in question.options].index(True) for question in questions]
    assert set(places) >= {0, 1, 2} and max(map(places.count, set(places))) < 0.6 * len(places)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (QUESTION + "  - {text: a, why: b}\n", "question 1: exactly one option must be right."),
        (QUESTION + "  - {text: a, why: b, right: true}\n  - {text: c, why: d, right: true}\n",
         "question 1: exactly one option must be right."),
        (QUESTION + "  - {text: a, why: b, right: true}\n  - {text: a, why: c}\n",
         "question 1: two options read the same."),
        (QUESTION + "  - {text: a}\n", "It must have text and why"),
        (QUESTION + '  - {text: "{value}", value: 1 / 0, why: b}\n', "cannot be computed"),
        ("colour: red\n", "A file has quiz, mistakes, minutes, checks and short"),
        ("minutes: {ex-a: soon}\n", "ex-a has minutes='soon'. Give a positive"),
        ("minutes: {ex-a: 0}\n", "ex-a has minutes=0. Give a positive"),
    ],
)  # fmt: skip
def test_faults_get_one_sentence(tmp_path, text: str, sentence: str) -> None:
    with pytest.raises(teaching.TeachingError, match=re.escape(sentence)):
        write(tmp_path, text)


def test_the_quiz_stands_behind_the_exercises_which_it_may_answer(tmp_path) -> None:
    write(tmp_path, QUESTION + "  - {text: yes it is, why: indeed, right: true}\n")
    cells = ["# T", "## Summary\n\nS.\n\n## Exercises\n\nE.", "F", "## Where from\n\nN."]
    for count in (4, 3):  # with a section behind the exercises, and without
        page = v4.new_notebook(cells=[v4.new_markdown_cell(text) for text in cells[:count]])
        made = teaching.add_quiz(page, "page", tmp_path)
        text = "\n".join(cell.source for cell in made.cells)
        parts = ("## Summary", "## Exercises", "F", "## Check", "yes it is", "## Where from")
        order = [text.index(part) for part in parts if part in text]
        assert order == sorted(order) and "**Right.** indeed" in text
        assert [cell.get("id") for cell in made.cells].count("quiz") == 1


def test_a_chapter_without_a_quiz_stays_as_it_is(tmp_path) -> None:
    assert teaching.read("nothing", tmp_path) == teaching.Teaching()
