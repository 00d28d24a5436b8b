"""The built site, and the check that reads it, on pages with known faults."""

from pathlib import Path

import pytest
from check_site import check
from notebooks import ROOT, pages

HTML = ROOT / "_build" / "html"
built = pytest.mark.skipif(
    not (HTML / "index.html").exists(), reason="no site has been built; `make book` builds it"
)


@built
def test_the_site_has_every_page() -> None:
    for page in pages():
        assert (HTML / f"{page}.html").exists()


@built
def test_nothing_is_wrong_with_the_site() -> None:
    # That it exists says that it was built without a warning: a failed one lies in html-failed.
    assert check(HTML) == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('<a href="other.html#here">x</a><a href="#top">x</a>', None),
        ('<a href="https://example.org/">x</a><a href="mailto:a@b">x</a>', None),
        ('<img src="a.png" alt="A line"><img src="a.png" role="presentation">', None),
        ('<a href="gone.html">x</a>', "page.html: the link gone.html leads nowhere."),
        ('<a href="../up.html">x</a>', "page.html: the link ../up.html leads nowhere."),
        ('<a href="other.html#no">x</a>',
         "page.html: the link other.html#no leads to no place on its page."),
        ('<a href="#no">x</a>', "page.html: the link #no leads to no place on its page."),
        ('<img src="a.png">', "page.html: the picture a.png has no alt text."),
        ('<img src="a.png" alt=" ">', "page.html: the picture a.png has no alt text."),
        ('<img src="b.png" alt="x">', "page.html: the link b.png leads nowhere."),
        ('<svg role="img"></svg>', "page.html: the picture svg has no alt text."),
        ('<script src="https://cdn.org/a.js"></script>',
         "page.html: loads https://cdn.org/a.js from another host."),
        ('<link rel="stylesheet" href="//cdn.org/a.css">',
         "page.html: loads //cdn.org/a.css from another host."),
        ('<img src="https://cdn.org/a.png" alt="x">',
         "page.html: loads https://cdn.org/a.png from another host."),
        ('<style>@font-face { src: url(https://cdn.org/a.woff2) }</style>',
         "page.html: loads https://cdn.org/a.woff2 from another host."),
        ('<script>import("https://cdn.org/a.mjs")</script>',
         "page.html: loads https://cdn.org/a.mjs from another host."),
    ],
)  # fmt: skip
def test_faults_are_found(tmp_path: Path, body: str, sentence: str | None) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path.parent / "up.html").write_text("<p>outside the site</p>")
    (tmp_path / "other.html").write_text('<p id="here">x</p>')
    (tmp_path / "page.html").write_text(f'<body id="top">{body}</body>')
    assert check(tmp_path) == ([sentence] if sentence else [])


def test_styles_from_another_host_are_found(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>x</p>")
    (tmp_path / "a.css").write_text("@import 'https://cdn.org/b.css'; a { background: url(c.png) }")
    assert check(tmp_path) == ["a.css: loads https://cdn.org/b.css from another host."]


def test_an_empty_folder_is_no_site(tmp_path: Path) -> None:
    assert check(tmp_path) == [f"{tmp_path} holds no page."]
