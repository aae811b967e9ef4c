"""Lines of pages, with their places and sizes, to Markdown: paragraphs, headings, no running heads or page numbers.

Letters are counted in points; y grows upwards, as in PDF.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from lorafit.data.documents.mend import HYPHENS, is_unspaced, join_lines, words_of

_HEADING = 1.15  # a heading is this much larger than the running text
_HEADING_LENGTH = 160  # characters
_BOLD = 0.2  # share of letters up to which a bold line by itself is a heading
_SAME_LEFT = 2.0  # points: lines that begin this near to one another are of one column
_EDGE = 0.15  # of the page height: where running heads and page numbers are looked for
_PAGE_NUMBER = re.compile(
    r"(?:page|seite|p\.|s\.|第)?\s*[-–—|]?\s*(?:\d{1,4}|[ivxlc]{1,6})\s*[-–—|]?\s*(?:(?:of|/|von|de)\s*\d{1,4})?\s*[页頁]?",
    re.I,
)
_BULLET = re.compile(r"(?:[•‣▪●◦∙·*–-]|\(?\d{1,2}[.)])\s+\S")
_SENTENCE_END = tuple('.!?:;。！？：；”"')


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text. left, right, bottom: points; size: height of its letters, in points; height of the page too.

    tabular: whether there are wide gaps in it, written as ` | `.
    """

    text: str
    left: float
    right: float
    bottom: float
    size: float
    bold: bool
    page_height: float
    tabular: bool = False


@dataclass(slots=True)
class Block:
    """Lines of one size that stand one under the other, on one page."""

    lines: list[Line]
    page: int
    column_right: float = 0.0

    @property
    def size(self) -> float:
        return median(line.size for line in self.lines)

    @property
    def bold(self) -> bool:
        return all(line.bold for line in self.lines)

    @property
    def text(self) -> str:
        return " ".join(line.text for line in self.lines)


def to_markdown(pages: list[list[Line]]) -> tuple[str, tuple[int, ...]]:
    """The text of all pages, and the character at which each begins. A paragraph that runs over pages is one."""
    pages = [_with_raised(page) for page in _without_running_heads(pages)]
    lines = [line for page in pages for line in page]
    if not lines:
        return "", tuple(0 for _ in pages)
    words = words_of("\n".join(line.text for line in lines))
    letters: Counter[float] = Counter()
    for line in lines:
        letters[round(line.size)] += len(line.text)
    body = letters.most_common(1)[0][0]
    bold = sum(len(line.text) for line in lines if line.bold) / sum(len(line.text) for line in lines)
    blocks = [block for number, page in enumerate(pages) for block in _blocks(page, number)]
    sizes = sorted({round(block.size) for block in blocks if _is_large(block, body)}, reverse=True)

    text, starts, open_end = "", [0], False
    for block in blocks:
        if _is_large(block, body):
            level = min(sizes.index(round(block.size)) + 1, 4)
        else:
            level = min(len(sizes) + 1, 4) if bold < _BOLD and _is_bold_heading(block) else 0
        written = f"{'#' * level} {block.text}" if level else _paragraphs(block, words)
        continues = open_end and not level and written[:1].islower()
        if continues:
            tail = text.rfind("\n") + 1
            head, _, rest = written.partition("\n")
            text = text[:tail] + join_lines(text[tail:], head, words) + ("\n" + rest if rest else "")
        else:
            text += ("\n\n" if text else "") + written
        start = len(text) - len(written)
        starts += [start] * (block.page + 1 - len(starts))
        open_end = not level and not written.endswith(_SENTENCE_END)
    starts += [len(text)] * (len(pages) - len(starts))
    return text, tuple(starts)


def _without_running_heads(pages: list[list[Line]]) -> list[list[Line]]:
    """Page numbers go; what stands at the edge of half of the pages (three at least) stays on the first of them."""
    edges = [{_shape(line.text) for line in page if _at_edge(line)} for page in pages]
    counts = Counter(shape for edge in edges for shape in edge)
    often = {shape for shape, count in counts.items() if count >= max(3, len(pages) / 2)}
    kept, seen = [], set[str]()
    for page in pages:
        outermost = {function(line.bottom for line in page) for function in (min, max) if page}
        lines = []
        for line in page:
            shape = _shape(line.text)
            if _at_edge(line):
                if shape in often and shape in seen:
                    continue
                if line.bottom in outermost and _PAGE_NUMBER.fullmatch(line.text.strip()):
                    continue
                seen.add(shape)
            lines.append(line)
        kept.append(lines)
    return kept


