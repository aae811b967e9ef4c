"""The stage between convert and split: every rule that is on, over all rows, with a receipt."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from lorafit.data.clean.characters import ControlCharacters, Mojibake, UnicodeForm
from lorafit.data.clean.duplicates import ExactDuplicates, InHeldOut, SamePrompt
from lorafit.data.clean.language import WrongLanguage
from lorafit.data.clean.length import Empty, TooLong, TooShort
from lorafit.data.clean.near import NearDuplicates
from lorafit.data.clean.personal import PersonalData
from lorafit.data.clean.receipt import EXAMPLES, Receipt, RuleReceipt, example
from lorafit.data.clean.repeats import Repeats
from lorafit.data.clean.rows import RowRule, TextRule
from lorafit.data.clean.settings import CleanSettings
from lorafit.data.convert import Rejected
from lorafit.records import Conversation, Record

BATCH = 1024
# One mending can make way for another (a character without width taken out of an address); a few rounds settle it.
ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Rows in their order; kept and dropped together are all that were read."""

    kept: list[Conversation]
    dropped: list[Rejected]
    receipt: Receipt


def clean(
    rows: Iterable[Conversation],
    settings: CleanSettings,
    held_out: Iterable[Conversation] = (),
    progress: Callable[[int], None] | None = None,
) -> Cleaned:
    """All rows through the rules that are on. `progress` is told now and then how many rows have been read.

    Raises DataError when a rule is on whose package is not installed.
    """
    cleaner = Cleaner(settings, held_out)
    kept: list[Conversation] = []
    dropped: list[Rejected] = []
    for outcome in cleaner.stream(rows, progress):
        if isinstance(outcome, Rejected):
            dropped.append(outcome)
        else:
            kept.append(outcome)
    return Cleaned(kept, dropped, cleaner.receipt)


class Cleaner:
    """The rules that are on, with what they remember; `receipt` grows while rows go through.

    Only hashes are remembered: exact duplicates and the same prompt take about 400 bytes a kept row together, near
    duplicates 800 more, the others nothing.
    """

    def __init__(self, settings: CleanSettings, held_out: Iterable[Conversation] = ()) -> None:
        """Raises DataError when a rule is on whose package is not installed."""
        self._text_rules = [
            (rule, RuleReceipt(rule.name, action, kinds=rule.found)) for rule, action in _text_rules(settings)
        ]
        self._row_rules = [
            (rule, RuleReceipt(rule.name, action, kinds=rule.found))
            for rule, action in _row_rules(settings, _mended(held_out, settings))
        ]
        self._veil = PersonalData(settings.personal_kinds).veil if settings.personal_data != "off" else str
        self.receipt = Receipt([told for _, told in self._text_rules] + [told for _, told in self._row_rules])

    def stream(
        self, rows: Iterable[Conversation], progress: Callable[[int], None] | None = None
    ) -> Iterator[Conversation | Rejected]:
        """Each row as it is kept, or rejected with the rule as its field and the text as it stood then."""
        remaining = iter(rows)
        while batch := list(itertools.islice(remaining, BATCH)):
            self._mend(batch)
            outcomes = self._judge(batch)
            self.receipt.read += len(batch)
            self.receipt.dropped += sum(isinstance(outcome, Rejected) for outcome in outcomes)
            if progress is not None:
                progress(self.receipt.read)
            yield from outcomes

    def _mend(self, batch: list[Conversation]) -> None:
        """The text rules over a batch, in place, until they find nothing more."""
        pending = list(range(len(batch)))
        met: dict[str, set[int]] = {told.rule: set() for _, told in self._text_rules}
        for _ in range(ROUNDS):
            changed: set[int] = set()
            for rule, told in self._text_rules:
                start = time.perf_counter()
                for place in pending:
                    mended = _apply(rule, batch[place])
                    if mended is None:
                        continue
                    if place not in met[told.rule]:
                        met[told.rule].add(place)
                        self._show_change(told, batch[place], mended)
                    if told.action != "report":
                        batch[place] = mended
                        changed.add(place)
                told.seconds += time.perf_counter() - start
            pending = sorted(changed)
            if not pending:
                break
        for _, told in self._text_rules:
            told.seen += len(batch)
            told.found += len(met[told.rule])
            told.changed += len(met[told.rule]) if told.action != "report" else 0

    def _judge(self, batch: list[Conversation]) -> list[Conversation | Rejected]:
        """The row rules over a batch; what one rule drops the next does not see."""
        outcomes: list[Conversation | Rejected] = list(batch)
        alive = list(range(len(batch)))
        for rule, told in self._row_rules:
            if not alive:
                break
            start = time.perf_counter()
            problems = rule.faults([batch[place] for place in alive])
            told.seconds += time.perf_counter() - start
            told.seen += len(alive)
            faulty = {place: problem for place, problem in zip(alive, problems, strict=True) if problem is not None}
            told.found += len(faulty)
            for place, problem in itertools.islice(faulty.items(), EXAMPLES - len(told.examples)):
                row = batch[place]
                told.examples.append(example(row.source, _text(row), None, problem, self._veil))
            if told.action == "drop":
                told.dropped += len(faulty)
                for place, problem in faulty.items():
                    outcomes[place] = _reject(batch[place], rule, problem)
                alive = [place for place in alive if place not in faulty]
        return outcomes

    def _show_change(self, told: RuleReceipt, row: Conversation, mended: Conversation) -> None:
        if len(told.examples) < EXAMPLES:
            pairs = zip(row.messages, mended.messages, strict=True)
            before, after = next((a.content, b.content) for a, b in pairs if a != b)
            told.examples.append(example(row.source, before, after, None, self._veil))


