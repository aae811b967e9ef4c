"""JSON to rows as it is read: JSONL by lines, arrays and objects around them value by value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NoReturn

from lorafit.data.convert import Rejected
from lorafit.data.forms.layout import ROW_NAMES
from lorafit.data.readers.decoded import lines
from lorafit.errors import DataError
from lorafit.records import Record, Source

_SPACE = re.compile(r"[ \t\n\r]*")
_OBJECTS = re.compile(r"\[[ \t\n\r]*\{")
_SURE = 16  # characters: how near to the end of what has been read a fault may stem from what is missing there


def read_lines(chunks: Iterable[str], name: str) -> Iterator[Record | Rejected]:
    """JSONL: an object a line, called by the number of its line. A broken line is rejected, the next one read."""
    for number, line in enumerate(lines(chunks), start=1):
        if not line or line.isspace():
            continue
        source = Source(name, number)
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            yield Rejected(Record({"line": line}, source), "", _broken(number, error.colno, error.msg))
        except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
            yield Rejected(Record({"line": line}, source), "", f"this JSON cannot be read: {error}.")
        else:
            yield _record(value, source)


def read_values(chunks: Iterable[str], name: str) -> Iterator[Record | Rejected]:
    """An array of objects, objects one after another, or one object that holds the rows in a list.

    SQuAD's layout (paragraphs with their questions) is unfolded: a row for each question, counted as they come.
    Raises DataError, naming the row, where the JSON is broken: what follows cannot be told apart.
    """
    cursor = _Cursor(chunks, name)
    values = _array(cursor, name) if cursor.peek() == "[" else _objects(cursor, name)
    for row, value in enumerate(chain.from_iterable(map(_unfolded, values)), start=1):
        yield _record(value, Source(name, row))
    if not cursor.rows:
        raise DataError(f"The data file {name} holds an empty array: there are no rows.")
    if cursor.peek():
        raise DataError(f"{name}: there is more text after the array's closing bracket (row {cursor.rows}).")


def begins_with_row(head: str) -> bool:
    """Whether a file that is not called JSON begins with an object of JSON all the same, alone or in an array."""
    try:
        json.JSONDecoder().raw_decode(head.lstrip().removeprefix("[").lstrip())
    except (RecursionError, ValueError):
        return False
    return head.lstrip().removeprefix("[").lstrip().startswith("{")


def is_lines(head: str) -> bool:
    """Whether a text that begins with JSON is JSONL: its first line is a value by itself, and more follows."""
    line, _, rest = head.lstrip().partition("\n")
    if not rest.strip():
        return False
    try:
        json.loads(line)
    except RecursionError:
        return True
    except ValueError:
        # A broken first row: an object on a line of its own after it says that these are lines.
        following = rest.lstrip().partition("\n")[0].strip()
        return line.startswith("{") and line.rstrip().endswith("}") and following.startswith("{")
    return True


def _array(cursor: _Cursor, name: str) -> Iterator[Any]:
    cursor.skip()
    while (mark := cursor.peek()) != "]":
        if mark:
            yield cursor.row()
            mark = cursor.peek()
        if mark == ",":
            cursor.skip()
        elif not mark:
            raise DataError(f"{name}: the array ends after row {cursor.rows} without a closing bracket `]`.")
        elif mark != "]":
            cursor.fail("expected a comma or a closing bracket between rows")
    cursor.skip()


def _objects(cursor: _Cursor, name: str) -> Iterator[Any]:
    while mark := cursor.peek():
        if mark == "{":
            yield from _object(cursor, name)
        else:
            yield cursor.row()


def _object(cursor: _Cursor, name: str) -> Iterator[Any]:
    """The object itself as a row, or the rows of the one list of objects in it, which is never held."""
    cursor.skip()
    fields: dict[str, Any] = {}
    holder = ""
    while (mark := cursor.peek()) != "}":
        key = cursor.value() if mark == '"' else cursor.fail("expected a name in double quotes, or a closing brace")
        if cursor.peek() != ":":
            cursor.fail("expected a colon after the name")
        cursor.skip()
        cursor.peek()
        if key.lower() in ROW_NAMES or not ROW_NAMES.isdisjoint(map(str.lower, fields)) or not cursor.opens_objects():
            fields[key] = cursor.value()
        else:
            rows = _array(cursor, name)
            first = next(rows)
            if isinstance(first, dict) and ({"role", "content"} <= first.keys() or {"from", "value"} <= first.keys()):
                fields[key] = [first, *rows]  # a dialogue under a name of its own
                cursor.rows -= len(fields[key])
            elif holder:
                raise DataError(
                    f"{name} holds one object with lists of rows in {holder!r} and in {key!r}.\n"
                    "Save the one to train on by itself, as a JSON array or as JSONL."
                )
            else:
                holder = key
                yield from chain([first], rows)
        mark = cursor.peek()
        if mark == ",":
            cursor.skip()
        elif mark != "}":
            cursor.fail("expected a comma or a closing brace")
    cursor.skip()
    if not holder:
        cursor.rows += 1
        yield fields


def _unfolded(value: Any) -> Iterator[Any]:
    """The questions of an article in SQuAD's layout, each with its context; any other row as it is."""
    paragraphs = value.get("paragraphs") if isinstance(value, dict) else None
    if not isinstance(paragraphs, list) or not all(isinstance(p, dict) and "qas" in p for p in paragraphs):
        yield value
        return
    for paragraph in paragraphs:
        asked = paragraph["qas"] if isinstance(paragraph["qas"], list) else []
        for question in asked:
            yield {"context": paragraph.get("context"), **question} if isinstance(question, dict) else question


