"""The figures that chapters show: where each stands, what it says, and which function drew it."""

from __future__ import annotations

import ast
import base64
import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

import nbformat
import notebooks

PICTURE = "image/png"


@dataclass(frozen=True)
class Drawn:
    """One figure of a chapter.

    Attributes
    ----------
    chapter : str
    anchor : str
        The label of the figure on its page.
    caption, alt : str
        The caption is that of the figure, or its section's heading where it has none.
    functions : tuple of functions
        Those of `mgcore.lab` that its cell calls to draw it.
    png : bytes
    """

    chapter: str
    anchor: str
    caption: str
    alt: str
    functions: tuple[FunctionType, ...]
    png: bytes


def label_of(function: FunctionType) -> str:
    """Return the label of a function on the page that shows the code of the figures."""
    return f"drawn-{function.__module__.rpartition('.')[2]}-{function.__name__}".replace("_", "-")


def name_of(function: FunctionType) -> str:
    """Return a function's name with its module's, ``baseline.error_by_epoch``."""
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"


def find(notebook: nbformat.NotebookNode, path: Path) -> list[Drawn]:
    """Return the figures of an executed chapter in their order."""
    names = _modules(notebook)
    found, heading = [], path.stem
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            lines = [line for line in cell.source.splitlines() if line.startswith("#")]
            heading = lines[-1].strip("# ") if lines else heading
            continue
        pictures = _pictures(cell)
        if not pictures:
            continue
        mystnb = cell.metadata.get("mystnb", {})
        about = {**mystnb.get("image", {}), **mystnb.get("figure", {})}
        anchor = about.get("name") or f"figure-{path.stem}-{len(found) + 1}".replace("_", "-")
        functions = tuple(dict.fromkeys(_called(cell.source, names)))
        caption, alt = about.get("caption", heading), about.get("alt", "")
        found.append(Drawn(path.stem, anchor, caption, alt, functions, pictures[-1]))
    return found


def link(notebook: nbformat.NotebookNode, figures: list[Drawn]) -> nbformat.NotebookNode:
    """Give every figure a label and a line that leads to the code that drew it, in place.

    Parameters
    ----------
    notebook
        A chapter, or what is left of it.
    figures
        What `find` found in it.
    """
    waiting = list(figures)
    cells: list[nbformat.NotebookNode] = []
    for cell in notebook.cells:
        figure = waiting.pop(0) if cell.cell_type == "code" and _pictures(cell) else None
        named = "name" in cell.metadata.get("mystnb", {}).get("figure", {})
        if figure and not named:
            cells.append(notebooks.markdown(f"({figure.anchor})=", f"label-{figure.anchor}"))
        cells.append(cell)
        if figure and figure.functions:
            made_by = ", ".join(
                f"{{ref}}`{name_of(function)} <{label_of(function)}>`"
                for function in figure.functions
            )
            text = f"```{{container}} made-by\nDrawn by {made_by}.\n```"
            cells.append(notebooks.markdown(text, f"made-by-{figure.anchor}"))
    notebook.cells = cells
    return notebook


def _pictures(cell: nbformat.NotebookNode) -> list[bytes]:
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    return [base64.b64decode(shown[PICTURE]) for shown in data if PICTURE in shown]


def _modules(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Return the modules of `mgcore.lab` by the name that the chapter gives them."""
    found = {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for node in ast.walk(_parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mgcore.lab."):
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    if _is_module(name):  # not a function of one
                        found[alias.asname or alias.name] = name
    return found


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # what it would lie in is no package
        return False


def _called(source: str, modules: dict[str, str]) -> Iterator[FunctionType]:
    """Yield the functions of `modules` that a cell calls and that return a figure."""
    for node in ast.walk(_parse(source)):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            module = modules.get(called.value.id)
            function = module and getattr(importlib.import_module(module), called.attr, None)
            if function and inspect.signature(function).return_annotation == "Figure":
                yield inspect.unwrap(function)


def _parse(source: str) -> ast.Module:
    """Return the syntax tree of a cell; an empty one where it is not plain Python."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])
