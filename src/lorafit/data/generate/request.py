"""What is asked: chunks of documents, or examples drawn from seed instructions, put into prompts."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorafit.data.documents import Chunk
from lorafit.data.generate.ask import Messages
from lorafit.data.generate.prompt import Prompt
from lorafit.data.read import read_records
from lorafit.errors import DataError
from lorafit.records import Conversation, Message, Record, Source

Choose = Callable[[str], Sequence[Prompt]]


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model. key names it by its content, the model and its settings: a request with an answer on
    disk is not sent again. place: what becomes of it in the row's `source`; passage: "" where there is none."""

    key: str
    messages: Messages
    prompt: Prompt
    source: Source
    place: Mapping[str, Any]
    passage: str = ""


def from_chunks(
    chunks: Sequence[Chunk], prompts: Choose, identity: str, rows: int | None = None, seed: int = 0
) -> Iterator[Request]:
    """A request for each chunk and prompt, in an order drawn from `seed`: a budget is spread over all documents.

    prompts: the prompts for a text (its language may decide). identity: the model and its settings, part of each key.
    rows: rows to ask for, instead of what the prompt says.
    """
    order = list(range(len(chunks)))
    random.Random(seed).shuffle(order)
    for place in order:
        chunk = chunks[place]
        for prompt in prompts(chunk.text):
            values = {
                "passage": chunk.text,
                "file": Path(chunk.source.file).name,
                "place": chunk.place,
                "headings": list(chunk.headings),
                "rows": rows or prompt.head.rows,
            }
            messages = prompt.messages(values)
            where = {"file": chunk.source.file, "chunk": chunk.source.row, "place": chunk.place}
            yield Request(_key(identity, messages), messages, prompt, chunk.source, where, chunk.text)


def from_seeds(
    seeds: Sequence[Conversation], prompts: Choose, identity: str, rows: int | None = None, seed: int = 0
) -> Iterator[Request]:
    """Requests without end, each with examples drawn from the seeds by its number.

    Wang et al. 2023, "Self-Instruct": a model shown some instructions writes new ones. Here the examples are drawn from
    the seeds alone and not from rows made on the way, so that requests do not depend on which answer came first.
    """
    chosen = prompts("\n".join(seed.messages[0].content for seed in seeds))
    number = 0
    while True:
        for prompt in chosen:
            draw = random.Random(f"{seed} {number}").sample(seeds, min(prompt.head.examples, len(seeds)))
            examples = [
                {"instruction": one.messages[0].content, "output": one.messages[1].content if one.messages[1:] else ""}
                for one in draw
            ]
            messages = prompt.messages({"examples": examples, "rows": rows or prompt.head.rows})
            where = {"file": draw[0].source.file, "rows": [one.source.row for one in draw]}
            yield Request(_key(f"{identity} {number}", messages), messages, prompt, draw[0].source, where)
        number += 1


def read_seeds(path: str | Path) -> list[Conversation]:
    """Seed instructions of a JSON or JSONL file: `instruction` (with `input` and `output`, where there are any),
    `question` or `prompt`, or `messages`. Raises DataError naming the first row that has none of them."""
    return [_seed(record) for record in read_records(path)]


def _seed(record: Record) -> Conversation:
    fields = record.fields
    turns = fields.get("messages")
    if isinstance(turns, list):
        said = {turn.get("role"): turn.get("content") for turn in reversed(turns) if isinstance(turn, dict)}
        question, addition, answer = said.get("user"), "", said.get("assistant")
    else:
        question = fields.get("instruction") or fields.get("question") or fields.get("prompt")
        addition = fields.get("input") or ""
        answer = fields.get("output") or fields.get("answer") or fields.get("response")
    if not isinstance(question, str) or not question.strip():
        raise DataError(
            f"{record.source}: a seed needs an instruction (or question, prompt, messages), found the columns "
            f"{', '.join(fields) or '(none)'}."
        )
    asked = Message("user", f"{question}\n{addition}" if addition else question)
    if isinstance(answer, str) and answer.strip():
        return Conversation((asked, Message("assistant", answer)), record.source)
    return Conversation((asked,), record.source)


def _key(identity: str, messages: Messages) -> str:
    content = json.dumps([identity, [[message.role, message.content] for message in messages]])
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
