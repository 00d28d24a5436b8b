"""What is done to the built site, on a small one made for the test."""

import base64
import hashlib
import io
import re

import pytest
from nbformat import v4
from PIL import Image
from polish import keep_icons, polish, shorten

PAGE = """<details><summary><span class="toctree-toggle"></span></summary></details>
<div id="pst-primary-sidebar" class="x"></div><i class="fa-solid fa-bars"></i>
<div class="citation" role="doc-biblioentry">B</div>
<a href="../_images/a.png"><img alt="A" src="../_images/a.png"></a><img alt="B" src="b.png">"""
ICONS = (
    'var p={bars:[448,512,["navicon"],"f0c9","M0 96"],"arrow-up":[384,512,[8593],"f062","M2"],'
    'xmark:[384,512,[215,"close"],"f00d",["M3","M4"]]};run(p)'
)


@pytest.fixture
def site(tmp_path):
    for name in ("_images", "_static/scripts", "book"):
        (tmp_path / name).mkdir(parents=True)
    picture = Image.effect_noise((300, 200), 60).convert("RGB").quantize(90)
    picture.save(tmp_path / "_images" / "a.png")
    (tmp_path / "book" / "page.html").write_text(PAGE)
    (tmp_path / "_static" / "scripts" / "fontawesome.js").write_text(ICONS)
    return tmp_path


def test_pictures_become_smaller_and_keep_their_pixels(site) -> None:
    before = Image.open(site / "_images" / "a.png").convert("RGB")
    size = (site / "_images" / "a.png").stat().st_size
    polish(site)
    after = site / "_images" / "a.webp"
    assert after.stat().st_size < size and not (site / "_images" / "a.png").exists()
    assert Image.open(after).convert("RGB").tobytes() == before.tobytes()
    text = (site / "book" / "page.html").read_text()
    image = '<img loading="lazy" alt="A" src="../_images/a.webp">'
    assert f'<a href="../_images/a.webp">{image}</a>' in text
    assert '<img loading="lazy" alt="B" src="b.png">' in text


def test_a_phone_gets_a_figure_as_it_is_drawn_for_one(site, tmp_path_factory) -> None:
    wide = (site / "_images" / "a.png").read_bytes()
    name = hashlib.sha256(wide).hexdigest()
    (site / "_images" / f"{name}.png").write_bytes(wide)
    packed = io.BytesIO()
    Image.new("RGB", (71, 120), "white").save(packed, "webp")
    data, narrow = (base64.b64encode(one).decode() for one in (wide, packed.getvalue()))
    output = v4.new_output(
        "display_data", {"image/png": data}, metadata={"image/png": {"narrow": narrow}}
    )
    source = tmp_path_factory.mktemp("source")
    (source / "book").mkdir()
    book = v4.new_notebook(cells=[v4.new_code_cell("figure", outputs=[output])])
    (source / "book" / "one.ipynb").write_text(v4.writes(book), encoding="utf-8")
    page = site / "book" / "page.html"
    page.write_text(f'{PAGE}<a href="../_images/{name}.png"><img src="../_images/{name}.png"></a>')
    polish(site, source)
    media, address = re.search('media="(.*?)" srcset="(.*?)"', page.read_text()).groups()
    assert media == "screen and (max-width: 600px)" and address == f"../_images/{name}-narrow.webp"
    assert (site / "book" / address).read_bytes() == packed.getvalue()
    assert page.read_text().count("<picture>") == 1  # the others have no narrow picture


