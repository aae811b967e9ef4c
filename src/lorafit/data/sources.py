"""data.train to conversations, as a stream: names to files and data sets, rows to conversations, with weights."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path, PurePath

from lorafit import builtin
from lorafit.data.convert import Converter, Rejected
from lorafit.data.forms.layout import ColumnMap, Role
from lorafit.data.forms.values import BadRow, near
from lorafit.data.read import FileRows, Rows, read_file
from lorafit.data.readers import find
from lorafit.data.readers.dataset_info import find_entry, near_entries
from lorafit.data.readers.hub import HubSet, parse_hub_set, read_hub_set
from lorafit.data.readers.opened import DataFile, open_file
from lorafit.data.settings import DataSettings, SourceSettings
from lorafit.errors import DataError
from lorafit.records import Conversation, Record, Source

# Called now and then with bytes read, bytes in all (0 where that is not known) and the name of the file.
Progress = Callable[[int, int, str], None]

_LOOKED_AT = 100  # rows of a file from which its columns and form are told before it is read
_DESCRIBED = 20  # files of a source
_BETWEEN = 1000  # rows between two calls of progress
_WITH_SPLIT = re.compile(r"(?P<name>.+)\[(?P<split>\w+)\]")


@dataclass(frozen=True, slots=True)
class DataSource:
    """One source of the recipe, resolved: its files, or the data set of a hub."""

    name: str
    weight: float
    files: tuple[DataFile | HubSet, ...]
    given: ColumnMap
    limit: int | None
    notes: tuple[str, ...]


@dataclass(slots=True)
class Description:
    """What a file is taken for, told from its first rows: to be shown before it is trained on."""

    file: str
    source: str
    weight: float
    format: str
    forms: list[str]
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        weight = f", weight {self.weight:g}" if self.weight != 1 else ""
        return f"{self.file}: {self.format}{weight}, read as {' and '.join(self.forms) or 'nothing'}"


def iterate_conversations(
    settings: DataSettings,
    held_out: bool = False,
    progress: Progress | None = None,
    forms: dict[str, Counter[str]] | None = None,
) -> Iterator[Conversation | Rejected]:
    """The rows of data.train (or of the file data.held_out), each once, in order, in bounded memory.

    forms: is given the rows of each form, for each file, which grow as that file is read.

    Weights are not applied here but after the split: see `Mixture`. A Rejected whose `fault` is False is no reason to
    stop: its own data says that it is not to be trained on, or a document of a folder cannot be read.
    Raises DataError for names at which there is nothing, broken files, mapped columns that are not there, and files
    whose rows are of no known form.
    """
    sources = resolve(settings, held_out)
    total = sum(_size(file) for source in sources for file in source.files)
    done = 0
    for source in sources:
        left = source.limit
        for file in source.files:
            converter = Converter(source.given)
            if forms is not None:
                forms[file.name] = converter.layouts
            for number, (outcome, place) in enumerate(_outcomes(file, source, settings, converter, left), start=1):
                yield outcome
                if progress and number % _BETWEEN == 0:
                    progress(done + place(), total, file.name)
                if left is not None:
                    left -= 1
            done += _size(file)
            if progress:
                progress(done, total, file.name)
            if left == 0:
                break


def iterate_rows(settings: DataSettings) -> Iterator[Record | Rejected]:
    """The rows of data.train as their files have them, in the order of `iterate_conversations`."""
    for source in resolve(settings):
        left = source.limit
        for file in source.files:
            with _Opened(file, settings) as opened:
                for row in islice(opened.rows, left):
                    yield row
                    left = None if left is None else left - 1


def describe_sources(settings: DataSettings, held_out: bool = False) -> list[Description]:
    """What each file is taken for (of a source, the first twenty), told from its first hundred rows.

    Raises DataError as reading does.
    """
    descriptions = []
    for source in resolve(settings, held_out):
        for number, file in enumerate(source.files[:_DESCRIBED]):
            with _Opened(file, settings) as opened:
                first = list(islice(opened.rows, _LOOKED_AT))
                forms = _forms(first, source, file.name)
            notes = [*(source.notes if number == 0 else ()), *([opened.note] if opened.note else [])]
            if len(forms) > 1:
                notes.append(f"{file.name} holds rows of several forms: {', '.join(forms)}")
            descriptions.append(Description(file.name, source.name, source.weight, opened.format, forms, notes))
        if len(source.files) > _DESCRIBED:
            descriptions[-1].notes.append(f"{source.name}: {len(source.files) - _DESCRIBED} more files are read alike")
    return descriptions


class Mixture:
    """Which source a row belongs to, and how often it counts in an epoch."""

    def __init__(self, settings: DataSettings) -> None:
        """Raises DataError for names at which there is nothing, and for a file that two sources hold."""
        self._of: dict[str, DataSource] = {}
        self.sources = resolve(settings)
        for source in self.sources:
            for file in source.files:
                other = self._of.setdefault(file.name, source)
                if other is not source:
                    raise DataError(
                        f"{file.name} is in two sources of data.train, {other.name} and {source.name}.\n"
                        "Name it once; to train on it more often, give it a weight."
                    )

    @property
    def is_even(self) -> bool:
        """Whether every row counts once."""
        return all(source.weight == 1 for source in self.sources)

    def source_of(self, place: Source) -> DataSource:
        return self._of[place.file]

    def copies(self, place: Source, seed: int) -> int:
        """How often a row counts in an epoch: its source's weight, a fraction of it drawn by seed, file and row."""
        weight = self._of[place.file].weight
        whole = math.floor(weight)
        if whole == weight:
            return whole
        # The file without its folder: a run repeated elsewhere takes the same rows.
        key = f"{seed}\n{PurePath(place.file).name}\n{place.row}"
        drawn = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
        return whole + (drawn < weight - whole)

    def shares(self, rows: Iterable[Source], seed: int) -> dict[str, tuple[int, float]]:
        """For each source of these rows: how many they are, and their share of an epoch."""
        counts: Counter[str] = Counter()
        weighted: Counter[str] = Counter()
        for place in rows:
            name = self.source_of(place).name
            counts[name] += 1
            weighted[name] += self.copies(place, seed)
        return {name: (count, weighted[name] / max(1, weighted.total())) for name, count in counts.items()}