def _record(value: Any, source: Source) -> Record | Rejected:
    if isinstance(value, dict):
        return Record(value, source)
    return Rejected(
        Record({"value": value}, source), "", f"a row should be an object with named fields, found {_short(value)}."
    )


def _broken(line: int, column: int, problem: str) -> str:
    return f"broken JSON at line {line}, column {column}: {problem[0].lower()}{problem[1:]}."


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


class _Cursor:
    """A place in a text that is read as it is needed; what lies before it is dropped. rows: those read so far."""

    def __init__(self, chunks: Iterable[str], name: str) -> None:
        self.name, self.rows = name, 0
        self._chunks = iter(chunks)
        self._text, self._place = "", 0
        self._line, self._column = 1, 0  # of the first character of _text
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is no space, "" at the end."""
        while True:
            found = _SPACE.match(self._text, self._place)
            self._place = found.end() if found else self._place
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._read():
                return ""

    def skip(self) -> None:
        self._place += 1

    def opens_objects(self) -> bool:
        """Whether a list whose first value is an object begins here."""
        while len(self._text) - self._place < 1000 and self._read():
            pass
        return bool(_OBJECTS.match(self._text, self._place))

    def row(self) -> Any:
        value = self.value()
        self.rows += 1
        return value

    def value(self) -> Any:
        while True:
            try:
                value, end = self._decode(self._text, self._place)
            except json.JSONDecodeError as error:
                # What has not been read yet can only be missing at the end of what has.
                missing = error.msg.startswith("Unterminated string") or error.pos > len(self._text) - _SURE
                if missing and self._read(double=True):
                    continue
                self._fail_at(error.lineno, error.colno, error.msg)
            except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
                raise DataError(f"{self.name}, row {self.rows + 1}: this JSON cannot be read: {error}.") from None
            length = end - self._place  # reading on moves the place
            # A number may go on: 1 may become 1.5e+3.
            if not isinstance(value, int | float) or len(self._text) - end > 2 or not self._read(double=True):
                self._place += length
                return value

    def fail(self, problem: str) -> NoReturn:
        before = self._text[: self._place]
        self._fail_at(before.count("\n") + 1, len(before) - before.rfind("\n"), problem)

    def _fail_at(self, line: int, column: int, problem: str) -> NoReturn:
        column += self._column if line == 1 else 0
        message = _broken(self._line + line - 1, column, problem)
        raise DataError(f"{self.name}, row {self.rows + 1}: {message}") from None

    def _read(self, double: bool = False) -> bool:
        """Reads on, `double`: at least as much again as is held. False at the end."""
        done = self._text[: self._place]
        if "\n" in done:
            self._line += done.count("\n")
            self._column = len(done) - done.rfind("\n") - 1
        else:
            self._column += len(done)
        parts = [self._text[self._place :]]
        wanted, read = (len(parts[0]) if double else 1), 0
        self._place = 0
        for chunk in self._chunks:
            parts.append(chunk)
            read += len(chunk)
            if read >= wanted:
                break
        self._text = "".join(parts)
        return bool(read)
