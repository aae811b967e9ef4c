"""The only renderer: conversations to tokens, with the loss mask taken from the rendering itself.

What is trained on in an answer is exactly what the model has to say at inference: everything after the generation
prompt, up to and including the end-of-turn token (`rendering.py` says how it is found).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lorafit.data.chat_templates import PLAIN_STOPS, PLAIN_TEMPLATES, ChatTemplate, choose_template
from lorafit.data.probing import Facts
from lorafit.data.rendering import Rendering, TextRenderer
from lorafit.errors import DataError
from lorafit.records import Conversation, Message, Sample

__all__ = ["PLAIN_STOPS", "PLAIN_TEMPLATES", "ChatTemplate", "Facts", "Renderer", "choose_template"]

# Ids [T] and where each token stands in the text [T, 2].
Tokens = tuple[np.ndarray, np.ndarray]


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
        self._texts = TextRenderer(tokenizer, template)
        bos = tokenizer.bos_token_id
        self._begins = [bos] if bos is not None and tokenizer("a").input_ids[:1] == [bos] else []
        self._ends = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        self._headers: dict[str, np.ndarray] = {}

    def facts(self) -> Facts:
        """What the template shows, where it came from, and how it ends a turn."""
        return self._texts.facts

    def text(self, messages: Sequence[Message], ask: bool = False, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """The rendering as text; `ask` appends the generation prompt. Raises DataError when the template refuses."""
        return self._texts.text(messages, tools, ask)

    def prompt_ids(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = (), without: str = ""
    ) -> list[int]:
        """The tokens of a question, ready to be answered; `without` is a text of the template to leave out."""
        asked = self._texts.prompt(messages, tools)
        if without:
            asked = Rendering(asked.text.replace(without, ""), hidden=asked.hidden)
        ids: list[int] = self._tokens(asked)[0].tolist()
        return ids

    def samples(self, conversation: Conversation) -> list[Sample]:
        """Tokens and loss masks of a conversation: one sample, or several where the template shows earlier answers
        otherwise than they are generated. Each trained answer is trained in one of them.

        Raises DataError, naming the row, when the template refuses it or rewrites an answer.
        """
        if conversation.is_text:
            return [self._raw(conversation)]
        return [_sample(conversation, one, *self._tokens(one)) for one in self._texts.renderings(conversation)]

    def sample(self, conversation: Conversation) -> Sample:
        """The sample that trains the last answer. Raises DataError as `samples` does."""
        return self.samples(conversation)[-1]

    def samples_of(self, conversations: Sequence[Conversation]) -> list[list[Sample] | DataError]:
        """The samples of each conversation, or why it has none; equal to `samples`, in less time."""
        found: list[list[Sample] | DataError] = []
        waiting: list[tuple[list[Sample], Conversation, Rendering]] = []
        for conversation in conversations:
            samples: list[Sample] = []
            try:
                renderings = [] if conversation.is_text else self._texts.renderings(conversation)
                if conversation.is_text or any(one.hidden for one in renderings):
                    samples = self.samples(conversation)
                else:
                    waiting += [(samples, conversation, one) for one in renderings]
                found.append(samples)
            except DataError as error:
                found.append(error)
        tokens = self._encode_all([one.text for _, _, one in waiting])
        joined = self._joined([one for _, _, one in waiting], tokens)
        for (samples, conversation, one), whole, cut in zip(waiting, tokens, joined, strict=True):
            samples.append(_sample(conversation, one, *(self._tokens(one) if cut else whole)))
        return found

    def decode(self, token_ids: np.ndarray) -> str:
        """The text that tokens stand for, special tokens included."""
        text: str = self.tokenizer.decode(
            token_ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def spoken(self, token_ids: Sequence[int]) -> Message:
        """What generated tokens say, up to the end of the turn: thinking and answer apart."""
        stops = set(self.stop_ids)
        said = list(itertools.takewhile(lambda token: token not in stops, token_ids))
        # Decoded behind a letter: SentencePiece takes a space off the front of a text.
        letter = self.tokenizer("a", add_special_tokens=False).input_ids
        return self._texts.spoken(self.decode(np.array([*letter, *said])).removeprefix("a"))

    def ends_with_stop(self, conversation: Conversation) -> bool:
        """Whether the last answer ends with a special token, so that the model can learn to stop."""
        if conversation.is_text:
            return bool(self._ends)
        last = self._texts.renderings(conversation)[-1]
        return bool(last.spans) and self._texts.ends_with_token(last.text[: last.spans[-1][1]])

    def begins_as_asked(self, conversation: Conversation) -> bool:
        """Whether the first answer follows, in training, the very tokens that ask for it at inference."""
        if conversation.is_text:
            return True  # nothing is asked
        first = next(number for number, m in enumerate(conversation.messages) if m.role == "assistant")
        sample = self.sample(replace(conversation, messages=conversation.messages[: first + 1]))
        asked = self.prompt_ids(conversation.messages[:first], conversation.tools)
        return sample.token_ids[: len(asked)].tolist() == asked and not sample.trained[: len(asked)].any()

    @functools.cached_property
    def stop_ids(self) -> list[int]:
        """The ids that end an answer: the end-of-text token and the template's end-of-turn tokens."""
        return sorted({*self._ends, *map(self.tokenizer.convert_tokens_to_ids, self._texts.template.stops)})

    def _raw(self, conversation: Conversation) -> Sample:
        """A text without a template: all of it is trained, and the end-of-text token after it."""
        text = conversation.messages[0].content
        spelled = self._texts.spelled
        ids, _ = spelled.encode(spelled.hide(text)) if spelled.found_in(text) else self._encode(text)
        token_ids = np.concatenate([self._begins, ids, self._ends]).astype(np.int64)
        trained = np.ones(len(token_ids), dtype=bool)
        trained[:1] = False  # nothing predicts the first token
        return Sample(token_ids, trained, conversation.source)

    def _tokens(self, one: Rendering) -> Tokens:
        """Token ids [T] of a rendering and where each stands in it [T, 2].

        A tokenizer may join the end of a generation prompt to the answer ("Assistant: " to "Mira", a line break to the
        next). At inference the prompt stands alone and ends in other tokens, so the text is cut at such a place and
        tokenised in pieces; but not where that would change the text (SentencePiece puts a space before each piece).
        """
        encode = self._texts.spelled.encode if one.hidden else self._encode
        whole, offsets = encode(one.text)
        cuts = [0]
        for start in one.starts:
            prompt, _ = encode(one.text[:start])
            if not np.array_equal(prompt, whole[: len(prompt)]):
                cuts.append(start)
        if len(cuts) == 1:
            return whole, offsets
        ends = [*cuts[1:], len(one.text)]
        pieces = [(start, *encode(one.text[start:end])) for start, end in zip(cuts, ends, strict=True)]
        joined = np.concatenate([ids for _, ids, _ in pieces])
        if self.decode(joined) != self.decode(whole):
            return whole, offsets
        return joined, np.concatenate([start + places for start, _, places in pieces])

    def _encode(self, text: str) -> Tokens:
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets = np.asarray(encoded.offset_mapping, dtype=np.int64).reshape(-1, 2)
        return np.asarray(encoded.input_ids, dtype=np.int64), offsets

    def _encode_all(self, texts: Sequence[str]) -> list[Tokens]:
        """As `_encode`, for many texts: what transformers' call does, without the rows of Python in between."""
        core = self.tokenizer.backend_tokenizer
        core.no_truncation()
        core.no_padding()
        core.encode_special_tokens = False
        return [
            (np.array(found.ids, dtype=np.int64), np.array(found.offsets, dtype=np.int64).reshape(-1, 2))
            for found in core.encode_batch(texts, add_special_tokens=False)
        ]

    def _joined(self, renderings: Sequence[Rendering], tokens: Sequence[Tokens]) -> list[bool]:
        """Whether the tokenizer joins a generation prompt to an answer, for each rendering.

        Nothing before a special token changes the tokens behind it. So where one stands in the last characters of a
        prompt, as in most templates, only these have to be tokenised, and they are mostly the same for every row.
        """
        joined = [False] * len(renderings)
        prompts: list[tuple[int, str]] = []
        for number, (one, (ids, offsets)) in enumerate(zip(renderings, tokens, strict=True)):
            for start in one.starts:
                header = self._texts.header(one.text, start)
                if header is None:
                    prompts.append((number, one.text[:start]))
                    continue
                if header not in self._headers:
                    self._headers[header] = self._encode(header)[0]
                alone = self._headers[header]
                first = int(np.searchsorted(offsets[:, 0], start - len(header)))
                joined[number] |= not np.array_equal(alone, ids[first : first + len(alone)])
        for (number, _), (alone, _) in zip(prompts, self._encode_all([text for _, text in prompts]), strict=True):
            joined[number] |= not np.array_equal(alone, tokens[number][0][: len(alone)])
        return joined


def _sample(conversation: Conversation, one: Rendering, token_ids: np.ndarray, offsets: np.ndarray) -> Sample:
    trained = np.zeros(len(token_ids), dtype=bool)
    for start, end in one.spans:
        # A token counts when any part of it is inside: the tokens of one character all stand where it stands.
        trained |= (offsets[:, 1] > start) & (offsets[:, 0] < end)
    trained[:1] = False  # nothing predicts the first token
    return Sample(token_ids, trained, conversation.source)
