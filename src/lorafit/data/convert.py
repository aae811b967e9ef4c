"""Rows to conversations: the form is recognised by the columns, nothing needs to be registered."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from lorafit.data.forms.layout import ColumnMap, Layout, recognise
from lorafit.data.forms.rows import messages_of
from lorafit.data.forms.values import BadRow
from lorafit.records import Conversation, Record

SHOWN_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that is not trained on, and why.

    field: "" where the row as a whole could not be read. fault: whether something is wrong with the row; False where
    its own data says that it is not to be trained on (an undesirable answer, weights of 0).
    """

    record: Record
    field: str
    problem: str
    fault: bool = True

    def __str__(self) -> str:
        return f"{self.record.source}{f', field {self.field!r}' if self.field else ''}: {self.problem}"

    def to_json(self) -> str:
        content = {
            "file": self.record.source.file,
            "row": self.record.source.row,
            "field": self.field,
            "reason": self.problem,
            "fields": self.record.fields,
        }
        # JSON may name half a surrogate pair, which UTF-8 cannot hold: it goes out as it came in, as an escape.
        # A table may hold dates and bytes, which JSON has not: they go out as texts.
        return json.dumps(content, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace").decode()


class Converter:
    """Rows of one source to conversations; `layouts` counts the rows of each form, `given` maps its columns."""

    def __init__(self, given: ColumnMap | None = None) -> None:
        self.given = given or ColumnMap()
        self.layouts: Counter[str] = Counter()
        self._known: dict[tuple[str, ...], Layout] = {}

    def layout(self, record: Record) -> Layout:
        """The form of a row. Raises BadRow for columns that are of no form."""
        # A table has every column in every row: those that are null here say nothing about this row.
        names = tuple([name for name, value in record.fields.items() if value is not None])
        layout = self._known.get(names)
        if layout is None:
            layout = recognise(names, self.given)
            if len(self._known) < 1000:  # rows with columns of their own each must not fill the memory
                self._known[names] = layout
        return layout

    def convert(self, record: Record) -> Conversation | Rejected:
        try:
            layout = self.layout(record)
            self.layouts[layout.form] += 1
            messages, tools = messages_of(record.fields, layout)
        except BadRow as bad:
            return Rejected(record, bad.field, bad.problem, bad.fault)
        return Conversation(messages, record.source, tools)


def faults_report(rejected: list[Rejected], rows: int) -> str:
    lines = [f"{len(rejected)} of {rows} rows cannot be used:"]
    lines += [f"  {fault}" for fault in rejected[:SHOWN_FAULTS]]
    if len(rejected) > SHOWN_FAULTS:
        lines.append(f"  ... and {len(rejected) - SHOWN_FAULTS} more")
    lines.append("Mend these rows, or leave them out with `data.bad_rows=drop` (they are counted and kept aside).")
    return "\n".join(lines)
