"""What the data is for: as the user says, or guessed from its rows."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from lorafit.advise.sources import CONVENTION, FORGETS, LORA, Source
from lorafit.data.documents.code import LANGUAGES
from lorafit.errors import RecipeError
from lorafit.records import Conversation

MOSTLY = 0.9  # of the rows have it
MANY = 0.3
# Answers that are classes: so many different ones at most, each this often on average, and short.
MOST_CLASSES, LEAST_OF_A_CLASS, LONGEST_CLASS = 50, 5, 40
# Rows with one system prompt of some length are a role; of very many rows it is only their heading.
ROLE_ROWS, LEAST_ROLE = 2000, 20

_FENCE = re.compile(r"^```", re.MULTILINE)
_FENCED = re.compile(r"\A```\w*\n(.*)\n```\Z", re.DOTALL)
_CODE_LINE = re.compile(
    r"^\s*(?:def \w+\(|class \w+|import \w|from \w\S* import |#include|function \w*\(|(?:const|let|var) \w+ = |"
    r"(?:public|private|static) \w|SELECT .* FROM )|[{;]\s*$",
    re.MULTILINE,
)
_MARKUP = {"latex", "toml", "yaml", "css"}
CODE_ENDINGS = {ending for ending, language in LANGUAGES.items() if language not in _MARKUP}


@dataclass(frozen=True, slots=True)
class Task:
    """rank: of the adapter, before the data is weighed; why, source: of that rank. metrics: that tell how good answers
    are (docs/metrics.md)."""

    name: str
    words: str
    rank: int
    why: str
    source: Source
    metrics: tuple[str, ...] = ()


_ENOUGH = "from rank 16 on more rank gained nothing there"
_LOW = "low ranks learnt much less than full fine-tuning there"
TASKS = {
    task.name: task
    for task in (
        Task("assistant", "answers to instructions", 16, _ENOUGH, LORA, ("rouge_l", "token_f1")),
        Task("domain", "knowledge from texts", 64, _LOW, FORGETS),
        Task("code", "code", 64, _LOW, FORGETS, ("exact_match", "token_f1")),
        Task("style", "a role or a style", 16, _ENOUGH, LORA, ("rouge_l", "length_ratio")),
        Task("json", "answers in JSON", 16, _ENOUGH, LORA, ("json_valid", "exact_match", "token_f1")),
        Task("classification", "classes as answers", 8, "classes are few bits; half of the usual 16", CONVENTION,
             ("accuracy", "macro_f1")),
    )
}  # fmt: skip


def task_named(name: str) -> Task:
    """Raises RecipeError for a name that is none, with the nearest."""
    if name in TASKS:
        return TASKS[name]
    near = difflib.get_close_matches(name.lower(), TASKS, n=1, cutoff=0.5)
    meant = f" Did you mean {near[0]}?" if near else ""
    raise RecipeError(f"--task {name!r} is not known.{meant} There are: {', '.join(TASKS)}.")


def guess_task(conversations: Sequence[Conversation]) -> tuple[Task, str]:
    """The task that the rows look like, and why, in words. conversations: of the data, at least one."""
    rows = len(conversations)
    texts = sum(conversation.is_text for conversation in conversations)
    of_code = sum(PurePath(conversation.source.file).suffix.lower() in CODE_ENDINGS for conversation in conversations)
    if of_code > rows / 2:
        return TASKS["code"], f"{of_code:,} of {rows:,} rows come from source files"
    if texts > rows / 2:
        return TASKS["domain"], f"{texts:,} of {rows:,} rows are texts without a question"
    answers = [conversation.answer.strip() for conversation in conversations if not conversation.is_text]
    return _by_answers(answers) or _by_role(conversations) or _plain(answers)


def _by_answers(answers: Sequence[str]) -> tuple[Task, str] | None:
    rows = len(answers)
    in_json = sum(map(_is_json, answers))
    if in_json >= MOSTLY * rows:
        return TASKS["json"], f"{in_json:,} of {rows:,} answers are JSON"
    classes = Counter(answers)
    longest = max(map(len, classes))
    if len(classes) <= MOST_CLASSES and rows >= LEAST_OF_A_CLASS * len(classes) and longest <= LONGEST_CLASS:
        return (
            TASKS["classification"],
            f"{rows:,} answers are only {len(classes)} different ones, of {longest} characters at most",
        )
    code = sum(map(_is_code, answers))
    if code >= MANY * rows:
        return TASKS["code"], f"{code:,} of {rows:,} answers hold code"
    return None


def _by_role(conversations: Sequence[Conversation]) -> tuple[Task, str] | None:
    rows = len(conversations)
    prompts = Counter(c.messages[0].content.strip() for c in conversations if c.messages[0].role == "system")
    if not prompts or rows >= ROLE_ROWS:
        return None
    role, count = prompts.most_common(1)[0]
    if count < MOSTLY * rows or len(role) < LEAST_ROLE:
        return None
    return TASKS["style"], f"{count:,} of {rows:,} rows have the same system prompt, of {len(role)} characters"


def _plain(answers: Sequence[str]) -> tuple[Task, str]:
    return (
        TASKS["assistant"],
        f"{len(answers):,} answers that are neither JSON nor code nor a few classes, and no role that all rows share",
    )


def _is_json(answer: str) -> bool:
    """An object or a list, in a fence or not: a number alone would be JSON too, and says nothing."""
    fenced = _FENCED.match(answer)
    try:
        return isinstance(json.loads(fenced[1] if fenced else answer), dict | list)
    except (ValueError, RecursionError):
        return False


def _is_code(answer: str) -> bool:
    return bool(_FENCE.search(answer)) or len(_CODE_LINE.findall(answer)) >= 2
