"""Web pages to their main text."""

from __future__ import annotations

import pytest

from lorafit.data.documents.document import Unreadable
from lorafit.data.documents.web import read_web

pytest.importorskip("trafilatura")

SENTENCES = "The folder of a run holds everything that was made of it, and can be moved to another machine. " * 4
PAGE = f"""<html lang="en"><head><title>Runs</title><meta charset="windows-1252"></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/shop">Shop for more</a></li></ul></nav>
<article><h1>Runs</h1><p>{SENTENCES}</p><h2>Café</h2><p>{SENTENCES}</p>
<table><tr><th>Name</th><th>Price</th></tr><tr><td>Bumper</td><td>2,100</td></tr></table></article>
<script>track()</script><footer>Copyright, imprint, all rights reserved</footer></body></html>"""


def test_main_text_with_headings_and_without_navigation() -> None:
    (document,) = read_web(PAGE.encode("cp1252"), "page.html")
    assert document.text.startswith("# Runs\n\nThe folder of a run")
    assert "\n\n## Café\n\n" in document.text
    assert "Bumper" in document.text
    for boilerplate in ("Home", "Shop", "track", "Copyright"):
        assert boilerplate not in document.text
    assert (document.title, document.language) == ("Runs", "en")


def test_short_page_is_read_too() -> None:
    (document,) = read_web("<h1>问答</h1><p>先读手册。</p>".encode(), "page.html")
    assert document.text.replace("\n\n", "\n") == "# 问答\n先读手册。"


@pytest.mark.parametrize("page", ["", "   ", "<!-- nothing -->", "<html><body><script>render()</script></body></html>"])
def test_page_without_text(page: str) -> None:
    with pytest.raises(Unreadable, match=r"empty|no text"):
        list(read_web(page.encode(), "page.html"))