def test_a_page_is_described_by_its_first_paragraph(site) -> None:
    words = "The question & its answer " + "again " * 40
    file = site / "book" / "page.html"
    opening = '<div class="opening docutils container"><p>Reading: ' + "9 " * 60 + "</p></div>"
    wrong = f"{opening}<p>Short.</p><p>with a formula \\(x\\) {words}</p>"
    file.write_text(f"<title>T</title>{PAGE}<article>{wrong}<p>{words.replace('&', '&amp;')}</p>")
    polish(site)
    (found,) = re.findall('<meta name="description" content="([^"]*)">', file.read_text())
    assert found.startswith("The question &amp; its answer again") and found.endswith(" …")
    assert len(found) <= 170
    file.write_text(f"<title>A title</title>{PAGE}<article>{wrong}")
    polish(site)
    assert '<meta name="description" content="A title">' in file.read_text()


def test_a_page_is_shown_before_its_scripts_run(site) -> None:
    scripts = (
        '<script src="../_static/documentation_options.js?v=1"></script>'
        '<script>DOCUMENTATION_OPTIONS.pagename = "page";</script>'
        '<script data-x="y" src="../searchindex.js"></script><script async src="a.js"></script>'
    )
    for name in ("book/page.html", "search.html"):
        (site / name).write_text(f"<title>T</title>{PAGE}{scripts}")
    polish(site)
    text = (site / "book" / "page.html").read_text()
    assert '<script defer data-x="y" src="../searchindex.js">' in text and text.count(" defer") == 1
    assert scripts in (site / "search.html").read_text()


def test_a_page_without_formulas_does_not_ask_for_mathjax(site) -> None:
    script = '<script defer="defer" src="../_static/mathjax/tex-chtml.js"></script>'
    file = site / "book" / "page.html"
    for formula in ("", '<span class="math">x</span>'):
        file.write_text(script + PAGE + formula)
        polish(site)
        assert (script in file.read_text()) is bool(formula)


def test_what_the_theme_leaves_unnamed_gets_a_name(site) -> None:
    polish(site)
    text = (site / "book" / "page.html").read_text()
    assert '<summary aria-label="Pages below this one"><span class="toctree-toggle">' in text
    assert '<div id="pst-primary-sidebar" role="complementary" aria-label="Book" class="x">' in text
    assert '<div class="citation" role="listitem">' in text


def test_icons_that_no_page_uses_go(site) -> None:
    polish(site)
    text = (site / "_static" / "scripts" / "fontawesome.js").read_text()
    assert "bars" in text and "xmark" in text and "arrow-up" not in text
    assert text.startswith("var p={bars:[") and text.endswith("};run(p)")


def test_a_theme_that_has_changed_is_told_of(site) -> None:
    script = site / "_static" / "scripts" / "fontawesome.js"
    script.write_text("nothing")
    with pytest.raises(SystemExit, match="holds no icon as expected"):
        keep_icons(script, {"bars"})
    (site / "book" / "page.html").write_text("<p>x</p>")
    with pytest.raises(SystemExit, match="no page has"):
        polish(site)


def test_scripts_lose_comments_and_indentation_but_no_notice_and_no_template() -> None:
    code = (
        "/* What\n   it does. */\n{\n  /* note */ f(); /* why */\n    /* Map (CC0). */\n  g();\n}\n"
    )
    short = "{\n/* note */ f(); /* why */\n/* Map (CC0). */\ng();\n}\n"
    assert shorten(code) == short
    template = "x = `a\n  b`;\n"
    assert shorten("/* c */\n" + template) == template
    sheet = "@media (max-width: 9rem) {\n  a :is(b, c) { x: y z; } /* Why. */\n}\n"
    assert shorten(sheet, True) == "@media (max-width:9rem){a :is(b,c){x:y z;}/* Why. */}"
    assert shorten("a\nb {\n  c: d;\n}\n", True) == "a\nb{c:d;}"


def test_only_our_own_scripts_are_shortened(site) -> None:
    for name in ("explorers.js", "theirs.js"):
        (site / "_static" / name).write_text("/* c */\n  f();\n")
    polish(site)
    assert (site / "_static" / "explorers.js").read_text() == "f();\n"
    assert (site / "_static" / "theirs.js").read_text() == "/* c */\n  f();\n"
