"""Sphinx extension: leave out thebe, which Jupyter Book always loads.

Its two copies declare one constant twice, an error in every page's console, and it names another
host. This book's chapters run on the reader's own machine instead.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def _is_thebe(asset: Any) -> bool:
    """Return whether a script or style, from a file or written into the page, is thebe's."""
    body = (getattr(asset, "attributes", None) or {}).get("body") or ""
    return "thebe" in str(getattr(asset, "filename", asset) or "") or "thebe" in body


def drop_thebe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Take thebe's scripts and styles out of the lists that `page` is rendered with."""
    for kind in ("script_files", "css_files"):
        context[kind] = [asset for asset in context.get(kind, []) if not _is_thebe(asset)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension, after those whose scripts it drops."""
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
