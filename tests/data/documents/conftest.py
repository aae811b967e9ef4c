"""Small files of each format, written by hand."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping

import pytest

PICTURE = "q 500 0 0 700 50 50 cm /Im Do Q"


def show(text: str, y: float, x: float = 72, size: float = 11, font: str = "F1") -> str:
    """Draws a line of text at x, y (points from the left and from below); F1 is Helvetica, F2 its bold."""
    escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return f"BT /{font} {size} Tf {x} {y} Td ({escaped}) Tj ET"


def write_pdf(pages: list[list[str]], locked: bool = False) -> bytes:
    """Pages of drawing commands as a PDF of 612 × 792 points. Locked: by a password that nobody knows."""
    numbers = [5 + 2 * at for at in range(len(pages))]
    objects = {
        1: "<</Type/Catalog/Pages 2 0 R>>",
        2: f"<</Type/Pages/Count {len(pages)}/Kids[{' '.join(f'{number} 0 R' for number in numbers)}]>>",
        3: "<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
        "/F2<</Type/Font/Subtype/Type1/BaseFont/Helvetica-Bold>>>>",
        4: "<</Type/XObject/Subtype/Image/Width 1/Height 1/BitsPerComponent 8/ColorSpace/DeviceGray/Length 1>>"
        "stream\nA\nendstream",
    }
    for number, page in zip(numbers, pages, strict=True):
        drawing = "\n".join(page)
        resources = "<</Font 3 0 R/XObject<</Im 4 0 R>>>>"
        objects[number] = (
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources{resources}/Contents {number + 1} 0 R>>"
        )
        objects[number + 1] = f"<</Length {len(drawing)}>>stream\n{drawing}\nendstream"
    out, places = b"%PDF-1.4\n", []
    for number, value in sorted(objects.items()):
        places.append(len(out))
        out += f"{number} 0 obj\n{value}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    key = "00" * 32
    lock = f"/ID[<{key}><{key}>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<{key}>/U<{key}>>>" if locked else ""
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n"
    return out + f"{end}<</Size {len(objects) + 1}/Root 1 0 R{lock}>>\nstartxref\n{len(out)}\n%%EOF\n".encode()


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def write_docx(paragraphs: list[tuple[str, str]]) -> bytes:
    """Paragraphs, each with its style ("Title", "Heading1", "Normal" …), and a page header."""
    main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>'
        for style, text in paragraphs
    )
    names = {"Normal": "Normal", "Title": "Title", "Heading1": "heading 1", "Heading2": "heading 2", "1": "标题 1"}
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="{style}"><w:name w:val="{name}"/></w:style>'
        for style, name in names.items()
    )
    header = '<w:sectPr><w:headerReference w:type="default" r:id="h"/></w:sectPr>'
    return zipped(
        {
            "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            f'<Override PartName="/word/document.xml" ContentType="{kind}.document.main+xml"/>'
            f'<Override PartName="/word/header1.xml" ContentType="{kind}.header+xml"/></Types>',
            "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="d" Type="{relation}/officeDocument" Target="word/document.xml"/></Relationships>',
            "word/_rels/document.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
            f'relationships"><Relationship Id="h" Type="{relation}/header" Target="header1.xml"/>'
            f'<Relationship Id="s" Type="{relation}/styles" Target="styles.xml"/></Relationships>',
            "word/styles.xml": f'<w:styles xmlns:w="{main}">{styles}</w:styles>',
            "word/header1.xml": f'<w:hdr xmlns:w="{main}"><w:p><w:r><w:t>Page header</w:t></w:r></w:p></w:hdr>',
            "word/document.xml": f'<w:document xmlns:w="{main}" xmlns:r="{relation}"><w:body>{body}{header}</w:body>'
            "</w:document>",
        }
    )


def write_epub(chapters: list[str], locked: bool = False) -> bytes:
    """Chapters of XHTML in reading order, after a table of contents; the manifest has them in reverse."""
    items = [
        f'<item id="c{n}" href="text/c{n}.xhtml" media-type="application/xhtml+xml"/>' for n in range(len(chapters))
    ]
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    files = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
        "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        "<metadata><dc:title>The Book</dc:title><dc:language>en</dc:language></metadata><manifest>"
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        + " ".join(reversed(items))
        + f'</manifest><spine><itemref idref="nav"/>{spine}</spine></package>',
        "OEBPS/nav.xhtml": "<html><body><p>Table of contents</p></body></html>",
    }
    for number, chapter in enumerate(chapters):
        files[f"OEBPS/text/c{number}.xhtml"] = (
            f"<html xmlns='http://www.w3.org/1999/xhtml'><body>{chapter}</body></html>"
        )
    if locked:
        files["META-INF/encryption.xml"] = (
            '<encryption xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:EncryptedData>'
            '<e:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"/></e:EncryptedData></encryption>'
        )
    return zipped(files)


# Test modules are not importable from one another, so the writers come as fixtures.
@pytest.fixture
def pdf() -> Callable[..., bytes]:
    return write_pdf


@pytest.fixture
def line() -> Callable[..., str]:
    return show


@pytest.fixture
def docx() -> Callable[..., bytes]:
    return write_docx


@pytest.fixture
def epub() -> Callable[..., bytes]:
    return write_epub


@pytest.fixture
def picture() -> str:
    return PICTURE
