"""The imports of `mgcore`, read from its source, and the picture of the house drawn from them."""

from __future__ import annotations

import ast
import html
from pathlib import Path
from typing import TYPE_CHECKING

from notebooks import ROOT

if TYPE_CHECKING:
    from generated import Book

Arrow = tuple[str, str, str]  # importing module, imported module, imported name

# What the boxes of the picture hold, in a few words.
HOLDS = {
    "grids": "R and P",
    "operators": "kernels as derivatives",
    "kernels": "the Galerkin map",
    "optimize": "trust regions",
    "data": "images of digits",
    "multigrid": "the model problem",
    "refinement": "any network, refined",
    "thesis": "the thesis's network",
    "train": "training on a budget",
    "analysis": "loss surfaces, features",
    "protocol": "what an experiment is",
    "records": "what is kept",
    "trial": "one trial",
    "run": "many trials",
    "verdict": "what follows",
    "choices": "the open choices",
    "scales": "training strategies",
    "cost": "time and memory",
    "classroom": "checks and grades",
    "pages": "words and tables",
    "figures": "pictures",
    "cli": "the command line",
}


def modules(root: Path) -> dict[str, Path]:
    """Return the file of every module below ``root/mgcore`` by its dotted name."""
    found = {}
    for file in sorted((root / "mgcore").rglob("*.py")):
        name = ".".join(file.relative_to(root).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = file
    return found


def arrows(root: Path) -> list[Arrow]:
    """Return every import of one module of mgcore by another, wherever in the file it stands."""
    files = modules(root)
    found = []
    for name, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:  # a relative import
                    parts = name.split(".")
                    package = parts if file.name == "__init__.py" else parts[:-1]
                    package = package[: len(package) - node.level + 1]
                    base = ".".join([*package, *([node.module] if node.module else [])])
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    target = inner if inner in files else base
                    if target in files:
                        found.append((name, target, alias.name))
            elif isinstance(node, ast.Import):
                found += [(name, a.name, a.name) for a in node.names if a.name in files]
    return found


def reached(graph: list[Arrow]) -> dict[str, set[str]]:
    """Return for every importing module all that it imports, directly or not."""
    after: dict[str, set[str]] = {}
    for start, end, _ in graph:
        after.setdefault(start, set()).add(end)
    found = {}
    for start in after:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for name in after.get(todo.pop(), ()):
                if name not in seen:
                    seen.add(name)
                    todo.append(name)
        found[start] = seen
    return found


def circles(graph: list[Arrow]) -> list[list[str]]:
    """Return the groups of modules that import each other in a circle."""
    reach = reached(graph)
    groups = {
        tuple(sorted({n for n in reach[name] if name in reach.get(n, ())} | {name}))
        for name in reach
        if name in reach[name]
    }
    return [list(group) for group in sorted(groups)]


def wing(module: str, package: str) -> str | None:
    """Return the child of `package` that `module` lies in, or None if it lies outside."""
    if not module.startswith(f"{package}."):
        return None
    return module.removeprefix(f"{package}.").split(".")[0]


def levels(root: Path, package: str) -> list[list[str]]:
    """Return the wings of a package in columns: each imports only from columns to its left."""
    below: dict[str, set[str]] = {}
    for name in modules(root):
        if (one := wing(name, package)) and one != "__main__":
            below.setdefault(one, set())
    for start, end, _ in arrows(root):
        one, other = wing(start, package), wing(end, package)
        if one in below and other in below and one != other:
            below[one].add(other)
    found: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(below):
        level = [name for name, needs in below.items() if name not in placed and needs <= placed]
        found.append(level)
        placed |= set(level)
    return found


def rooms(root: Path, package: str, name: str) -> list[str]:
    """Return the modules of a wing; none for a wing that is a single file."""
    folder = root.joinpath(*package.split("."), name)
    return sorted(p.stem for p in folder.glob("*.py") if p.stem != "__init__")


LINE, COLUMN, GAP, TOP = 15, 170, 18, 30
COLUMNS = 4  # in a row of the picture, which is then as wide as a page


def picture(root: Path = ROOT) -> str:
    """Return the house as SVG: opaque, as the figures are, and legible on a phone when enlarged."""
    parts: list[str] = []
    y, width = 12, COLUMNS * (COLUMN + GAP) + GAP
    for package, colour in (("mgcore", "#0077bb"), ("mgcore.lab", "#5b0f4f")):
        columns = [[w for w in level if w != "lab"] for level in levels(root, package)]
        columns = [level for level in columns if level]
        parts.append(f'<text x="{GAP}" y="{y + 18}" font-weight="bold">{package}</text>')
        y += TOP
        for first in range(0, len(columns), COLUMNS):
            bottom = y
            for number, level in enumerate(columns[first : first + COLUMNS]):
                x, place = GAP + number * (COLUMN + GAP), y
                for name in level:
                    lines = rooms(root, package, name)
                    height = LINE * (len(lines) + 2) + 12
                    parts += _box(x, place, height, colour, name, lines)
                    place += height + 10
                if first + number + 1 < len(columns):
                    middle, edge = y + 24, x + COLUMN + 4
                    parts.append(
                        f'<path d="M{edge} {middle}l8 7-8 7" fill="none" stroke="#595959"/>'
                    )
                bottom = max(bottom, place)
            y = bottom + 8
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" role="img" '
        'font-family="DejaVu Sans, Verdana, sans-serif" font-size="12" fill="#222222">',
        "<title>The packages mgcore and mgcore.lab</title>",
        f'<rect width="{width}" height="{y}" rx="6" fill="#fdfdfb"/>', *parts, "</svg>",
    ])  # fmt: skip


def _box(x: int, y: int, height: int, colour: str, name: str, lines: list[str]) -> list[str]:
    parts = [
        f'<rect x="{x}" y="{y}" width="{COLUMN}" height="{height}" rx="6" fill="#ffffff" '
        f'stroke="{colour}" stroke-width="1.6"/>',
        f'<text x="{x + 10}" y="{y + 18}" font-weight="bold">{name}</text>',
        f'<text x="{x + 10}" y="{y + 18 + LINE}" fill="#595959" font-size="11">'
        f"{html.escape(HOLDS.get(name, ''))}</text>",
    ]
    return parts + [
        f'<text x="{x + 10}" y="{y + 18 + LINE * (k + 2)}" font-size="11" '
        f'font-family="DejaVu Sans Mono, monospace">{line}</text>'
        for k, line in enumerate(lines)
    ]


def figure(book: Book) -> str:
    """Return the picture as a figure of the page, written beside the pages that Sphinx reads."""
    (book.source / "book" / "house.svg").write_text(picture(), encoding="utf-8")
    words = []
    for package in ("mgcore", "mgcore.lab"):
        order = [", ".join(w for w in level if w != "lab") for level in levels(ROOT, package)]
        words.append(f"{package}: {'; then '.join(part for part in order if part)}")
    alt = "The wings in columns. Each imports only from columns to its left. " + ". ".join(words)
    caption = (
        "The wings of mgcore and mgcore.lab with their modules, drawn from the imports. Read each "
        "row from the left: a wing imports only from wings before it."
    )
    return f"```{{figure}} house.svg\n:alt: {alt}.\n{caption}\n```"
