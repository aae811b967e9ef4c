"""Books (EPUB): a zip of pages with their order in a list, read by zipfile and lxml.

ebooklib would do this too; its licence is the AGPL, which a dependency of an Apache-2.0 project should not have.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from lorafit.data.documents import markup
from lorafit.data.documents.document import Document, Unreadable, first_heading, missing
from lorafit.data.encoding import decode

_FONT_SCRAMBLING = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_DAMAGED = "Check it with epubcheck, or convert it anew: ebook-convert"
# What zipfile raises for archives that are cut off, changed, or packed in ways that it does not know.
_FAULTS = (zipfile.BadZipFile, zlib.error, KeyError, IndexError, ValueError, NotImplementedError, RuntimeError)
_LARGEST = 64 << 20  # bytes of a chapter; a zip can claim to unpack to anything


def read_epub(content: bytes, path: str) -> Iterator[Document]:
    """One Document a chapter, in reading order, without the table of contents.

    Raises Unreadable for a book that is locked (DRM), damaged, or has no text.
    """
    try:
        from lxml import etree
    except ModuleNotFoundError:
        raise missing("lxml") from None
    try:
        book = zipfile.ZipFile(io.BytesIO(content))
        if _is_locked(book):
            raise Unreadable("This book is locked (DRM).", "Get it without a lock from where you bought it.")
        title, language, chapters = _contents(book)
        found = list(_chapters(book, path, title, language, chapters))
    except Unreadable:
        raise
    except (*_FAULTS, etree.XMLSyntaxError) as error:
        raise Unreadable(f"This is not an EPUB book, or a damaged one ({error}).", f"{_DAMAGED} {path}") from None
    if not found:
        raise Unreadable(
            "This book has no text in its chapters.", "If its pages are pictures, make a PDF and use ocrmypdf."
        )
    yield from found


def _xml(content: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))


def _is_locked(book: zipfile.ZipFile) -> bool:
    if "META-INF/encryption.xml" not in book.namelist():
        return False
    methods = _xml(book.read("META-INF/encryption.xml")).xpath("//*[local-name()='EncryptionMethod']/@Algorithm")
    return any(method not in _FONT_SCRAMBLING for method in methods)


def _contents(book: zipfile.ZipFile) -> tuple[str, str | None, list[str]]:
    """Title, language, and the names of the pages in reading order."""
    container = _xml(book.read("META-INF/container.xml"))
    package = container.xpath("//*[local-name()='rootfile']/@full-path")[0]
    root, folder = _xml(book.read(package)), posixpath.dirname(package)
    title = " ".join(root.xpath("string(//*[local-name()='title'][1])").split())
    language = root.xpath("string(//*[local-name()='language'][1])").strip() or None
    toc = {_name(folder, link) for link in root.xpath("//*[local-name()='reference'][@type='toc']/@href")}
    pages = {
        item.get("id"): _name(folder, item.get("href"))
        for item in root.xpath("//*[local-name()='manifest']/*[local-name()='item']")
        if "nav" not in item.get("properties", "").split() and "html" in item.get("media-type", "")
    }
    order = [pages.get(page) for page in root.xpath("//*[local-name()='itemref']/@idref")]
    return title, language, [name for name in order if name is not None and name not in toc]


def _name(folder: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote(link.split("#")[0])))


def _chapters(
    book: zipfile.ZipFile, path: str, title: str, language: str | None, names: list[str]
) -> Iterator[Document]:
    for number, name in enumerate(names, 1):
        if book.getinfo(name).file_size > _LARGEST:
            raise Unreadable(f"Its part {name} says it is larger than {_LARGEST >> 20} MiB.", f"{_DAMAGED} {path}")
        page, _ = decode(book.read(name), f"{path}: {name}")
        text = markup.to_markdown(page)
        if text:
            heading = first_heading(text)
            yield Document(path, f"chapter {number}", heading or title, text, language)
