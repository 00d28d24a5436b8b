"""Let the book on a single page, which the PDF is printed from, know every kind of node.

Some extension names a visitor for Sphinx's ``singlehtml`` builder, and Sphinx then looks for all
others under that name as well, and not under that of its format.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def share_visitors(app: Sphinx) -> None:
    """Give the single page the visitors of pages."""
    known = app.registry.translation_handlers
    if app.builder.name == "singlehtml" and "singlehtml" in known:
        known["singlehtml"] = known.get("html", {}) | known["singlehtml"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", share_visitors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
