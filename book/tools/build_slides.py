"""Build the slides with sphinx-revealjs; they ask no other host for anything.

The first page is the lecture (:mod:`lecture`); its last slide leads to a deck for each chapter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import guard
import lecture
import notebooks
import teaching
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
# Of the 26 px of a slide's text a table has 0.9, a caption 0.7: what the back row can read.  The
# theme's own font is narrower than the text's, so that a mean and its interval stay on one line.
STYLE = """/* Slides: dark text on white, left-aligned, figures as large as the slide. */
.reveal { font-size: 26px; font-family: "DejaVu Sans", Verdana, sans-serif; }
.reveal .slides { text-align: left; }
.reveal h1 { font-size: 1.9em; text-transform: none; }
.reveal h2, .reveal h3 { font-size: 1.25em; text-transform: none; }
.reveal img { width: 100% !important; height: auto !important; max-height: 540px; }
.reveal img { object-fit: contain; margin: 0 auto; display: block; }
.reveal figure { margin: 0; width: 100%; }
.reveal pre { font-size: 0.75em; width: 100%; box-shadow: none; margin: 0.4em 0; }
.reveal pre code { max-height: none; }
.reveal pre, .reveal pre code { white-space: pre-wrap; }
.reveal div.cell_output { margin: 0; padding: 0; }
.reveal table { font-size: 0.9em; width: 100%; line-height: 1.2; }
.reveal table { font-family: "Source Sans Pro", "DejaVu Sans", sans-serif; }
.reveal table th, .reveal table td { padding: 0.15em 0.4em; }
.reveal table caption { font-size: 0.8em; text-align: left; line-height: 1.3; }
.reveal table caption { margin-bottom: 0.5em; }
.reveal figcaption { font-size: 0.7em; line-height: 1.3; }
.reveal figcaption p { margin: 0.3em 0; }
.reveal table p { margin: 0; }
.reveal .caption-number { display: none; }
.reveal ul, .reveal ol, .reveal dl { font-size: 0.92em; }
.reveal li ul, .reveal li ol { font-size: 1em; }
.reveal dt { font-weight: bold; }
.reveal dd p { margin: 0 0 0.4em; }
.reveal .admonition { font-size: 0.8em; }
.reveal .long { position: absolute; top: -34px; right: 0; margin: 0; font-size: 0.6em; }
.reveal .long { border: 1px solid #595959; border-radius: 4px; padding: 0.1em 0.5em; }
.reveal li { margin: 0.35em 0; }
.reveal img.lecture { max-height: 480px; } /* else a slide is two pages in print */
.reveal .large { font-size: 1.3em; }
.reveal .large p, .reveal .large dd { margin-top: 0.5em; }
.reveal .large table { font-size: 1em; line-height: 1.7; }
.reveal .decks ul { columns: 2; }
"""


def write(executed: Path, source: Path) -> None:
    """Lay out the lecture, the decks and their settings in `source`."""
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
        made = deck(notebook, path.stem, teaching.read(path.stem).quiz)
        notebooks.write(made, source / path.name)
        links.append(f"- [{columns(notebook)[0]}]({path.name})")
    decks = "\n".join(links)
    last = f"## A deck for each chapter\n\n:::{{container}} decks\n{decks}\n:::"
    toc = "\n".join(["```{toctree}", ":hidden:", *(p.stem for p in notebooks.chapters()), "```"])
    lecture.write(executed, source, f"{last}\n\n{toc}")


def main() -> int:
    """Build the decks of the executed chapters into ``_build/slides``; return the exit status."""
    write(ROOT / "_build" / "executed", SOURCE)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-b", "revealjs", "-q", "-E", "-W", "--keep-going"]
    environment = os.environ | {"PYTHONUTF8": "1"}
    done = subprocess.run(
        [*command, str(SOURCE), str(OUTPUT)], env=environment, capture_output=True,
        encoding="utf-8", errors="replace",
    )  # fmt: skip
    if done.returncode or not (OUTPUT / "index.html").exists():
        raise SystemExit(f"The slides were not built:\n{done.stderr.strip()[-4000:]}")
    print("The slides are at _build/slides/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(guard.until_stopped(main))
