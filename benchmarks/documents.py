"""Documents to text, compared with the text that they should give: token F1 of each file.

    python benchmarks/documents.py [--shared ../shared] [--against]

Reads `data/documents` of the project's shared folder: web pages of Mozilla's readability tests with the main text that
those expect, and PDF files of markitdown's tests with the Markdown expected of them. A token is a word, or a character
of a script without spaces, in small letters; F1 is that of the two multisets. Each pair is read as a user's file is.
`--against` adds markitdown and, for PDF, pypdf, where they are installed, and seconds for all files.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from lxml import html

from lorafit.data.documents import read_documents

_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+?(?=[\u3040-\u30ff\u3400-\u9fff])|[^\W_]+")
Reader = Callable[[Path], str]


def tokens(text: str) -> Counter[str]:
    return Counter(_TOKEN.findall(text.lower()))


def f1(text: str, expected: str) -> tuple[float, float, float]:
    """Precision, recall and F1 of the tokens of a text."""
    found, wanted = tokens(text), tokens(expected)
    shared = (found & wanted).total()
    if not shared:
        return 0.0, 0.0, 0.0
    precision, recall = shared / found.total(), shared / wanted.total()
    return precision, recall, 2 * precision * recall / (precision + recall)


def pairs(folder: Path) -> list[tuple[str, Path, str]]:
    """Kind, file and expected text."""
    found = []
    for page in sorted(folder.glob("readability/*/source.html")):
        expected = html.fromstring((page.parent / "expected.html").read_text(encoding="utf-8"))
        found.append(("page", page, " ".join(expected.itertext())))
    for file in sorted(folder.glob("markitdown/*.pdf")):
        found.append(("PDF", file, file.with_suffix(".md").read_text(encoding="utf-8")))
    return found


def ours(file: Path) -> str:
    return "\n\n".join(document.text for document in read_documents([file]).documents)


def others() -> dict[str, Reader]:
    readers: dict[str, Reader] = {}
    try:
        from markitdown import MarkItDown

        convert = MarkItDown().convert
        readers["markitdown"] = lambda file: convert(str(file)).markdown
    except ModuleNotFoundError:
        print("markitdown is not installed: not compared")
    try:
        from pypdf import PdfReader

        readers["pypdf"] = lambda file: "\n".join(page.extract_text() for page in PdfReader(file).pages)
    except ModuleNotFoundError:
        print("pypdf is not installed: not compared")
    return readers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--against", action="store_true")
    arguments = parser.parse_args()
    folder = arguments.shared / "data" / "documents"
    if not folder.is_dir():
        print(f"There is no folder {folder}: nothing is compared. Name the shared folder with --shared.")
        return 2
    readers = {"lorafit": ours, **(others() if arguments.against else {})}
    print(f"{'file':44}" + "".join(f"{name + ': prec.':>19} recall     F1" for name in readers))
    means: dict[tuple[str, str], list[float]] = {}
    seconds: Counter[tuple[str, str]] = Counter()
    for kind, file, expected in pairs(folder):
        row = f"{file.relative_to(folder)!s:44}"
        for name, read in readers.items():
            if name == "pypdf" and kind != "PDF":
                row += f"{'-':>33}"
                continue
            start = time.perf_counter()
            text = read(file)
            seconds[name, kind] += time.perf_counter() - start
            precision, recall, score = f1(text, expected)
            means.setdefault((name, kind), []).append(score)
            row += f"{precision:19.3f} {recall:6.3f} {score:6.3f}"
        print(row)
    for (name, kind), scores in means.items():
        mean = sum(scores) / len(scores)
        print(f"{name}, mean F1 of {len(scores)} {kind} files: {mean:.3f} in {seconds[name, kind]:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
