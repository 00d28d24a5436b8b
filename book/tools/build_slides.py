"""Build the slides of all chapters with sphinx-revealjs; they ask no other host for anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import notebooks
import yaml
from notebooks import ROOT
from slides import columns, deck

SOURCE, OUTPUT = ROOT / "_build" / "slides-source", ROOT / "_build" / "slides"

CONF = '''"""Settings of the slides."""
project, author, copyright = {title!r}, {author!r}, {year!r}
extensions = [
    "myst_nb", "sphinx_proof", "sphinx_exercise", "sphinxcontrib.bibtex",
    "sphinx-mathjax-offline", "sphinx_revealjs",
]
bibtex_bibfiles = ["references.bib"]
bibtex_encoding = "utf-8-sig"
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {{}}
nb_mime_priority_overrides = [
    ("revealjs", "image/png", 0), ("revealjs", "text/html", 5), ("revealjs", "text/plain", 90),
]
suppress_warnings = ["myst.header", "myst.xref_missing", "myst.nested_header"]
html_static_path = ["_static"]
html_title = {title!r}
html_favicon = "_static/favicon.svg"
revealjs_static_path = ["_static"]
revealjs_css_files = ["slides.css"]
revealjs_style_theme = "white"
revealjs_script_conf = {{"slideNumber": True, "hash": True, "width": 1120, "height": 760}}
revealjs_script_plugins = [{{"name": "RevealNotes", "src": "revealjs/plugin/notes/notes.js"}}]
'''
STYLE = """/* Slides: dark text on white, left-aligned, figures as large as the slide. */
.reveal { font-size: 26px; font-family: "DejaVu Sans", Verdana, sans-serif; }
.reveal .slides { text-align: left; }
.reveal h1 { font-size: 1.9em; text-transform: none; }
.reveal h2, .reveal h3 { font-size: 1.25em; text-transform: none; }
.reveal img { max-height: 560px; max-width: 100%; height: auto !important; }
.reveal img { margin: 0 auto; display: block; }
.reveal pre { font-size: 0.55em; width: 100%; box-shadow: none; }
.reveal pre code { max-height: 520px; }
.reveal table { font-size: 0.5em; }
.reveal .caption-text, .reveal caption { font-size: 0.6em; }
.reveal .admonition { font-size: 0.8em; }
"""


def write(executed: Path, source: Path) -> None:
    """Lay out the decks, their settings and their first page in `source`."""
    shutil.rmtree(source, ignore_errors=True)
    (source / "_static").mkdir(parents=True)
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    about = {"title": config["title"], "author": config["author"], "year": config["copyright"]}
    (source / "conf.py").write_text(CONF.format(**about), encoding="utf-8")
    (source / "_static" / "slides.css").write_text(STYLE, encoding="utf-8")
    shutil.copy2(ROOT / "book" / "references.bib", source)
    shutil.copy2(ROOT / "book" / "_static" / "favicon.svg", source / "_static")
    links = []
    for path in notebooks.chapters():
        notebook = notebooks.strip(notebooks.read(executed / path))
        made = deck(notebook, path.stem)
        notebooks.write(made, source / path.name)
        links.append(f"- [{columns(notebook)[0]}]({path.name})")
    first = f"# {config['title']}\n\n## Decks\n\n" + "\n".join(links) + "\n"
    toc = "\n".join(["```{toctree}", ":hidden:", *(p.stem for p in notebooks.chapters()), "```"])
    (source / "index.md").write_text(f"{first}\n{toc}\n", encoding="utf-8")


def main() -> int:
    """Build the decks of the executed chapters into ``_build/slides``; return the exit status."""
    write(ROOT / "_build" / "executed", SOURCE)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-b", "revealjs", "-q", "-E", "-W", "--keep-going"]
    done = subprocess.run([*command, str(SOURCE), str(OUTPUT)], capture_output=True, text=True)
    if done.returncode or not (OUTPUT / "index.html").exists():
        raise SystemExit(f"The slides were not built:\n{done.stderr.strip()[-4000:]}")
    print("The slides are at _build/slides/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