def _text_rules(settings: CleanSettings) -> Iterator[tuple[TextRule, str]]:
    """In this order: ftfy reads wrong decoding from the control characters that it left behind."""
    if settings.mojibake != "off":
        yield Mojibake(), settings.mojibake
    if settings.control_characters != "off":
        yield ControlCharacters(), settings.control_characters
    if settings.unicode != "off":
        yield UnicodeForm("NFKC" if settings.unicode == "nfkc" else "NFC"), settings.unicode
    if settings.personal_data == "mask":
        yield PersonalData(settings.personal_kinds), settings.personal_data


def _row_rules(settings: CleanSettings, held_out: Iterable[Conversation]) -> Iterator[tuple[RowRule, str]]:
    """The cheap ones first, and those that compare rows last: they need not remember what is dropped anyway."""
    if settings.empty != "off":
        yield Empty(), settings.empty
    if settings.too_short != "off":
        yield TooShort(settings.min_characters), settings.too_short
    if settings.too_long != "off":
        yield TooLong(settings.max_characters), settings.too_long
    if settings.personal_data in {"report", "drop"}:
        yield PersonalData(settings.personal_kinds), settings.personal_data
    if settings.repeats != "off":
        yield Repeats(), settings.repeats
    if settings.wrong_language != "off":
        yield WrongLanguage(settings.languages, settings.language_confidence), settings.wrong_language
    if settings.in_held_out != "off":
        yield InHeldOut(held_out), settings.in_held_out
    if settings.exact_duplicates != "off":
        yield ExactDuplicates(), settings.exact_duplicates
    if settings.same_prompt != "off":
        yield SamePrompt(), settings.same_prompt
    if settings.near_duplicates != "off":
        yield NearDuplicates(settings.near_similarity), settings.near_duplicates


def _mended(held_out: Iterable[Conversation], settings: CleanSettings) -> Iterator[Conversation]:
    """Held-out rows as training rows are after the text rules, so that equal prompts stay equal."""
    rules = [rule for rule, action in _text_rules(settings) if action != "report"]
    for row in held_out:
        for _ in range(ROUNDS):
            before = row
            for rule in rules:
                row = _apply(rule, row) or row
            if row is before:
                break
        yield row


def _apply(rule: TextRule, row: Conversation) -> Conversation | None:
    """The row mended, None where there is nothing to mend."""
    texts = [rule.mend(message.content) for message in row.messages]
    if all(message.content == text for message, text in zip(row.messages, texts, strict=True)):
        return None
    messages = tuple(replace(message, content=text) for message, text in zip(row.messages, texts, strict=True))
    return replace(row, messages=messages)


def _text(row: Conversation) -> str:
    return " | ".join(message.content for message in row.messages)


def _reject(row: Conversation, rule: RowRule, problem: str) -> Rejected:
    """The row as rejected.jsonl keeps it; one that is dropped for its personal data goes there masked."""
    show = rule.mask if isinstance(rule, PersonalData) else str
    fields = {"messages": [{"role": message.role, "content": show(message.content)} for message in row.messages]}
    return Rejected(Record(fields, row.source), f"clean.{rule.name}", problem)
