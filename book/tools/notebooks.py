"""What the tools know about chapters: which there are, their parameters, their bare form."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[2]
# Cell and notebook metadata that only say when and how something ran.
TRANSIENT = ("papermill", "execution", "ExecuteTime", "widgets")


def read(path: Path) -> nbformat.NotebookNode:
    """Read a notebook.

    Raises
    ------
    SystemExit
        Where the file is missing or is no notebook.
    """
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise SystemExit(f"{path} does not exist.") from None
    except Exception as error:
        raise SystemExit(f"{path} is not a notebook ({type(error).__name__}).") from None


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    nbformat.write(notebook, part)
    part.replace(path)


def pages(root: Path = ROOT) -> list[str]:
    """Return every page of `_toc.yml` in its order, as written there (``book/baseline``)."""
    toc = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))
    found = [toc["root"]]

    def visit(node: dict[str, Any]) -> None:
        if "file" in node:
            found.append(node["file"])
        for key in ("parts", "chapters", "sections", "entries", "subtrees"):
            for child in node.get(key, []):
                visit(child)

    visit({key: value for key, value in toc.items() if key != "root"})
    return found


def chapters(root: Path = ROOT) -> list[Path]:
    """Return the notebooks of `_toc.yml`, in its order, relative to `root`."""
    names = [Path(page).with_suffix("") for page in pages(root)]
    return [name.with_suffix(".ipynb") for name in names if (root / f"{name}.ipynb").exists()]


def markdown(text: str, name: str) -> nbformat.NotebookNode:
    """Return a markdown cell whose identifier is made of `name`, the same in every build."""
    cell = nbformat.v4.new_markdown_cell(text)
    cell.id = re.sub(r"[^\w-]", "-", name)[:64]
    return cell


def tagged(notebook: nbformat.NotebookNode, tag: str) -> list[nbformat.NotebookNode]:
    """Return the code cells that carry `tag`."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return [cell for cell in cells if tag in cell.metadata.get("tags", [])]


def parameters(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the names assigned in the cell tagged ``parameters``; none: not an experiment.

    Raises
    ------
    SystemExit
        Where a second cell is tagged so: it would override what the command line gives.
    """
    names: list[str] = []
    cells = tagged(notebook, "parameters")
    if len(cells) > 1:
        begin = cells[1].source.partition("\n")[0]
        raise SystemExit(
            f"{len(cells)} cells are tagged parameters; untag all but the first (the second begins "
            f"with {begin!r})."
        )
    for cell in cells:
        for node in ast.parse(cell.source).body:
            targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join the pieces of printed text, whose number depends on the timing of the kernel."""
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and joined and joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def strip(notebook: nbformat.NotebookNode, injected: bool = False) -> nbformat.NotebookNode:
    """Remove papermill's metadata, timestamps and progress bars, and join printed text, in place.

    Parameters
    ----------
    injected
        Remove the cells that papermill put in as well.
    """
    if injected:
        keep = []
        for cell in notebook.cells:
            if "injected-parameters" not in cell.metadata.get("tags", []):
                keep.append(cell)
        notebook.cells = keep
    for cell in notebook.cells:
        if cell.cell_type == "code":  # what goes to standard error tells how far and how fast
            shown = [o for o in cell.outputs if o.get("name") != "stderr"]
            cell.outputs = _joined(shown)
    for metadata in [notebook.metadata, *(cell.metadata for cell in notebook.cells)]:
        for key in TRANSIENT:
            metadata.pop(key, None)
        if metadata.get("tags") == []:  # papermill gives every cell an empty list
            del metadata["tags"]
    return notebook
