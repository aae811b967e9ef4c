"""The only renderer: conversations to text to tokens, with the loss mask taken from the rendering itself.

What is trained on in an answer is exactly what the model has to say at inference: everything after the generation
prompt, up to and including the end-of-turn token.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lorafit.errors import DataError
from lorafit.records import Conversation, Message, Sample, Source

# For base models, which bring no template. Every answer ends with the end-of-text token, the one such a model knows.
# There is no space after "Assistant:": it belongs to the answer's first word, where tokenizers put it. transformers
# drops a line break that follows a block, so those between turns are written as an expression.
PLAIN_TEMPLATES = {
    "human-assistant": (
        "{% for message in messages %}"
        "{% if message.role == 'system' %}{{ message.content }}\n\n"
        "{% elif message.role == 'user' %}Human: {{ message.content }}\n\nAssistant:"
        "{% else %} {{ message.content }}{{ eos_token }}{% if not loop.last %}{{ '\n\n' }}{% endif %}{% endif %}"
        "{% endfor %}"
    ),
    "alpaca": (
        "{% for message in messages %}"
        "{% if message.role == 'system' %}{{ message.content }}\n\n"
        "{% elif message.role == 'user' %}### Instruction:\n{{ message.content }}\n\n### Response:\n"
        "{% else %}{{ message.content }}{{ eos_token }}{% if not loop.last %}{{ '\n\n' }}{% endif %}{% endif %}"
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
# ChatML needs none, as it ends a turn with a token of its own.
PLAIN_STOPS = {"human-assistant": "\nHuman:", "alpaca": "\n### Instruction:"}


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
        try:
            return ChatTemplate(str(path), path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"data.template: {path} cannot be read: {error}") from error
    raise DataError(
        f"data.template: {setting!r} is neither a file nor one of auto, {', '.join(PLAIN_TEMPLATES)}.\n"
        "Use one of these, or the path of a Jinja template."
    )


def _single(chat_template: str | dict[str, str]) -> str:
    # A few tokenizers ship several named templates; transformers renders "default" when none is named.
    if isinstance(chat_template, str):
        return chat_template
    if "default" not in chat_template:
        raise DataError(
            f"data.template: this tokenizer has several chat templates ({', '.join(chat_template)}), none of them the "
            "default one.\nWrite the one you want to a file and name it with data.template."
        )
    return chat_template["default"]


def _plain(tokenizer: Any, name: str) -> ChatTemplate:
    jinja = PLAIN_TEMPLATES[name]
    if name == "chatml":
        if not {"<|im_start|>", "<|im_end|>"} <= tokenizer.get_vocab().keys():
            raise DataError(
                "data.template: chatml needs the tokens <|im_start|> and <|im_end|>, which this tokenizer does not "
                "have.\nUse human-assistant or alpaca."
            )
    elif tokenizer.eos_token is None:
        raise DataError(
            f"data.template: {name} ends answers with the end-of-text token, which this tokenizer lacks.\n"
            "Give tokenizer_config.json an eos_token, or name a Jinja file with data.template."
        )
    if tokenizer.bos_token_id is not None and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]:
        jinja = "{{ bos_token }}" + jinja
    return ChatTemplate(name, jinja, (PLAIN_STOPS[name],) if name in PLAIN_STOPS else ())


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

    def sample(self, conversation: Conversation) -> Sample:
        """Tokens and loss mask of a conversation.

        Raises DataError when an answer cannot be found in the rendering.
        """
        text = self.text(conversation.messages)
        spans = self.trained_spans(conversation, text)
        token_ids, offsets = self._tokens(text, [start for start, _ in spans])
        trained = np.zeros(len(token_ids), dtype=bool)
        for start, end in spans:
            # A token counts when any part of it is inside: the tokens of one character all stand where it stands.
            trained |= (offsets[:, 1] > start) & (offsets[:, 0] < end)
        trained[:1] = False  # nothing predicts the first token
        return Sample(token_ids, trained, conversation.source)

    def decode(self, token_ids: np.ndarray) -> str:
        """The text that tokens stand for, special tokens included."""
        text: str = self.tokenizer.decode(
            token_ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _tokens(self, text: str, starts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids [T] of a rendering and where each stands in it [T, 2]; `starts` are where answers begin.

        A tokenizer may join the end of a generation prompt to the answer ("Assistant: " to "Mira", a line break to the
        next). At inference the prompt stands alone and ends in other tokens, so the text is cut at such a place and
        tokenised in pieces; but not where that would change the text (SentencePiece puts a space before each piece).
        """
        whole, offsets = self._encode(text)
        cuts = [0]
        for start in starts:
            prompt, _ = self._encode(text[:start])
            if not np.array_equal(prompt, whole[: len(prompt)]):
                cuts.append(start)
        if len(cuts) == 1:
            return whole, offsets
        pieces = [(start, *self._encode(text[start:end])) for start, end in itertools.pairwise([*cuts, len(text)])]
        joined = np.concatenate([ids for _, ids, _ in pieces])
        if self.decode(joined) != self.decode(whole):
            return whole, offsets
        return joined, np.concatenate([start + places for start, _, places in pieces])

    def _encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        offsets = np.asarray(encoded.offset_mapping, dtype=np.int64).reshape(-1, 2)
        return np.asarray(encoded.input_ids, dtype=np.int64), offsets

    def trained_spans(self, conversation: Conversation, text: str) -> list[tuple[int, int]]:
        """Where in `text` each answer stands, from the end of its generation prompt to the end of its turn."""
        messages = conversation.messages
        turns = [number for number, message in enumerate(messages) if message.role == "assistant"]
        spans = []
        for number, (start, end) in zip(turns, self._answer_places(conversation, text), strict=True):
            asked = self.text(messages[:number], ask=True)
            if text.startswith(asked) and len(asked) < end:
                start = len(asked)
            if start is None:
                raise self._rewritten(conversation)
            spans.append((start, self._end_of_turn(text, end)))
        return spans

    def _answer_places(self, conversation: Conversation, text: str) -> list[tuple[int | None, int]]:
        """(start, end) of each answer in `text`. Raises DataError when the template rewrites answers.

        The answers are marked in a trial rendering, which has to give `text` again when the marks are taken out. The
        starts are None where only the ends could be marked.
        """
        answers = sum(m.role == "assistant" for m in conversation.messages)
        # Private-use characters that the text does not hold itself, as text taken from a PDF may.
        opening, closing = itertools.islice((mark for mark in map(chr, range(0xE000, 0xF900)) if mark not in text), 2)
        for mark in (_within, _at_the_end):
            marked = self.text(
                [
                    Message(m.role, mark(m.content, opening, closing)) if m.role == "assistant" else m
                    for m in conversation.messages
                ]
            )
            marks = "".join(character for character in marked if character in (opening, closing))
            if marks == (opening + closing) * answers and marked.replace(opening, "").replace(closing, "") == text:
                places = _marked_places(marked, opening, closing)
                return [(None if mark is _at_the_end else start, end) for start, end in places]
        raise self._rewritten(conversation)

    def _rewritten(self, conversation: Conversation) -> DataError:
        return DataError(
            f"{conversation.source}: an answer cannot be found in the rendering of the chat template "
            f"({self.template.name}), because the template rewrites it.\nName another one with data.template."
        )

    def _end_of_turn(self, text: str, end: int) -> int:
        """The end of the special token that follows the answer (spaces between), or `end` when none does."""
        after = end + len(text[end:]) - len(text[end:].lstrip())
        for special in self._specials:
            if text.startswith(special, after):
                return after + len(special)
        return end

    def _stop(self, conversation: Conversation) -> str | None:
        """The special token that ends the last answer, None when none does."""
        text = self.text(conversation.messages)
        start, end = self.trained_spans(conversation, text)[-1]
        return next((special for special in self._specials if text[start:end].endswith(special)), None)

    def ends_with_stop(self, conversation: Conversation) -> bool:
        """Whether the last answer ends with a special token, so that the model can learn to stop."""
        return self._stop(conversation) is not None

    def begins_as_asked(self, conversation: Conversation) -> bool:
        """Whether the first answer follows, in training, the very tokens that ask for it at inference."""
        first = next(number for number, m in enumerate(conversation.messages) if m.role == "assistant")
        sample = self.sample(Conversation(conversation.messages[: first + 1], conversation.source))
        asked = self.prompt_ids(conversation.messages[:first])
        return sample.token_ids[: len(asked)].tolist() == asked and not sample.trained[: len(asked)].any()

    @functools.cached_property
    def stop_ids(self) -> list[int]:
        """The ids that end an answer: the end-of-text token and the template's end-of-turn token."""
        probe = Conversation((Message("user", "a"), Message("assistant", "b")), Source("a probe", 1))
        stop = self._stop(probe)
        ids = {self.tokenizer.eos_token_id, None if stop is None else self.tokenizer.convert_tokens_to_ids(stop)}
        return sorted(ids - {None})


def _within(content: str, opening: str, closing: str) -> str:
    """Marks round the answer, inside its outer spaces: with marks outside them a template would not trim."""
    before, _, after = content.partition(content.strip())
    return before + opening + content.strip() + closing + after


def _at_the_end(content: str, opening: str, closing: str) -> str:
    """Marks round the last character: a template that takes the reasoning off the front takes a mark there too."""
    end = len(content.rstrip())
    return content[: end - 1] + opening + content[end - 1 : end] + closing + content[end:]


def _marked_places(marked: str, opening: str, closing: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each marked stretch, in the text without the marks."""
    before, *stretches = marked.split(opening)
    place = len(before)
    for stretch in stretches:
        inside, after = stretch.split(closing)
        yield place, place + len(inside)
        place += len(inside) + len(after)
