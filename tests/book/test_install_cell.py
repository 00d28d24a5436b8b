"""The cell that makes a chapter run where it was opened alone (issues 18, 21.24, 22.5, 22.14)."""

import os
import subprocess
import sys
from pathlib import Path

import install_cell
import notebooks
import pytest
from notebooks import ROOT

CHAPTERS = notebooks.chapters()
# Runs the cell in a Python that has neither mgcore nor myst_nb, and prints what it would start.
ALONE = """
import os, subprocess, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mgcore", "myst_nb"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
subprocess.run = lambda command, check: print("started:", *command, sep="|")
source = sys.stdin.read()
try:
    exec(compile(source, "cell", "exec"), {})
except ModuleNotFoundError as error:
    print("refused:", error)
print("records:", os.environ.get("MGCORE_RECORDS"), "path:", sys.path[0])
"""


@pytest.mark.parametrize("path", CHAPTERS, ids=str)
def test_every_chapter_has_the_cell_behind_its_title(path):
    notebook = notebooks.read(ROOT / path)
    cell = notebook.cells[1]
    assert notebooks.tagged(notebook, install_cell.TAG) == [cell]
    assert cell.source == install_cell.text(notebook), "run book/tools/install_cell.py"
    assert "remove-cell" in cell.metadata["tags"] and not cell.outputs
    assert not install_cell.put(notebook, path.stem)
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code" and c is not cell)
    assert ("myst_nb" in cell.source) == ("import glue" in code)


def test_a_new_cell_counts_as_executed_first():
    notebook = notebooks.read(ROOT / CHAPTERS[0])
    before = [cell.source for cell in notebook.cells]
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    del notebook.cells[1]
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.execution_count -= 1
    assert install_cell.put(notebook, CHAPTERS[0].stem)
    assert [cell.source for cell in notebook.cells] == before
    assert [c.execution_count for c in notebook.cells if c.cell_type == "code"] == counts


def run(folder: Path, project: str = "") -> str:
    """Return what the cell prints in a working folder where nothing is installed."""
    source = install_cell.TEXT.format(address=project, needed="mgcore.grids, myst_nb")
    environment = {k: v for k, v in os.environ.items() if k != "MGCORE_RECORDS"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE], input=source, cwd=folder, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path) -> Path:
    """Return a folder that looks like a copy of the project."""
    folder = tmp_path / "a copy"
    (folder / "mgcore").mkdir(parents=True)
    (folder / "mgcore" / "grids.py").touch()
    (folder / "book").mkdir()
    return folder


def installed_from(folder: Path, printed: str) -> bool:
    """Whether the cell starts one pip that installs a copy, and points at the copy's records."""
    pip = f"started:|{sys.executable}|-m|pip|install|--quiet|--editable|{folder}[book]\n"
    state = f"records: {folder / 'book' / 'records'} path: {folder}\n"
    said = f"Installing mgcore and the packages of the book from {folder} (some minutes).\n"
    return printed.endswith(said + pip + state)


def test_a_copy_of_the_project_is_found_above_beside_or_by_name(copy, tmp_path):
    (tmp_path / "elsewhere" / "inside").mkdir(parents=True)
    assert installed_from(copy, run(copy / "book"))
    assert installed_from(copy, run(tmp_path))
    assert installed_from(copy, run(tmp_path / "elsewhere" / "inside", "../../a copy"))


def test_an_address_is_cloned_and_installed(tmp_path):
    printed = run(tmp_path, "https://example.org/book.git")
    clone = f"https://example.org/book.git|{tmp_path / 'project'}\n"
    assert f"started:|git|clone|--quiet|--depth=1|{clone}" in printed
    assert installed_from(tmp_path / "project", printed)


def test_without_a_copy_one_sentence_says_what_to_write(tmp_path):
    refused, state = run(tmp_path).splitlines()
    assert refused.startswith("refused: The package mgcore is not installed, and no copy")
    assert "behind PROJECT in this cell." in refused and state.startswith("records: None")


def test_where_the_project_is_installed_nothing_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("something was started"))
    exec(install_cell.TEXT.format(address="", needed="mgcore.grids, myst_nb"), {})
