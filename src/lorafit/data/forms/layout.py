"""Columns to a form: which column is the question, which the answer, which the dialogue. Nothing is registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from lorafit.data.forms.values import BadRow

Role = Literal[
    "messages", "prompt", "input", "context", "answer", "thinking", "system", "history", "tools",
    "chosen", "rejected", "label", "text",
]  # fmt: skip

# For each role the names it is known by, the first that a row has being taken; case does not matter.
_KNOWN: dict[Role, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation", "dialogue", "dialog"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "label": ("label", "kto_tag"),
    "prompt": ("instruction", "prompt", "question", "query", "problem", "input"),
    "answer": ("output", "completion", "response", "answer", "answers", "solution"),
    "input": ("input",),
    "context": ("context", "passage"),
    "thinking": ("reasoning_content", "thinking"),
    "system": ("system", "system_prompt"),
    "history": ("history",),
    "tools": ("tools", "functions"),
    "text": ("text", "content", "body"),
}
ROW_NAMES = frozenset(name for names in _KNOWN.values() for name in names)
# Questions and answers of well-known sets (E2E, summaries, translations, intents), where no other pair is there.
_PAIRS = (
    ("mr", "ref"), ("source", "target"), ("input", "target"), ("document", "summary"), ("article", "summary"),
    ("dialogue", "summary"), ("text", "summary"), ("article", "highlights"), ("utterance", "intent"),
)  # fmt: skip
_CHOICES = ("choice", "option")
_CLASSES = {"label", "labels", "class", "intent"}

Form = Literal["Alpaca", "prompt/completion", "question/answer", "messages", "ShareGPT", "preference", "KTO", "text"]


@dataclass(frozen=True, slots=True)
class Tags:
    """How a turn of a dialogue is written: its keys, and the names of roles beside those that are known anyway."""

    role: str
    content: str
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """What the user (or dataset_info.json) says of the columns. With a question, dialogue or text in it, it is all."""

    columns: Mapping[Role, str] = field(default_factory=dict)
    tags: Tags | None = None

    @property
    def is_whole(self) -> bool:
        return bool({"messages", "prompt", "answer", "chosen", "text"} & self.columns.keys())


@dataclass(frozen=True, slots=True)
class Layout:
    """The form of a row, and the column of each role in it."""

    form: Form
    columns: Mapping[Role, str]
    unused: tuple[str, ...]
    tags: Tags | None = None

    def __str__(self) -> str:
        shown = ", ".join(role if role == name else f"{name} as {role}" for role, name in self.columns.items())
        return f"{self.form} ({shown})" + (f"; not used: {', '.join(self.unused)}" if self.unused else "")


def recognise(names: Sequence[str], given: ColumnMap) -> Layout:
    """The form of rows with these columns. Raises BadRow for columns that are of no form."""
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault(name.strip().lower(), name)
    found: dict[Role, str] = {}
    for role in get_args(Role):
        column = given.columns.get(role)
        if column is None and not given.is_whole:
            column = next((by_name[name] for name in _KNOWN[role] if name in by_name), None)
        if column is not None:
            found[role] = column
    if found.get("input") == found.get("prompt"):
        found.pop("input", None)
    if not given.is_whole:
        if {"role", "from"} & by_name.keys():
            found.pop("text", None)  # one turn of a dialogue
        pair = next(((one, other) for one, other in _PAIRS if {one, other} <= by_name.keys()), None)
        if pair and not {"prompt", "answer"} <= found.keys():
            found = {role: found[role] for role in ("system", "context") if role in found}
            found |= {"prompt": by_name[pair[0]], "answer": by_name[pair[1]]}
        _refuse_others(by_name, found)
    form = _form(found, given)
    if form is None:
        raise BadRow(
            ", ".join(names)[:200] or "(none)",
            "these columns are no form that is known; say which is which, as in "
            "data.columns={prompt: QUESTION, answer: ANSWER}, {messages: TURNS} or {text: TEXT}",
        )
    used: dict[Role, str] = {role: found[role] for role in _ROLES[form] if role in found}
    return Layout(form, used, tuple(n for n in names if n not in used.values()), given.tags)


_AROUND: tuple[Role, ...] = ("system", "tools", "history")
_PAIR: tuple[Role, ...] = ("prompt", "input", "context", "thinking", "answer", *_AROUND)
_ROLES: dict[Form, tuple[Role, ...]] = {
    "messages": ("messages", "system", "tools"),
    "ShareGPT": ("messages", "system", "tools"),
    "preference": ("messages", "prompt", "input", "context", "chosen", "rejected", *_AROUND),
    "KTO": ("messages", *_PAIR, "label"),
    "Alpaca": _PAIR,
    "prompt/completion": _PAIR,
    "question/answer": _PAIR,
    "text": ("text",),
}


def _form(found: dict[Role, str], given: ColumnMap) -> Form | None:
    lower = {role: name.lower() for role, name in found.items()}
    pair = (lower.get("prompt"), lower.get("answer"))
    if "chosen" in found:
        return "preference"
    if "messages" in found:
        if "label" in found:
            return "KTO"
        return "ShareGPT" if lower["messages"].startswith("conversation") else "messages"
    if all(pair):
        # A label beside a question and its answer may say anything; in these names it is KTO's.
        if "label" in given.columns or lower.get("label") == "kto_tag":
            return "KTO"
        if pair == ("prompt", "completion"):
            return "KTO" if "label" in found else "prompt/completion"
        return "Alpaca" if pair == ("instruction", "output") else "question/answer"
    if "instruction" in pair or "output" in pair or "prompt" in given.columns or "answer" in given.columns:
        return "Alpaca"  # whose other half is said to be missing
    return "text" if "text" in found else None


def _refuse_others(by_name: Mapping[str, str], found: dict[Role, str]) -> None:
    """Raises BadRow for rows of other kinds, which would be trained on without what matters in them."""
    choices = [name for name in by_name if name.startswith(_CHOICES)]
    if {"a", "b", "c", "d"} <= by_name.keys():
        choices = ["a", "b", "c", "d"]
    if choices and "prompt" in found and "messages" not in found:
        raise BadRow(
            ", ".join(by_name[name] for name in choices[:4]),
            "this is a multiple-choice question: without its choices there is nothing to learn from it; "
            "use it as a task, or name columns that hold the whole question and answer in data.columns",
        )
    classes = _CLASSES & by_name.keys()
    if classes and found.keys() <= {"text", "label"}:
        raise BadRow(
            ", ".join(by_name.values()),
            "a text with its class is no form that is known; for a question and its answer use "
            f"data.columns={{prompt: {found.get('text', 'TEXT')}, answer: {by_name[min(classes)]}}}",
        )
