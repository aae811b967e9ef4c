"""Web pages through trafilatura: the main text with its headings, without navigation, advertisements and footers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from lorafit.data.documents import markup
from lorafit.data.documents.document import Document, Unreadable, missing
from lorafit.data.documents.mend import tidy
from lorafit.data.encoding import decode

_ESCAPED = re.compile(r"\\([\[\]_*#.!|~-])")


def read_web(content: bytes, path: str) -> Iterator[Document]:
    """One Document, whose text begins with the page's title as a heading. Raises Unreadable where there is no text."""
    try:
        import trafilatura
        from lxml import etree, html
    except ModuleNotFoundError as error:
        raise missing(str(error.name)) from None
    except ImportError:  # lxml without its cleaner, which older versions of pip leave out
        raise missing("lxml_html_clean") from None
    source, _ = decode(content, path)
    # lxml refuses a declared encoding in what is text already.
    source = re.sub(r"^\s*<\?xml[^>]*\?>", "", source)
    try:
        tree = html.document_fromstring(source)
    except (etree.ParserError, ValueError):
        raise Unreadable("This page is empty.", "Leave it out.") from None
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it logs a page without text; we report it
    text = trafilatura.extract(source, output_format="markdown", include_comments=False, include_formatting=True)
    text = _ESCAPED.sub(r"\1", text) if text else markup.to_markdown(source)
    text = tidy(text if "<pre" in source else _without_indents(text)).strip()
    if not text:
        raise Unreadable(
            "This page has no text in its source; perhaps a script brings it in.",
            "Save the page as your browser shows it, or print it to a PDF.",
        )
    metadata = trafilatura.extract_metadata(source)
    title = (metadata.title if metadata else "") or ""
    if title and not _has_heading(text, title):
        text = f"# {title}\n\n{text}"
    language = (tree.get("lang") or tree.get("{http://www.w3.org/XML/1998/namespace}lang") or "").strip() or None
    yield Document(path, "", title, text, language)


def _without_indents(text: str) -> str:
    """Text that the source of the page breaks and indents, on one line again; nested lists stay."""
    text = re.sub(r"(?m)^([-*]) *\n? {4,}(?=\S)", r"\1 ", text)
    return re.sub(r"(?<=\S)[ \t]*\n[ \t]{4,}(?![-*] |\d+\. )(?=\S)", " ", text)


def _has_heading(text: str, title: str) -> bool:
    begin = text[: 2 * len(title) + 200]
    return any(line.strip("# *").casefold() == title.casefold() for line in begin.split("\n") if line.startswith("#"))
