"""How large torch's packages for CUDA are, which an image made from requirements.txt holds."""

from __future__ import annotations

import json

from generated import Book, table
from notebooks import ROOT

FILE = ROOT / "book" / "cuda_packages.json"


def sizes(book: Book) -> str:
    """Return the largest of the packages and the size of all together, as the index gave them."""
    about = json.loads(FILE.read_text("utf-8"))
    packages = sorted(about["packages"], key=lambda one: -one["bytes"])
    whole = sum(one["bytes"] for one in packages)
    rest = sum(one["bytes"] for one in packages[5:])
    rows = [[f"`{p['name']}` {p['version']}", f"{p['bytes'] / 1e6:.0f}"] for p in packages[:5]]
    rows += [[f"{len(packages) - 5} others", f"{rest / 1e6:.0f}"]]
    rows += [["**to download, packed**", f"**{whole / 1e6:.0f}**"]]
    caption = f"torch and what it asks for on Linux, megabytes, {about['measured']}."
    return table(caption, ["package", "MB"], rows)
