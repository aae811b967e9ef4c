"""HTML that is text throughout (a Word file's, a book's chapter) to Markdown, by markdownify.

Nothing is judged to be boilerplate here; `web` does that for pages.
"""

from __future__ import annotations

import re
import warnings

from lorafit.data.documents.document import missing
from lorafit.data.documents.mend import tidy

_NOT_TEXT = ("script", "style", "nav", "noscript", "template", "svg", "button", "form")


def to_markdown(html: str) -> str:
    """Markdown with headings, lists, tables and code; links and pictures leave their text only."""
    try:
        from bs4 import BeautifulSoup, XMLParsedAsHTMLWarning
        from markdownify import MarkdownConverter
    except ModuleNotFoundError as error:
        raise missing(str(error.name)) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)  # a book's chapters are XHTML, which both parsers read
        soup = BeautifulSoup(html, "lxml")
    for element in soup(_NOT_TEXT):
        element.decompose()
    converter = MarkdownConverter(
        heading_style="ATX",
        bullets="-",
        strip=["a", "img"],
        table_infer_header=True,
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
    )
    text: str = converter.convert_soup(soup.body or soup)
    return tidy(re.sub(r"(?m)^(#{1,6} )\*\*(.+)\*\*$", r"\1\2", text)).strip()
