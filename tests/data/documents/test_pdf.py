"""PDF to Markdown: headings, paragraphs and columns put in order; locked files and scans said to be that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lorafit.data.documents.document import Document, Skipped, Unreadable
from lorafit.data.documents.pdf import read_pdf

pytest.importorskip("pypdfium2")

PROSE = [
    "A run keeps everything that was made of it in one folder, and the",
    "folder can be moved. The settings of the run are written down first,",
    "so that it can be repeated on another machine with the same versions.",
]


def paragraph(line: Callable[..., str], lines: list[str], top: float, **where: float) -> list[str]:
    return [line(text, top - 14 * number, **where) for number, text in enumerate(lines)]


def text_of(content: bytes) -> str:
    (document,) = read_pdf(content, "manual.pdf")
    assert isinstance(document, Document)
    return document.text


def test_headings_by_size_and_paragraphs_joined(pdf: Any, line: Any) -> None:
    page = [line("The manual", 740, size=20), line("Runs", 700, size=15), *paragraph(line, PROSE, 670)]
    page += [line("Folders", 600, font="F2"), *paragraph(line, PROSE, 570)]
    prose = " ".join(PROSE)
    assert text_of(pdf([page])) == f"# The manual\n\n## Runs\n\n{prose}\n\n### Folders\n\n{prose}"


def test_words_cut_at_line_ends_are_whole_and_true_hyphens_stay(pdf: Any, line: Any) -> None:
    lines = [
        "Every long-term run keeps its own settings and everything infor-",
        "mative that was measured in it, so that what comes of a long-",
        "term run is known, and can be found again by whoever needs it.",
    ]
    text = text_of(pdf([paragraph(line, lines, 700)]))
    assert "everything informative that" in text
    assert "of a long-term run" in text


def test_columns_are_read_one_after_the_other(pdf: Any, line: Any) -> None:
    left = ["The first column holds the", "beginning of the text, and", "its sentence runs on"]
    right = ["into the second column of", "the page, where it comes", "to its end as it should."]
    text = text_of(pdf([[*paragraph(line, left, 700), *paragraph(line, right, 700, x=320)]]))
    assert text == " ".join([*left, *right])


def test_running_heads_stay_once_and_page_numbers_go(pdf: Any, line: Any) -> None:
    pages = [
        [line("Manual of the machine", 760), *paragraph(line, PROSE, 600), line(f"- {number} -", 30, x=300)]
        for number in range(1, 5)
    ]
    text = text_of(pdf(pages))
    assert text.count("Manual of the machine") == 1
    assert text.count("A run keeps everything") == 4
    assert "-" not in text


def test_a_paragraph_runs_over_pages_and_pages_keep_their_place(pdf: Any, line: Any) -> None:
    (document,) = read_pdf(pdf([paragraph(line, PROSE[:2], 700), [], paragraph(line, PROSE[2:], 700)]), "manual.pdf")
    assert isinstance(document, Document)
    assert document.text == " ".join(PROSE)
    assert document.pages[0] == 0
    assert document.text[document.pages[2] :] == PROSE[2]


@pytest.mark.parametrize("shift", [0.3, 0.6])
def test_letters_printed_twice_for_bold_are_read_once(pdf: Any, line: Any, shift: float) -> None:
    twice = [line(letter, 700, x=72 + 12 * at + by) for at, letter in enumerate("Balloon") for by in (0, shift)]
    assert text_of(pdf([twice])).replace(" ", "") == "Balloon"


def test_words_printed_over_their_line_are_read_once(pdf: Any, line: Any) -> None:
    # "Balloon" is 40.4 points wide with its space. PDFium itself drops only a line printed again as a whole.
    page = [line("Balloon offer here", 700), line("Balloon", 700, x=72.3), line("offer", 700, x=72.3 + 40.4)]
    assert text_of(pdf([page])) == "Balloon offer here"


def test_doubled_letters_of_the_text_layer_are_halved(pdf: Any, line: Any) -> None:
    assert text_of(pdf([[line("WWaarrrraannttyy tteerrmmss", 700)]])) == "Warranty terms"


def test_ligatures_keep_both_their_letters(pdf: Any, line: Any) -> None:
    assert text_of(pdf([[line("off the office staff", 700)]])) == "off the office staff"


def test_stamp_up_the_margin_goes_and_a_page_on_its_side_stays(pdf: Any, line: Any) -> None:
    stamp = "BT /F1 11 Tf 0 1 -1 0 20 200 Tm (Draft of May) Tj ET"
    assert text_of(pdf([[stamp, *paragraph(line, PROSE, 700)]])) == " ".join(PROSE)
    assert text_of(pdf([[stamp]])) == "Draft of May"


def test_columns_of_a_table_are_kept_apart(pdf: Any, line: Any) -> None:
    rows = [("Part", "Price"), ("Bumper", "2,100"), ("Paint", "225")]
    page = [
        line(cell, 700 - 14 * row, x=x)
        for row, cells in enumerate(rows)
        for x, cell in zip((72, 272), cells, strict=True)
    ]
    assert text_of(pdf([page])) == "Part | Price\nBumper | 2,100\nPaint | 225"


def test_locked_file_says_so(pdf: Any, line: Any) -> None:
    with pytest.raises(Unreadable, match="password") as caught:
        list(read_pdf(pdf([[line("secret", 700)]], locked=True), "manual.pdf"))
    assert "qpdf --decrypt" in caught.value.remedy


def test_scan_says_so(pdf: Any, picture: str) -> None:
    with pytest.raises(Unreadable, match="No page has text, only pictures: a scan") as caught:
        list(read_pdf(pdf([[picture], [picture]]), "manual.pdf"))
    assert "ocrmypdf --skip-text manual.pdf" in caught.value.remedy


def test_stamp_of_a_scanner_is_not_text(pdf: Any, line: Any, picture: str) -> None:
    with pytest.raises(Unreadable, match="a scan"):
        list(read_pdf(pdf([[picture, line("Scanned by a phone", 20)]]), "manual.pdf"))


def test_scanned_pages_among_others_are_reported(pdf: Any, line: Any, picture: str) -> None:
    document, skipped = read_pdf(pdf([paragraph(line, PROSE, 700), [picture], []]), "manual.pdf")
    assert isinstance(document, Document) and isinstance(skipped, Skipped)
    assert skipped.reason == "Page 2 of 3 has no text, only pictures: a scan."


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7\nnothing", b"plain text"])
def test_damaged_file_says_so(content: bytes) -> None:
    with pytest.raises(Unreadable, match="not a PDF, or a damaged one"):
        list(read_pdf(content, "manual.pdf"))