def _with_raised(lines: list[Line]) -> list[Line]:
    """Raised and lowered marks (footnotes, accents), which PDFium takes for lines, put back into theirs."""
    merged: list[Line] = []
    for line in lines:
        above = merged[-1] if merged else None
        gap = line.left - above.right if above else 0.0
        if above and abs(above.bottom - line.bottom) < 0.6 * max(above.size, line.size) and -1 < gap < above.size:
            space = " " if gap > 0.15 * above.size else ""
            large = above if len(above.text) >= len(line.text) else line
            text = f"{above.text}{space}{line.text}"
            merged[-1] = replace(large, text=text, left=above.left, right=line.right)
        else:
            merged.append(line)
    return merged


def _shape(text: str) -> str:
    return re.sub(r"\d+", "0", re.sub(r"\s+", " ", text)).strip().lower()


def _at_edge(line: Line) -> bool:
    return not _EDGE * line.page_height < line.bottom < (1 - _EDGE) * line.page_height


def _blocks(lines: list[Line], page: int) -> list[Block]:
    steps = [above.bottom - below.bottom for above, below in pairwise(lines)]
    usual = [step for step, line in zip(steps, lines[1:], strict=False) if 0.5 * line.size < step < 2 * line.size]
    leading = median(usual) if usual else 0.0
    blocks: list[Block] = []
    for line in lines:
        above = blocks[-1].lines[-1] if blocks else None
        if above is not None and _goes_on(above, line, leading):
            blocks[-1].lines.append(line)
        else:
            blocks.append(Block([line], page))
    for block in blocks:
        left = min(line.left for line in block.lines)
        block.column_right = max(line.right for line in lines if abs(line.left - left) < _SAME_LEFT)
    return blocks


def _goes_on(above: Line, line: Line, leading: float) -> bool:
    step = above.bottom - line.bottom
    near = 0.3 * line.size < step < max(1.35 * leading, 1.1 * line.size)
    return (
        near
        and abs(above.size - line.size) < 0.12 * above.size
        and above.bold == line.bold
        and line.left < above.right
        and above.left < line.right
    )


def _is_large(block: Block, body: float) -> bool:
    text = block.text
    return (
        block.size >= _HEADING * body
        and not any(line.tabular for line in block.lines)
        and 2 <= len(text) <= _HEADING_LENGTH
        and any(character.isalpha() for character in text)
    )


def _is_bold_heading(block: Block) -> bool:
    """A bold line or two by themselves."""
    text = block.text
    return (
        block.bold
        and not any(line.tabular for line in block.lines)
        and len(block.lines) <= 2
        and 3 <= len(text) <= _HEADING_LENGTH / 2
        and not text.endswith((".", ",", ";", "。", "，"))
        and text[0].isalnum()
        and any(character.isalpha() for character in text)
    )


def _paragraphs(block: Block, words: Counter[str]) -> str:
    """The lines of a block as paragraphs: full lines run on, short ones end, an indent begins a paragraph."""
    lines = block.lines
    left = min(line.left for line in lines)
    indented = [line.left > left + 0.6 * line.size for line in lines]
    hanging = sum(indented) > len(lines) / 2
    text = lines[0].text
    for above, line, begins in zip(lines, lines[1:], indented[1:], strict=False):
        full = _is_full(above, line, max(block.column_right, *(line.right for line in lines)))
        if full and not _BULLET.match(line.text) and (begins == hanging or len(lines) == 2):
            tail = text.rfind("\n") + 1
            text = text[:tail] + join_lines(text[tail:], line.text, words)
        else:
            new_paragraph = begins != hanging and above.text.endswith(_SENTENCE_END)
            text += ("\n\n" if new_paragraph else "\n") + line.text
    return text


def _is_full(above: Line, line: Line, right: float) -> bool:
    """Whether the next line's first word had no place left in the line above."""
    if above.text[-1:] in HYPHENS:
        return True
    if above.tabular or line.tabular:
        return False
    letter = (line.right - line.left) / len(line.text)
    first = 2 if is_unspaced(line.text[0]) else len(line.text.split(maxsplit=1)[0]) + 1
    return right - above.right < first * letter + 0.5 * line.size
