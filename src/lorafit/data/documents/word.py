"""Word files (DOCX) through mammoth: headings by their style; page headers, footers and comments left out."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from xml.parsers.expat import ExpatError

from lorafit.data.documents import markup
from lorafit.data.documents.document import Document, Unreadable, first_heading, missing

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # the container of .doc, and of every locked Office file
_LOCKED = "EncryptedPackage".encode("utf-16-le")
_FAULTS = (  # of mammoth, zipfile and the XML parser, for files that are cut off, changed, or of another kind
    zipfile.BadZipFile, zlib.error, ExpatError, KeyError, OSError, SyntaxError, ValueError, NotImplementedError,
    RuntimeError,
)  # fmt: skip
# Besides the English headings, which mammoth knows: titles, and the headings of Chinese editors.
_STYLES = "\n".join(
    ["p[style-name='Title'] => h1:fresh", "p[style-name='标题'] => h1:fresh"]
    + [f"p[style-name='标题 {level}'] => h{level}:fresh" for level in range(1, 5)]
)


def read_word(content: bytes, path: str) -> Iterator[Document]:
    """One Document. Raises Unreadable for a locked, an old or a damaged file, and for one without text."""
    try:
        import mammoth
    except ModuleNotFoundError:
        raise missing("mammoth") from None
    if content.startswith(_OLE):
        if _LOCKED in content:
            raise Unreadable("This Word file is locked by a password.", "Open it in Word and save it without one.")
        raise Unreadable("This is an old Word file (.doc).", f"Convert it: soffice --convert-to docx {path}")
    try:
        no_image = mammoth.images.img_element(lambda image: {"src": ""})
        html = mammoth.convert_to_html(io.BytesIO(content), style_map=_STYLES, convert_image=no_image).value
    except _FAULTS as error:
        raise Unreadable(f"This is not a Word file, or a damaged one ({error}).", "Save it again from Word.") from None
    text = markup.to_markdown(html)
    if not text:
        raise Unreadable("This Word file has no text.", "If its pages are pictures, print it to PDF and use ocrmypdf.")
    yield Document(path, "", first_heading(text), text)
