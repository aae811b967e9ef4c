"""The only renderer: conversations to text to tokens, with the loss mask taken from the rendering itself.

What is trained on in an answer is exactly what the model has to say at inference: everything after the generation
prompt, up to and including the end-of-turn token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lorafit.errors import DataError
from lorafit.records import Conversation, Message, Sample

# For base models, which bring no template. Every answer ends with the end-of-text token, the one such a model knows.
# There is no space after "Assistant:": it belongs to the answer's first word, where tokenizers put it.
PLAIN_TEMPLATES = {
    "human-assistant": (
        "{% for message in messages %}"
        "{% if message.role == 'system' %}{{ message.content }}\n\n"
        "{% elif message.role == 'user' %}Human: {{ message.content }}\n\nAssistant:"
        "{% else %} {{ message.content }}{{ eos_token }}{% if not loop.last %}\n\n{% endif %}{% endif %}"
        "{% endfor %}"
    ),
    "alpaca": (
        "{% for message in messages %}"
        "{% if message.role == 'system' %}{{ message.content }}\n\n"
        "{% elif message.role == 'user' %}### Instruction:\n{{ message.content }}\n\n### Response:\n"
        "{% else %}{{ message.content }}{{ eos_token }}{% if not loop.last %}\n\n{% endif %}{% endif %}"
        "{% endfor %}"
    ),
    "chatml": (
        "{% for message in messages %}"
        "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
        "{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
}

# How a user's turn begins in a plain template: a base that goes on to write the next question is cut there.
PLAIN_STOPS = {"human-assistant": "\nHuman:", "alpaca": "\n### Instruction:", "chatml": "<|im_start|>"}

# Private-use characters that stand round an answer in a trial rendering, to find where the template puts it.
_OPEN, _CLOSE = "\ue000", "\ue001"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A Jinja chat template and where it came from. `stops` are texts that end an answer besides the end-of-turn."""

    name: str
    jinja: str
    stops: tuple[str, ...] = ()


def choose_template(tokenizer: Any, setting: str = "auto") -> ChatTemplate:
    """The template for a tokenizer, by the recipe's `data.template`.

    Raises DataError for a name that is neither a plain template nor a file, or that the tokenizer cannot express.
    """
    if setting == "auto":
        if tokenizer.chat_template:
            return ChatTemplate("the tokenizer's own", _single(tokenizer.chat_template))
        setting = "human-assistant"
    if setting in PLAIN_TEMPLATES:
        return _plain(tokenizer, setting)
    path = Path(setting)
    if path.is_file():
        return ChatTemplate(str(path), path.read_text(encoding="utf-8"))
    raise DataError(
        f"data.template: {setting!r} is neither a file nor one of auto, {', '.join(PLAIN_TEMPLATES)}.\n"
        "Use one of these, or the path of a Jinja template."
    )


def _single(chat_template: str | dict[str, str]) -> str:
    # A few tokenizers ship several named templates; transformers renders "default" when none is named.
    return chat_template if isinstance(chat_template, str) else chat_template["default"]


def _plain(tokenizer: Any, name: str) -> ChatTemplate:
    jinja = PLAIN_TEMPLATES[name]
    if name == "chatml" and "<|im_end|>" not in tokenizer.get_vocab():
        raise DataError(
            "data.template: chatml needs the tokens <|im_start|> and <|im_end|>, which this tokenizer does not have.\n"
            "Use human-assistant or alpaca."
        )
    if tokenizer.eos_token is None:
        raise DataError(f"data.template: {name} ends answers with the end-of-text token, which this tokenizer lacks.")
    if tokenizer.bos_token_id is not None and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]:
        jinja = "{{ bos_token }}" + jinja
    return ChatTemplate(name, jinja, (PLAIN_STOPS[name],))


