"""Pages written by hand: what they tell a reader to type is what the project accepts."""

import importlib
import re
import shlex

import notebooks
import pytest
import yaml
from notebooks import ROOT

from mgcore.lab.cli import read_arguments

PAGES = sorted((ROOT / "book").glob("*.md")) + [ROOT / "README.md"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))


def typed(text: str, start: str) -> list[str]:
    """Return what follows `start` on each line that begins with it, without the comment."""
    lines = re.findall(rf"^\s*{re.escape(start)} (.*)$", text, re.M)
    return [line.partition("#")[0].strip() for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_accepted(page) -> None:
    text = page.read_text("utf-8")
    for command in typed(text, ".venv/bin/python -m mgcore"):
        read_arguments(shlex.split(command))
    for command in typed(text, "make"):
        assert command.split()[0] in TARGETS, command
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert target in TARGETS, target


def test_somebody_reads_commands_here() -> None:
    assert len(typed((ROOT / "book" / "running.md").read_text("utf-8"), "make")) == 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_measured_number_is_typed(page) -> None:
    not_prose = re.compile(r"```.*?```|\{glue:\w*\}`[^`]*`|`[^`]*`", re.S)
    prose = not_prose.sub("", page.read_text("utf-8"))
    typed_in = re.findall(r"\d+(?:\.\d+)?\s*(?:%|points|trials|epochs|seconds|MB|GB)", prose)
    assert not typed_in, f"{page.name} types {typed_in}"


@pytest.mark.parametrize("path", notebooks.chapters(), ids=lambda path: path.stem)
def test_contributing_tells_what_a_chapter_has(path) -> None:
    """The recipe for a new chapter is true of those there are."""
    recipe = (ROOT / "book" / "contributing.md").read_text("utf-8")
    first = notebooks.read(ROOT / path).cells[0].source
    for part in re.findall(r"\*\*(The question\.|After this chapter you can|You need)\*\*", recipe):
        assert f"**{part}**" in first or f"**{part}" in first
    assert (ROOT / "book" / "teaching" / f"{path.stem}.yml").exists()
    tagged = notebooks.tagged(notebooks.read(ROOT / path), "solution")
    assert tagged and "`solution`" in recipe


def resolved(name: str) -> bool:
    """Return whether a dotted name is a module, or something that a module holds."""
    found, *rest = name.split(".")
    value = importlib.import_module(found)
    for part in rest:
        found += f".{part}"
        try:
            value = getattr(value, part, None) or importlib.import_module(found)
        except ModuleNotFoundError:
            return False
    return True


RECIPES = [ROOT / "README.md", ROOT / "book" / "contributing.md"]


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)
def test_names_and_files_in_the_recipes_exist(page) -> None:
    text = page.read_text("utf-8")
    for name in re.findall(r"`(mgcore(?:\.\w+)+)(?:\(\))?`", text):
        assert resolved(name), name
    for file in re.findall(r"`((?:mgcore|tests|book)/[\w/]+\.\w+)`", text):
        assert (ROOT / file).exists() or "NAME" in file, file
    for name, file in re.findall(r"`(\w+)`(?: \(| in )`((?:mgcore|tests)/[\w/]+\.py)`", text):
        assert re.search(rf"\b{name}\b", (ROOT / file).read_text("utf-8")), (name, file)


def test_claims_have_the_fields_that_their_header_lists() -> None:
    """A field that some claim uses is explained where a reader starts."""
    text = (ROOT / "book" / "claims.yml").read_text("utf-8")
    header = text.partition("# ---")[0]
    fields = {field for entry in yaml.safe_load(text) for field in entry}
    assert not [field for field in fields if not re.search(rf"\b{field}\b", header)]
