"""The cell of a chapter that installs the project where the notebook is opened without it.

Its text stands here alone.  ``python book/tools/install_cell.py`` writes it into every chapter,
behind the title; on the site the cell is hidden.  The address of the project is ``repository: url``
in ``_config.yml``; without one, a reader names a copy of the project in the cell.
"""

from __future__ import annotations

import sys

import nbformat
import notebooks
import yaml
from notebooks import ROOT

TAG = "install"
TEXT = """\
# Where the project is installed, this cell does nothing. Elsewhere it installs the project, which
# brings the records. PROJECT: a folder that holds a copy, or the address of its git repository.
PROJECT = "{address}"
try:
    import {needed}
except ImportError:
    import os
    import subprocess
    import sys
    from pathlib import Path

    here = Path.cwd()
    folders = [Path(PROJECT).expanduser(), here, *here.parents, *here.glob("*/")]
    project = next((f.resolve() for f in folders if (f / "mgcore" / "grids.py").exists()), None)
    if project is None and PROJECT:
        project = here / "project"
        print(f"Copying the project from {{PROJECT}} into {{project}}.")
        subprocess.run(["git", "clone", "--quiet", "--depth=1", PROJECT, str(project)], check=True)
    if project is None:
        raise ModuleNotFoundError(
            "The package mgcore is not installed, and no copy of the project is in this folder or "
            "above it. Write the folder of a copy, or its git address, behind PROJECT in this cell."
        ) from None
    print(f"Installing mgcore and the packages of the book from {{project}} (some minutes).")
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--editable", f"{{project}}[book]"], check=True)
    sys.modules.pop("mgcore", None)
    sys.path.insert(0, str(project))
    os.environ.setdefault("MGCORE_RECORDS", str(project / "book" / "records"))
"""


def text(notebook: nbformat.NotebookNode) -> str:
    """Return the cell's text for a chapter, which asks for what the chapter imports."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    shown = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    glues = any("from myst_nb import" in source for source in shown)
    needed = "mgcore.grids, myst_nb" if glues else "mgcore.grids"
    return TEXT.format(address=config["repository"]["url"], needed=needed).rstrip()


def put(notebook: nbformat.NotebookNode, name: str) -> bool:
    """Put the cell behind the title of the chapter `name`, in place; return whether it changed.

    A new cell counts as executed first: where chapters are executed it does nothing.
    """
    wanted = text(notebook)
    if found := notebooks.tagged(notebook, TAG):
        changed, found[0].source = found[0].source != wanted, wanted
        return changed
    for cell in notebook.cells:
        counted = [cell, *cell.get("outputs", [])]
        for item in (item for item in counted if item.get("execution_count")):
            item.execution_count += 1
    cell = nbformat.v4.new_code_cell(wanted, execution_count=1)
    cell.id, cell.metadata["tags"] = f"{name}-install", [TAG, "remove-cell"]
    notebook.cells.insert(1, cell)
    return True


def main() -> int:
    """Write the cell into every chapter of `_toc.yml`; name the chapters that changed."""
    for path in notebooks.chapters():
        notebook = notebooks.read(ROOT / path)
        if put(notebook, path.stem):
            notebooks.write(notebook, ROOT / path)
            print(f"rewritten: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