class Renderer:
    """Renders conversations with one template and one tokenizer, for training and for asking alike."""

    def __init__(self, tokenizer: Any, template: ChatTemplate) -> None:
        if not tokenizer.is_fast:
            raise DataError(
                f"{type(tokenizer).__name__} is a slow tokenizer, which cannot say where a token stands in the text.\n"
                "Use a model that ships tokenizer.json."
            )
        self.tokenizer = tokenizer
        self.template = template
        special = {str(token) for token in tokenizer.added_tokens_encoder} | set(tokenizer.all_special_tokens)
        self._specials = sorted(special, key=len, reverse=True)

    def text(self, messages: Sequence[Message], ask: bool = False) -> str:
        """The rendering as text; `ask` appends the generation prompt. Raises DataError when the template refuses."""
        turns = [{"role": m.role, "content": m.content} for m in messages]
        try:
            rendered: str = self.tokenizer.apply_chat_template(
                turns, chat_template=self.template.jinja, tokenize=False, add_generation_prompt=ask
            )
        except Exception as error:  # Jinja errors are of many types, raised by the template's own code
            roles = ", ".join(m.role for m in messages)
            raise DataError(f"The chat template ({self.template.name}) refuses turns {roles}: {error}") from error
        return rendered

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a question, ready to be answered."""
        ids: list[int] = self.tokenizer(self.text(messages, ask=True), add_special_tokens=False).input_ids
        return ids

    def sample(self, conversation: Conversation, example: int = 0) -> Sample:
        """Tokens and loss mask of a conversation.

        Raises DataError when an answer cannot be found in the rendering.
        """
        text = self.text(conversation.messages)
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        offsets = np.asarray(encoded.offset_mapping, dtype=np.int64).reshape(-1, 2)
        trained = np.zeros(len(offsets), dtype=bool)
        for start, end in self.trained_spans(conversation, text):
            # A token counts when any part of it is inside; tokens of no width (byte fallbacks) by where they stand.
            trained |= (offsets[:, 1] > start) & (offsets[:, 0] < end)
        trained[:1] = False  # nothing predicts the first token
        return Sample(np.asarray(encoded.input_ids, dtype=np.int64), trained, example, conversation.source)

    def trained_spans(self, conversation: Conversation, text: str) -> list[tuple[int, int]]:
        """Where in `text` each answer stands, from the end of its generation prompt to the end of its turn."""
        messages = conversation.messages
        places = self._answer_places(messages, text)
        spans = []
        for number, message in enumerate(messages):
            if message.role != "assistant":
                continue
            start, end = next(places) if places else self._place_by_prefix(messages, number, text, conversation)
            asked = self.text(messages[:number], ask=True)
            if text.startswith(asked) and len(asked) <= start:
                start = len(asked)
            spans.append((start, self._end_of_turn(text, end)))
        return spans

    def _answer_places(self, messages: Sequence[Message], text: str) -> Any:
        """An iterator over (start, end) of each answer, or None when the template alters answers.

        The answers are marked in a trial rendering. A template that trims spaces would trim them outside the marks
        only, so marks inside the outer spaces are tried second; either must give `text` again when taken out.
        """
        for mark in (_mark_outside, _mark_inside):
            marked = self.text([mark(m) if m.role == "assistant" else m for m in messages])
            unmarked = marked.replace(_OPEN, "").replace(_CLOSE, "")
            whole = marked.count(_OPEN) == marked.count(_CLOSE) == sum(m.role == "assistant" for m in messages)
            if unmarked == text and whole:
                return _marks(marked)
        return None

    def _place_by_prefix(
        self, messages: Sequence[Message], number: int, text: str, conversation: Conversation
    ) -> tuple[int, int]:
        asked, answered = self.text(messages[:number], ask=True), self.text(messages[: number + 1])
        if not (text.startswith(asked) and text.startswith(answered.rstrip())):
            raise DataError(
                f"{conversation.source}: answer {number} cannot be found in the rendering of the chat template "
                f"({self.template.name}), because the template rewrites it.\nName another one with data.template."
            )
        return len(asked), len(answered.rstrip())

    def _end_of_turn(self, text: str, end: int) -> int:
        """The end of the special token that follows the answer (spaces between), or `end` when none does."""
        after = end + len(text[end:]) - len(text[end:].lstrip())
        for special in self._specials:
            if text.startswith(special, after):
                return after + len(special)
        return end

    def ends_with_stop(self, conversation: Conversation) -> bool:
        """Whether the last answer ends with a special token, so that the model can learn to stop."""
        text = self.text(conversation.messages)
        start, end = self.trained_spans(conversation, text)[-1]
        return any(text[start:end].endswith(special) for special in self._specials)

    def stop_ids(self) -> list[int]:
        """The ids that end an answer: the end-of-text token and the template's end-of-turn token."""
        probe = (Message("user", "a"), Message("assistant", "b"))
        text = self.text(probe)
        ids = {self.tokenizer.eos_token_id} - {None}
        after = text[text.rindex("b") + 1 :].lstrip()
        for special in self._specials:
            if after.startswith(special):
                ids.add(self.tokenizer.convert_tokens_to_ids(special))
                break
        return sorted(ids)


def _mark_outside(message: Message) -> Message:
    return Message(message.role, f"{_OPEN}{message.content}{_CLOSE}")


def _mark_inside(message: Message) -> Message:
    content = message.content
    core = content.strip()
    lead = content[: len(content) - len(content.lstrip())]
    tail = content[len(content.rstrip()) :]
    return Message(message.role, f"{lead}{_OPEN}{core}{_CLOSE}{tail}")


def _marks(marked: str) -> Any:
    """(start, end) of each marked stretch, in the text without the marks."""
    place = removed = 0
    while (opened := marked.find(_OPEN, place)) >= 0:
        closed = marked.index(_CLOSE, opened)
        yield opened - removed, closed - removed - 1
        place, removed = closed + 1, removed + 2
