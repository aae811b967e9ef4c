"""Files to documents: each by the reader of its format; one bad file is reported and the others are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lorafit.data.documents import code
from lorafit.data.documents.document import Document, DocumentSet, LeftOut, Skipped, Unreadable
from lorafit.data.documents.epub import read_epub
from lorafit.data.documents.pdf import read_pdf
from lorafit.data.documents.plain import read_markdown, read_notebook, read_text
from lorafit.data.documents.walk import find_files
from lorafit.data.documents.web import read_web
from lorafit.data.documents.word import read_word
from lorafit.errors import DataError

Reader = Callable[[bytes, str], Iterator[Document | Skipped]]
Progress = Callable[[int, int, str], None]

_READERS: dict[str, Reader] = {
    ".pdf": read_pdf,
    ".docx": read_word,
    ".doc": read_word,  # says that it is too old; some are DOCX by another name
    ".html": read_web,
    ".htm": read_web,
    ".xhtml": read_web,
    ".epub": read_epub,
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".mdx": read_markdown,
    ".ipynb": read_notebook,
    ".txt": read_text,
    ".text": read_text,
    ".rst": read_text,
    ".adoc": read_text,
    **dict.fromkeys(code.LANGUAGES, code.read_code),
}
_CONVERTIBLE = {
    **dict.fromkeys((".rtf", ".odt", ".wps", ".pages"), "soffice --convert-to docx"),
    **dict.fromkeys((".ppt", ".pptx", ".odp", ".xls", ".xlsx", ".ods"), "soffice --convert-to pdf"),
    **dict.fromkeys((".mobi", ".azw", ".azw3", ".fb2"), "ebook-convert (to .epub)"),
    **dict.fromkeys((".djvu", ".ps"), "ddjvu or ps2pdf (to .pdf)"),
}
_ROWS = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow")
_SHOWN = 20  # files of which a message gives the reason


def read_documents(paths: Sequence[str | Path], progress: Progress | None = None) -> DocumentSet:
    """Read files, folders and patterns (`docs/**/*.pdf`) as documents.

    `progress` is called after each file with files done, files in all, and the file. A file that cannot be read is in
    `skipped` with the reason and the remedy; what is vendored, generated, ignored by git or of another kind in a folder
    is counted in `left_out`. Raises DataError when no document could be read at all, with the reason for each file.
    """
    files, left_out, skipped = find_files(paths)
    documents: list[Document] = []
    for done, (file, named) in enumerate(files, 1):
        try:
            for found in _read(file, named):
                if isinstance(found, Skipped):
                    skipped.append(found)
                else:
                    documents.append(found)
        except LeftOut as reason:
            if named:
                skipped.append(Skipped(str(file), f"It is not trained on: {reason}.", "Leave it out."))
            else:
                left_out[str(reason)] += 1
        except Unreadable as error:
            skipped.append(Skipped(str(file), error.reason, error.remedy))
        except DataError as error:  # of decode, which names the file itself
            skipped.append(Skipped(str(file), *_reason_and_remedy(error, file)))
        except OSError as error:
            skipped.append(Skipped(str(file), f"It cannot be opened: {error.strerror}.", "Check its rights."))
        except Exception as error:  # noqa: BLE001 - a library that fails on one damaged file must not hide the others
            failed = f"Its reader failed ({type(error).__name__}: {error})."
            skipped.append(Skipped(str(file), failed, "It may be damaged: open it and save it again."))
        if progress:
            progress(done, len(files), str(file))
    result = DocumentSet(tuple(documents), tuple(skipped), dict(left_out.most_common()))
    if not documents:
        raise DataError(_nothing_read(paths, result))
    return result


def _read(file: Path, named: bool) -> Iterator[Document | Skipped]:
    suffix = file.suffix.lower()
    reader = code.read_code if file.name.lower() in code.NAMES else _READERS.get(suffix)
    if reader is not None:
        yield from reader(file.read_bytes(), str(file))
    elif suffix in _CONVERTIBLE:
        raise Unreadable(f"Files of the kind {suffix} are not read.", f"Convert it: {_CONVERTIBLE[suffix]} {file}")
    elif not named:
        raise LeftOut(f"not a document ({suffix or 'no ending'})")
    elif suffix in _ROWS:
        raise Unreadable("It holds rows, not a document.", "Name it as training data (data.train) instead.")
    else:
        yield from _by_content(file)


def _by_content(file: Path) -> Iterator[Document | Skipped]:
    """A file that the user named and whose ending says nothing."""
    content = file.read_bytes()
    head = content[:1024].lstrip().lower()
    if head.startswith(b"%pdf-"):
        return read_pdf(content, str(file))
    if head.startswith(b"pk\x03\x04"):
        return (read_epub if b"application/epub+zip" in head else read_word)(content, str(file))
    if head.startswith((b"<!doctype html", b"<html")):
        return read_web(content, str(file))
    return read_text(content, str(file))


def _reason_and_remedy(error: DataError, file: Path) -> tuple[str, str]:
    """The two lines of a message of `decode`, the first of which begins with the file."""
    reason, _, remedy = str(error).removeprefix(str(file)).partition("\n")
    return f"It {reason.lstrip(' :')}", remedy


def _nothing_read(paths: Sequence[str | Path], result: DocumentSet) -> str:
    lines = [f"No document could be read from {', '.join(map(str, paths[:5]))}{' …' if len(paths) > 5 else ''}."]
    lines += [str(skipped) for skipped in result.skipped[:_SHOWN]]
    if len(result.skipped) > _SHOWN:
        lines.append(f"and {len(result.skipped) - _SHOWN} more")
    lines += [f"left out: {count} × {reason}" for reason, count in result.left_out.items()]
    if len(lines) == 1:
        lines.append("There are no files. Name PDF, DOCX, HTML, EPUB, Markdown, text or source files, or their folder.")
    return "\n".join(lines)
