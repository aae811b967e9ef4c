"""Files to rows: the format is seen from the content, each row has its file and number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorafit.data.convert import Rejected
from lorafit.data.documents import chunk_documents, read_documents
from lorafit.data.readers import columnar, find, json_rows, plain, table
from lorafit.data.readers.decoded import Decoder
from lorafit.data.readers.opened import DataFile, Opened, open_file
from lorafit.errors import DataError
from lorafit.records import Record, Source

Rows = Iterator[Record | Rejected]

_NAMES = {
    ".json": "JSON", ".jsonl": "JSON", ".ndjson": "JSON", ".csv": "CSV", ".tsv": "CSV", ".parquet": "Parquet",
    ".arrow": "Arrow", ".feather": "Arrow", ".txt": "text", ".text": "text",
}  # fmt: skip
_DOCUMENT_MARKS = (b"%PDF-", b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"{\\rtf")
_LONGEST_TEXT = 2000


@dataclass(slots=True)
class FileRows:
    """The rows of one file. format: as its content shows it; note: where its name says otherwise."""

    opened: Opened
    format: str
    rows: Rows
    decoder: Decoder | None = None
    note: str = ""

    @property
    def encoding(self) -> str:
        """Known once the first row has been read; "" for what is no text."""
        return self.decoder.encoding if self.decoder else ""


def read_file(opened: Opened, longest_text: int = _LONGEST_TEXT, columns: Sequence[str] = ()) -> FileRows:
    """The rows of an opened file, read as they are asked for.

    longest_text: characters of a row that is cut from plain text or a document. columns: of a CSV file without names.
    Raises DataError for files that hold no rows or cannot be read; single rows that are broken come as Rejected.
    """
    name, ending, head = opened.name, opened.file.ending, opened.head
    expected = _NAMES.get(ending, "")
    if head.startswith(columnar.PARQUET):
        return _noted(FileRows(opened, "Parquet", columnar.read_parquet(opened)), expected)
    if head.startswith((columnar.ARROW_FILE, columnar.ARROW_STREAM)):
        return _noted(FileRows(opened, "Arrow", columnar.read_arrow(opened)), expected)
    if head[257:262] == b"ustar":
        raise DataError(f"{name} is a tar archive. Unpack it, and name the folder.")
    if expected and head.startswith(_DOCUMENT_MARKS):
        raise DataError(
            f"{name} is a document or an archive, though its name says {expected}.\n"
            "Give it its own ending (.pdf, .docx, .zip, …), or name the right file."
        )
    if not expected and not _is_rows_without_ending(opened):
        return FileRows(opened, "document", _document(opened.file, longest_text))
    if expected in ("Parquet", "Arrow"):
        raise DataError(
            f"{name} is no {expected} file, though its name says so: it is damaged or cut off. Get it again."
        )
    return _noted(_text_rows(opened, expected, longest_text, columns), expected)


def read_records(path: str | Path) -> list[Record]:
    """Every row of one data file.

    Raises DataError when the file is missing, empty or no text, and for the first row that is broken (naming it).
    """
    files, _ = find.find(str(path))
    if not files:
        raise DataError(f"No data file {path}: {find.missing(str(path))}")
    records: list[Record] = []
    for file in files:
        with open_file(file) as opened:
            for row in read_file(opened).rows:
                if isinstance(row, Rejected):
                    raise DataError(f"{row.record.source}: {row.problem}")
                records.append(row)
    return records


def _text_rows(opened: Opened, expected: str, longest_text: int, columns: Sequence[str]) -> FileRows:
    name = opened.name
    decoder = Decoder(name)
    chunks = decoder.decoded(opened.chunks(), opened.is_whole)
    head = next(chunks, "")
    if not head.strip():
        raise DataError(f"The data file {name} is empty. It should hold rows as JSON, JSONL, CSV or text.")

    def text() -> Iterator[str]:
        yield head
        yield from chunks

    if head.lstrip()[0] in "[{" and (expected in ("JSON", "") or json_rows.begins_with_row(head)):
        if json_rows.is_lines(head):
            return FileRows(opened, "JSONL", json_rows.read_lines(text(), name), decoder)
        return FileRows(opened, "JSON", json_rows.read_values(text(), name), decoder)
    delimiter = table.delimiter_of(head, opened.is_whole) if expected != "text" else None
    if expected == "CSV" or (expected in ("JSON", "") and delimiter):
        # A table of one column has no delimiter.
        delimiter = delimiter or ("\t" if opened.file.ending == ".tsv" else ",")
        rows = table.read_table(text(), name, delimiter, columns)
        return FileRows(opened, "TSV" if delimiter == "\t" else "CSV", rows, decoder)
    if expected == "JSON":
        return FileRows(opened, "JSON", json_rows.read_values(text(), name), decoder)
    return FileRows(opened, "text", plain.read_text(text(), name, longest_text), decoder)


def _is_rows_without_ending(opened: Opened) -> bool:
    """A file whose ending says nothing of rows and which begins with one. A notebook is JSON too, but is a document."""
    head = opened.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return (
        opened.file.ending != ".ipynb"
        and head[:1] in (b"[", b"{")
        and json_rows.begins_with_row(head.decode("utf-8", errors="ignore"))
    )


def _document(file: DataFile, longest: int) -> Rows:
    """The chunks of a document as rows of text; what cannot be read of it is rejected, or raised if it was named."""
    try:
        found = read_documents([file.path])
    except DataError as error:
        if file.named:
            raise
        problem = " ".join(str(error).splitlines()[1:]) or str(error)
        yield Rejected(Record({}, Source(file.name, 1)), "", problem.removeprefix(f"{file.path}: "), fault=False)
        return
    for skipped in found.skipped:
        yield Rejected(Record({}, Source(file.name, 1)), "", f"{skipped.reason} {skipped.remedy}", fault=False)
    for chunk in chunk_documents(found.documents, longest):
        yield Record({"text": chunk.text}, chunk.source)


def _noted(rows: FileRows, expected: str) -> FileRows:
    found = {"JSONL": "JSON", "TSV": "CSV"}.get(rows.format, rows.format)
    if expected and found != expected:
        rows.note = f"{rows.opened.name} is read as {rows.format}, which it is, though its name says {expected}"
    return rows
