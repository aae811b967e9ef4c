"""What cleaning did, rule by rule: counts, examples, seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from lorafit.records import Source

EXAMPLES, SHOWN = 5, 80


@dataclass(frozen=True, slots=True)
class Example:
    """A row in which a rule found something: its text before and after, shortened; dropped rows have no after."""

    source: Source
    before: str
    after: str | None
    reason: str | None

    def __str__(self) -> str:
        told = f"{self.before!r} -> {self.after!r}" if self.after is not None else f"{self.reason}: {self.before!r}"
        return f"{self.source}: {told}"


@dataclass(slots=True)
class RuleReceipt:
    """One rule: rows seen, rows in which it found something, and what became of those.

    kinds: what was found more closely (personal data by kind, languages), in places, not rows.
    """

    rule: str
    action: str
    seen: int = 0
    found: int = 0
    changed: int = 0
    dropped: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "action": self.action,
            "seen": self.seen,
            "found": self.found,
            "changed": self.changed,
            "dropped": self.dropped,
            "seconds": round(self.seconds, 3),
            "kinds": dict(self.kinds.most_common()),
            "examples": [
                {
                    "file": example.source.file,
                    "row": example.source.row,
                    "before": example.before,
                    "after": example.after,
                    "reason": example.reason,
                }
                for example in self.examples
            ],
        }

    def line(self) -> str:
        if self.dropped:
            done = f"{self.dropped:,} rows dropped"
        elif self.changed:
            done = f"{self.changed:,} rows changed"
        else:
            done = f"{self.found:,} rows found" + (", nothing done (report)" if self.action == "report" else "")
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.kinds.most_common(4))
        return f"{self.rule.replace('_', ' ')}: {done}" + (f" ({kinds})" if kinds else "")


@dataclass(slots=True)
class Receipt:
    """All rules that looked, in their order. Every row read is either kept or dropped."""

    rules: list[RuleReceipt]
    read: int = 0
    dropped: int = 0

    @property
    def kept(self) -> int:
        return self.read - self.dropped

    @property
    def changed(self) -> bool:
        """Whether anything is other than it was read."""
        return any(rule.changed or rule.dropped for rule in self.rules)

    def to_json(self) -> dict[str, Any]:
        """For data.json."""
        return {
            "read": self.read,
            "kept": self.kept,
            "dropped": self.dropped,
            "rules": [rule.to_json() for rule in self.rules],
        }

    def lines(self, examples: int = 1) -> Iterator[str]:
        """For the terminal: a line in all, one for each rule that found something, and some of its examples."""
        yield f"{self.read:,} rows read, {self.kept:,} kept, {self.dropped:,} dropped"
        for rule in self.rules:
            if rule.found:
                yield f"  {rule.line()}"
                for example in rule.examples[:examples]:
                    yield f"    {example}"


def example(source: Source, before: str, after: str | None, reason: str | None, veil: Callable[[str], str]) -> Example:
    """An example with personal data veiled (before it is shortened: half a number is not found) and little text."""
    before, found = veil(before), before
    if after is None:
        return Example(source, _around(before, 0), None, reason)
    if before == found and veil(after) != after:
        before = "(personal data)"  # which nobody could find before it was mended
    after = veil(after)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    return Example(source, _around(before, alike), _around(after, alike), reason)


def _around(text: str, place: int) -> str:
    start = max(0, min(place - SHOWN // 2, len(text) - SHOWN))
    return ("…" if start else "") + text[start : start + SHOWN] + ("…" if start + SHOWN < len(text) else "")