def resolve(settings: DataSettings, held_out: bool = False) -> list[DataSource]:
    """The sources of data.train, or of data.held_out where that is a name. Raises DataError where there is nothing."""
    wanted = settings.held_out if held_out else settings.train
    if isinstance(wanted, float):
        raise DataError(f"data.held_out={wanted:g} is a share of the training data: there is no held-out file to read.")
    named = wanted if isinstance(wanted, list) else [wanted]
    builtin_file = str(builtin.HELD_OUT if held_out else builtin.TRAIN)
    sources = []
    for one in named:
        if isinstance(one, str):
            one = SourceSettings(source=builtin_file if one == builtin.NAME else one)
        sources.append(_resolved(one, one.columns or settings.columns))
    return sources


def _resolved(wanted: SourceSettings, columns: dict[Role, str]) -> DataSource:
    name, split, limit, given = wanted.source, wanted.split, wanted.limit, ColumnMap(columns)
    files, notes = _files(name, split)
    if not files and (entry := find_entry(name)):
        split = split or entry.split
        given = ColumnMap(columns, entry.given.tags) if columns else entry.given
        limit = min(limit or entry.limit, entry.limit) if entry.limit else limit
        files, notes = _files(entry.source, split)
        notes = [f"{name} is {entry.source}, as dataset_info.json says", *notes]
    if not files:
        near = [*near_entries(name)]
        hint = f"did you mean {' or '.join(near)} (in dataset_info.json)?" if near else find.missing(name)
        raise DataError(f"No data file {name}: {hint}")
    return DataSource(name, wanted.weight, tuple(files), given, limit, tuple(notes))


def _files(name: str, split: str | None) -> tuple[Sequence[DataFile | HubSet], list[str]]:
    files, notes = find.find(name, split)
    if not files and (found := _WITH_SPLIT.fullmatch(name)):
        name, split = found["name"], split or found["split"]
        files, notes = find.find(name, split)
    if files:
        return files, notes
    # With the ending of a data file, or in a folder that is there, it is a misspelt path and not a hub's data set.
    ending = "." + name.lower().rpartition(".")[2]
    is_path = ending in find.ROW_ENDINGS | {".txt"} or find_entry(name) is not None
    is_path = is_path or (Path(name).parent.is_dir() and ":" not in name)
    hub_set = None if is_path else parse_hub_set(name, split)
    return ([hub_set] if hub_set else []), notes


class _Opened:
    """A file or a data set of a hub, open: its rows, its format, and how far it is."""

    def __init__(self, file: DataFile | HubSet, settings: DataSettings) -> None:
        self._file, self._settings = file, settings
        self._rows: FileRows | None = None
        self.rows: Rows = iter(())

    def __enter__(self) -> _Opened:
        if isinstance(self._file, HubSet):
            self.rows = read_hub_set(self._file)
        else:
            self._context = open_file(self._file)
            self._rows = read_file(self._context.__enter__(), self._settings.text_length)
            self.rows = self._rows.rows
        return self

    def __exit__(self, *_: object) -> None:
        if self._rows:
            self._context.__exit__(None, None, None)

    @property
    def format(self) -> str:
        if self._rows is None:
            return "a data set of a hub"
        return f"{self._rows.format}, {self._rows.encoding}" if self._rows.encoding else self._rows.format

    @property
    def note(self) -> str:
        return self._rows.note if self._rows else ""

    def place(self) -> int:
        return self._rows.opened.place() if self._rows else 0


def _outcomes(
    file: DataFile | HubSet, source: DataSource, settings: DataSettings, converter: Converter, limit: int | None
) -> Iterator[tuple[Conversation | Rejected, Callable[[], int]]]:
    with _Opened(file, settings) as opened:
        first = list(islice(opened.rows, _LOOKED_AT))
        _forms(first, source, file.name)
        for row in islice(chain(first, opened.rows), limit):
            yield (row if isinstance(row, Rejected) else converter.convert(row)), opened.place


def _forms(first: Sequence[Record | Rejected], source: DataSource, file: str) -> list[str]:
    """The forms of the first rows of a file.

    Raises DataError where there are no rows, where a mapped column is in none of them, and where none has a form.
    """
    if not first:
        raise DataError(f"The data file {file} holds no rows.")
    records = [row for row in first if isinstance(row, Record)]
    names = dict.fromkeys(name for record in records for name in record.fields)
    for role, column in source.given.columns.items():
        if records and column not in names:
            raise DataError(f"{file} has no column {column!r}, which is to be `{role}`. {near(column, names)}")
    converter = Converter(source.given)
    forms: dict[str, None] = {}
    problems: list[str] = []
    for record in records:
        try:
            forms.setdefault(str(converter.layout(record)))
        except BadRow as bad:
            problems.append(f"{record.source}, columns {bad.field}: {bad.problem}.")
    if problems and not forms:
        raise DataError(problems[0])
    return list(forms)


def _size(file: DataFile | HubSet) -> int:
    return file.size if isinstance(file, DataFile) else 0
