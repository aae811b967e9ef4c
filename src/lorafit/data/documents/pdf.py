"""PDF through PDFium: its text with headings and paragraphs; scans and locked files are said to be that.

PDFium (BSD) by pypdfium2: it gives size, place and weight of each letter, which headings and paragraphs are seen from,
marks hyphens at line ends, and keeps columns apart. markitdown and pypdf give the letters alone, in lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lorafit.data.documents.document import Document, Skipped, Unreadable, first_heading, missing
from lorafit.data.documents.layout import Line, to_markdown
from lorafit.data.documents.mend import halve_doubled, tidy

_SAME_PLACE = 0.12  # of the letter size: bold is often printed as the same letter twice, this near
_CUT = (0x02, 0xFFFE)  # a hyphen after which PDFium leaves out the line end
_GAP = 2.0  # letter sizes between two letters of a line above which they are of different columns
_LIGATURES = frozenset(map(ord, "flt"))  # letters that a ligature has twice: ff, ffi, tt
_COVERED = 0.5  # share of a page that the pictures of a scan cover at least; some are made of strips
_STAMP = 40  # letters: a scanned page has fewer
_UNMAPPED = 0.3  # share of letters with no meaning in Unicode above which a page counts as unreadable


def read_pdf(content: bytes, path: str) -> Iterator[Document | Skipped]:
    """One Document; and a Skipped for the pages that are pictures, where others have text.

    Raises Unreadable for a file that is locked by a password, damaged, a scan, or whose fonts say no letters.
    """
    try:
        import pypdfium2
    except ModuleNotFoundError:
        raise missing("pypdfium2") from None
    try:
        file = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        raise _cannot_open(error, path) from None
    try:
        read = [_read_page(page) for page in file]
        title = str(file.get_metadata_dict().get("Title", "")).strip()
    except pypdfium2.PdfiumError as error:
        raise Unreadable(f"This PDF is damaged: {error}.", f"Try: qpdf {path} mended.pdf") from None
    finally:
        file.close()
    scans = [number for number, (lines, covered) in enumerate(read, 1) if _is_scan(lines, covered)]
    garbled = [number for number, (lines, _) in enumerate(read, 1) if _is_garbled(lines)]
    unreadable = {*scans, *garbled}
    text, starts = to_markdown([[] if number in unreadable else lines for number, (lines, _) in enumerate(read, 1)])
    problems = []
    if scans:
        problems.append(_scan(scans, len(read), path))
    if garbled:
        problems.append(_unmapped(garbled, len(read), path))
    if text.strip():
        yield Document(path, "", first_heading(text) or title, text, pages=starts)
        yield from (Skipped(path, problem.reason, problem.remedy) for problem in problems)
    elif problems:
        raise problems[0]
    else:
        raise Unreadable(
            f"None of its {len(read)} pages has text.",
            f"If they show any, it is drawn as lines; recognise it: ocrmypdf --force-ocr {path} readable.pdf",
        )


def _cannot_open(error: Any, path: str) -> Unreadable:
    import pypdfium2.raw as pdfium

    if error.err_code == pdfium.FPDF_ERR_PASSWORD:
        return Unreadable(
            "This PDF is locked by a password.",
            f"Unlock it (you need the password): qpdf --decrypt --password=… {path} open.pdf",
        )
    if error.err_code == pdfium.FPDF_ERR_SECURITY:
        return Unreadable("This PDF is locked in a way that PDFium does not know.", "Print it to a new PDF.")
    return Unreadable("This is not a PDF, or a damaged one.", f"Try: qpdf {path} mended.pdf")


def _scan(pages: list[int], of: int, path: str) -> Unreadable:
    which = "No page" if len(pages) == of else f"{_numbers(pages)} of {of} has no text"
    reason = f"{which} has text, only pictures: a scan." if len(pages) == of else f"{which}, only pictures: a scan."
    return Unreadable(reason, f"Recognise its text first: ocrmypdf --skip-text {path} readable.pdf")


def _unmapped(pages: list[int], of: int, path: str) -> Unreadable:
    which = "It" if len(pages) == of else f"{_numbers(pages)} of {of}"
    return Unreadable(
        f"{which} has fonts that do not say which letters they draw.",
        f"Recognise its text anew: ocrmypdf --force-ocr {path} readable.pdf",
    )


def _numbers(pages: list[int]) -> str:
    shown = ", ".join(map(str, pages[:10])) + (" …" if len(pages) > 10 else "")
    return f"Page {shown}" if len(pages) == 1 else f"Each of the pages {shown}"


def _is_scan(lines: list[Line], covered: float) -> bool:
    """Whether a page is a picture, but for the stamp of a scanner or a page number."""
    return covered > _COVERED and sum(len(line.text) for line in lines) < _STAMP


def _is_garbled(lines: list[Line]) -> bool:
    """Whether many letters are U+FFFD or of the private use area, which is what a font without a map gives."""
    text = "".join(line.text for line in lines)
    unknown = sum(character == "�" or 0xE000 <= ord(character) < 0xF900 for character in text)
    return unknown > _UNMAPPED * max(1, len(text))


def _read_page(page: Any) -> tuple[list[Line], float]:
    """The lines of a page as they follow one another in the file, and the share of it that pictures cover."""
    import pypdfium2.raw as pdfium

    text_page = page.get_textpage()
    found = [(line, upright) for line, upright in _lines(text_page, page.get_height()) if line.text]
    lines = [line for line, upright in found if upright]
    # A stamp up the margin goes; a table on its side stays.
    if 2 * len(lines) < len(found):
        lines = [line for line, _ in found]
    text_page.close()
    area = 0.0
    for picture in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        left, bottom, right, top = picture.get_bounds()
        area += (right - left) * (top - bottom)
    covered = area / max(1.0, page.get_width() * page.get_height())
    page.close()
    return lines, covered


def _lines(text_page: Any, page_height: float) -> Iterator[tuple[Line, bool]]:
    """PDFium's characters as lines, each with whether it is upright; a letter printed over itself is there once."""
    import ctypes

    import pypdfium2.raw as pdfium

    box = pdfium.FS_RECTF()
    seen: dict[tuple[int, int, int], tuple[float, float]] = {}
    line = _OpenLine(text_page, page_height)
    before, left = 0, 0.0
    for index in range(text_page.count_chars()):
        code = pdfium.FPDFText_GetUnicode(text_page, index)
        if code in (0x0A, 0x0D):
            yield from line.close()
            continue
        pdfium.FPDFText_GetLooseCharBox(text_page, index, ctypes.byref(box))
        size = box.top - box.bottom
        ligature = code == before and code in _LIGATURES and box.left == left
        before, left = code, box.left
        if code > 0x20 and not ligature and _stands_already(seen, code, box.left, box.bottom, _SAME_PLACE * size):
            continue
        line.add(index, code, box.left, box.right, box.bottom, size)
        if code in _CUT:
            yield from line.close()
    yield from line.close()


