"""Conversations to text: what stands before each answer, and what is trained on.

An answer that is trained on stands where it would be generated: after the very generation prompt for the turns before
it, as the template shows an answer that has just been given. Templates show earlier answers otherwise (Qwen3's leaves
their thinking out). So each answer is rendered as the last one, and a rendering serves those answers that stand in it
just so. Where one rendering does not serve them all, a dialogue has several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lorafit.data.chat_templates import ChatTemplate
from lorafit.data.probing import THINKING_MARKS, Facts, ProbedTemplate
from lorafit.data.spelled import SpelledTokens, texts_within
from lorafit.data.turns import CLOSED, adapted, after_prompt, ends_in, split_thinking, thinking_block
from lorafit.errors import DataError
from lorafit.records import Conversation, Message

Tools = Sequence[Mapping[str, Any]]

# How far before an answer a special token is looked for, behind which tokens do not depend on what stands before it.
HEADER = 80


@dataclass(slots=True)
class Rendering:
    """A text of which some is trained on.

    text: with placeholders where special tokens are spelled in the data (`hidden`); spans: (start, end) of what is
    trained on; starts: where answers begin, those that are context included.
    """

    text: str
    spans: list[tuple[int, int]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    hidden: bool = False


class TextRenderer:
    """Renders with one template, as text; special tokens that are spelled in the data stay hidden."""

    def __init__(self, tokenizer: Any, template: ChatTemplate) -> None:
        added = {token.content: token.special for token in tokenizer.added_tokens_decoder.values()}
        added |= dict.fromkeys(tokenizer.all_special_tokens, True)
        self.template = ProbedTemplate(template, tokenizer.special_tokens_map, added)
        special = {token for token in added if added[token]}
        # An end of turn counts as special even where the tokenizer does not say so.
        self.spelled = SpelledTokens(tokenizer, special.union(self.template.stops), THINKING_MARKS)

    @property
    def facts(self) -> Facts:
        return self.template.facts

    def text(self, messages: Sequence[Message], tools: Tools = (), ask: bool = False) -> str:
        """Raises DataError, with the template's own words, when it refuses the turns."""
        return self._render(adapted(messages, self.template.abilities), tools, ask)

    def _render(self, messages: Sequence[Message], tools: Tools, ask: bool = False) -> str:
        return self.template.render(messages, tools, ask, self.template.abilities)

    def prompt(self, messages: Sequence[Message], tools: Tools = ()) -> Rendering:
        """A question, ready to be answered; nothing is trained."""
        turns, shown_tools, hidden = self._hidden(messages, tools)
        text = self._render(turns, shown_tools, ask=True)
        rendering = Rendering(text, hidden=hidden)
        self._note_starts([rendering], turns, shown_tools)
        return rendering

    def renderings(self, conversation: Conversation) -> list[Rendering]:
        """Texts that between them train each trained answer once, in the order of their last answers.

        Raises DataError, naming the row, when the template refuses it or rewrites an answer.
        """
        try:
            return self._renderings(conversation)
        except DataError as error:
            raise DataError(f"{conversation.source}: {error}") from error

    def _renderings(self, conversation: Conversation) -> list[Rendering]:
        messages, tools, hidden = self._hidden(conversation.messages, conversation.tools)
        found: list[Rendering] = []
        for number in range(len(messages) - 1, -1, -1):
            if messages[number].role == "assistant" and messages[number].trained:
                prompt, text, end = self._answer(messages, number, tools)
                serving = next((one for one in found if one.text.startswith(text[:end])), None)
                if serving is None:
                    serving = Rendering(text, hidden=hidden)
                    found.append(serving)
                serving.spans.append((len(prompt), end))
                for one in found:
                    if one.text.startswith(prompt):
                        one.starts.append(len(prompt))
        if not found:
            found.append(Rendering(self._render(messages, tools), hidden=hidden))
        self._note_starts(found, messages, tools, only_context=True)
        for one in found:
            one.spans.sort()
            one.starts.sort()
        return found[::-1]

    def _note_starts(
        self, renderings: Sequence[Rendering], messages: Sequence[Message], tools: Tools, only_context: bool = False
    ) -> None:
        for number, message in enumerate(messages):
            if message.role == "assistant" and not (only_context and message.trained):
                # Empty where the template would not ask there (a dialogue that begins with a greeting).
                prompt = self.template.tried(messages[:number], self.template.abilities, tools, ask=True)
                for one in renderings:
                    if prompt and one.text.startswith(prompt) and len(prompt) < len(one.text):
                        one.starts.append(len(prompt))

    def _hidden(self, messages: Sequence[Message], tools: Tools) -> tuple[list[Message], Tools, bool]:
        """Adapted messages, and tools, with placeholders where special tokens are spelled; and whether any is."""
        turns, spelled = adapted(messages, self.template.abilities), self.spelled
        if not any(map(spelled.found_in, _texts_of(turns, tools))):
            return turns, tools, False
        shown = []
        for turn in turns:
            answer = turn.role == "assistant"
            shown.append(
                replace(
                    turn,
                    content=spelled.hide(turn.content, answer),
                    thinking=spelled.hide(turn.thinking, answer),
                    tool_calls=tuple(spelled.hide_within(turn.tool_calls)),
                    name=spelled.hide(turn.name),
                )
            )
        return shown, spelled.hide_within(list(tools)), True

    def header(self, text: str, start: int) -> str | None:
        """The end of a prompt, from its last special token on; None where none stands near its end."""
        place = max(text.rfind(token, max(0, start - HEADER), start) for token in self.template.anchors)
        return None if place < 0 else text[place:start]

    def ends_with_token(self, text: str) -> bool:
        return text.endswith(self.template.added)

    # One answer as it is generated

    def _answer(self, messages: Sequence[Message], number: int, tools: Tools) -> tuple[str, str, int]:
        """(prompt, prompt and answer, end of what is trained) of one turn."""
        turn = messages[number]
        prompt = self._render(messages[:number], tools, ask=True)
        whole = self._render(messages[: number + 1], tools)
        said, thinking = turn.content.strip(), turn.thinking.strip()
        answer = whole[len(prompt) :] if whole.startswith(prompt) else after_prompt(prompt, whole, said, thinking)
        if answer is not None and thinking not in answer and not ends_in(prompt, CLOSED):
            answer = thinking_block(thinking) + answer
        calls = [str(call.get("function", call).get("name", "")) for call in turn.tool_calls]
        if answer is None or any(part not in answer for part in (said, *calls)):
            raise DataError(
                f"an answer cannot be found in the rendering of the chat template ({self.facts.name}), because the "
                "template rewrites it.\nName another one with data.template."
            )
        return prompt, prompt + answer, len(prompt) + self._end_of_turn(answer)

    def _end_of_turn(self, answer: str) -> int:
        """Up to where an answer is trained: the first end-of-turn token, else a special token at its end, else all."""
        if (stop := self.template.stop) is not None and (place := answer.find(stop)) >= 0:
            return place + len(stop)
        bare = answer.rstrip()
        return len(bare) if bare.endswith(self.template.special) else len(answer)

    def spoken(self, text: str) -> Message:
        """A generated text, its end of turn taken off, as the message that it is."""
        if self.facts.thinking:
            thinking, content = split_thinking(text)
            return Message("assistant", content, thinking=thinking)
        return Message("assistant", text)


def _texts_of(messages: Sequence[Message], tools: Tools) -> Iterator[str]:
    for message in messages:
        yield message.content
        if message.thinking or message.name or message.tool_calls:
            yield from texts_within([message.thinking, message.name, message.tool_calls])
    if tools:
        yield from texts_within(tools)
