"""What a page weighs: text as it is sent, pictures as they are, the theme's files apart."""

import gzip

from weights import theirs, weigh


def test_ours_and_theirs(tmp_path) -> None:
    (tmp_path / "book").mkdir()
    (tmp_path / "_static").mkdir()
    page = tmp_path / "book" / "a.html"
    page.write_text(
        '<script src="../_static/theme.js?v=1"></script><link rel="stylesheet" '
        'href="../_static/book.css"><img src="p.png" alt="x"><img src="p.png" alt="x">'
    )
    (tmp_path / "book" / "p.png").write_bytes(bytes(1000))
    (tmp_path / "_static" / "theme.js").write_text("x" * 5000)
    (tmp_path / "_static" / "book.css").write_text("y" * 5000)
    sizes = weigh(tmp_path, page)
    assert sizes["book/p.png"] == 1000 and list(sizes)[0] == "book/p.png"
    assert sizes["_static/book.css"] == len(gzip.compress(b"y" * 5000, 6))
    assert set(sizes) == {"book/p.png", "_static/book.css", "book/a.html"}
    assert theirs(tmp_path, page) == len(gzip.compress(b"x" * 5000, 6))