def _stands_already(
    seen: dict[tuple[int, int, int], tuple[float, float]], code: int, left: float, bottom: float, near: float
) -> bool:
    near = max(near, 0.1)
    column, row = math.floor(left / near), math.floor(bottom / near)
    for place in ((code, column + x, row + y) for x in (-1, 0, 1) for y in (-1, 0, 1)):
        if place in seen and abs(seen[place][0] - left) < near and abs(seen[place][1] - bottom) < near:
            return True
    seen[code, column, row] = (left, bottom)
    return False


class _OpenLine:
    """The characters of a line until it ends."""

    def __init__(self, text_page: Any, page_height: float) -> None:
        self._text_page, self._page_height = text_page, page_height
        self._start()

    def _start(self) -> None:
        self._codes: list[int] = []
        self._indices: list[int] = []
        self._left, self._right = math.inf, -math.inf
        self._last, self._tabular = 0.0, False
        self._bottoms: list[float] = []
        self._sizes: list[float] = []

    def add(self, index: int, code: int, left: float, right: float, bottom: float, size: float) -> None:
        if code <= 0x20:
            self._codes.append(code)
            return
        if self._indices and left - self._last > _GAP * size:
            self._codes += map(ord, "| " if self._codes[-1] == 0x20 else " | ")
            self._tabular = True
        self._codes.append(code)
        self._last = right
        self._indices.append(index)
        self._left, self._right = min(self._left, left), max(self._right, right)
        self._bottoms.append(bottom)
        self._sizes.append(size)

    def close(self) -> Iterator[tuple[Line, bool]]:
        """The line, if it has letters, and whether it stands upright."""
        import pypdfium2.raw as pdfium

        if self._indices:
            # PDFium gives characters above U+FFFF as two surrogates.
            text = "".join(map(chr, self._codes)).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            usual = sorted(range(len(self._sizes)), key=self._sizes.__getitem__)[len(self._sizes) // 2]
            angle = pdfium.FPDFText_GetCharAngle(self._text_page, self._indices[0])
            line = Line(
                halve_doubled(tidy(text)).strip() + ("\ufffe" if self._codes[-1] in _CUT else ""),
                self._left,
                self._right,
                self._bottoms[usual],
                self._sizes[usual],
                self._is_bold(self._indices[usual]) and self._is_bold(self._indices[0]),
                self._page_height,
                self._tabular,
            )
            yield line, abs(math.sin(angle)) < 0.5
        self._start()

    def _is_bold(self, index: int) -> bool:
        import ctypes

        import pypdfium2.raw as pdfium

        if pdfium.FPDFText_GetFontWeight(self._text_page, index) >= 600:
            return True
        name, flags = ctypes.create_string_buffer(128), ctypes.c_int()
        pdfium.FPDFText_GetFontInfo(self._text_page, index, name, len(name), ctypes.byref(flags))
        # Medi and CMBX are the bold of LaTeX's fonts.
        return any(mark in name.value for mark in (b"Bold", b"bold", b"Black", b"Heavy", b"-Medi", b"CMBX"))
