"""What a chat template does, asked by trying: whether it shows a system message, tools and thinking, and how it ends.

What counts is whether a text that is handed over stands in the rendering. Only marks of thinking are looked for in its
Jinja as well, as a template may know them and yet leave thinking out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lorafit.data.chat_templates import OWN, ChatTemplate
from lorafit.data.turns import CLOSED, OPENED, Abilities, as_dicts, ends_in
from lorafit.errors import DataError
from lorafit.records import Conversation, Message

# Marks of thinking that a model writes itself, even where a tokenizer calls them special.
THINKING_MARKS = (OPENED, CLOSED, "[THINK]", "[/THINK]")
PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": "find_harbour",
        "description": "Finds a harbour.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string", "description": "A town."}}},
    },
}
PROBE_CALL = {"type": "function", "function": {"name": "find_harbour", "arguments": {"town": "Mira"}}}
UNTRIED = Abilities()
PROBE_ANSWER, PROBE_SYSTEM, PROBE_THINKING = "It is north.", "Answer as a pilot.", "Ships sail there."


@dataclass(frozen=True, slots=True)
class Facts:
    """What is to be known of a template: for the data report.

    own: whether it is the model's own. system, tools, tool_calls, thinking: whether it shows these by itself.
    opens_thinking, closes_thinking: whether its generation prompt opens a thinking block, or brings an empty one.
    """

    name: str
    origin: str
    own: bool
    system: bool
    tools: bool
    tool_calls: bool
    thinking: bool
    opens_thinking: bool
    closes_thinking: bool
    end_of_turn: tuple[str, ...]

    def unsupported(self, conversation: Conversation) -> tuple[str, ...]:
        """What this conversation has and the template does not show by itself: keys of UNSUPPORTED."""
        messages = conversation.messages
        found = {
            "system": not self.system and messages[0].role == "system",
            "tools": not self.tools and bool(conversation.tools),
            "tool calls": not self.tool_calls and any(m.tool_calls for m in messages),
            "thinking": (not self.thinking or self.closes_thinking) and any(m.thinking for m in messages),
        }
        return tuple(name for name, lacking in found.items() if lacking)

    def warnings(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        """A warning for each thing that the template does not show, with the count of rows that have it."""
        return tuple(
            f"{count:,} rows have {name}, which the chat template ({self.name}) does not show: {UNSUPPORTED[name]}."
            for name, count in counts.items()
            if count
        )


UNSUPPORTED = {
    "system": "the system message is put before the first user message",
    "tools": "the model is not told of its tools, in training or when it is asked",
    "tool calls": "calls are written into the answer as <tool_call>...</tool_call>",
    "thinking": "it is written before the answer as <think>...</think>, unless the prompt brings an empty block",
}


class ProbedTemplate:
    """A template with the special tokens of its tokenizer."""

    def __init__(self, template: ChatTemplate, constants: Mapping[str, str], added: Mapping[str, bool]) -> None:
        """constants: what the template may name (`eos_token`); added: the added tokens, and whether each is special."""
        self.template = template
        self._constants = dict(constants)
        self.added = tuple(sorted(added, key=len, reverse=True))
        self.special = tuple(token for token in self.added if added[token] and token not in THINKING_MARKS)

    def render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], ask: bool, abilities: Abilities
    ) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            rendered, _ = render_jinja_template(
                conversations=[as_dicts(messages, abilities)],
                tools=[*tools] or None,
                chat_template=self.template.jinja,
                add_generation_prompt=ask,
                **self._constants,
            )
        except Exception as error:  # Jinja errors are of many types, raised by the template's own code
            roles = ", ".join(m.role for m in messages)
            raise DataError(f"The chat template ({self.template.name}) refuses turns {roles}: {error}") from error
        text: str = rendered[0]
        return text

    @functools.cached_property
    def abilities(self) -> Abilities:
        user, answer = Message("user", "Where?"), Message("assistant", PROBE_ANSWER)
        called = Message("assistant", "", tool_calls=(PROBE_CALL,))
        thought = replace(answer, thinking=PROBE_THINKING)
        in_field = PROBE_THINKING in self.tried([user, thought], Abilities(thinking="field"))
        named = any(mark in self.template.jinja or mark in self.tried([user], ask=True) for mark in (OPENED, CLOSED))
        return Abilities(
            system=PROBE_SYSTEM in self.tried([Message("system", PROBE_SYSTEM), user], ask=True),
            tools="find_harbour" in self.tried([user], tools=[PROBE_TOOL], ask=True),
            calls="find_harbour" in self.tried([user, called]),
            thinking="field" if in_field else "content" if named else "none",
        )

    def tried(
        self,
        messages: Sequence[Message],
        abilities: Abilities = UNTRIED,
        tools: Sequence[Mapping[str, Any]] = (),
        ask: bool = False,
    ) -> str:
        """The rendering of a trial, empty when the template refuses it."""
        try:
            return self.render(messages, tools, ask, abilities)
        except DataError:
            return ""

    @functools.cached_property
    def stop(self) -> str | None:
        """The token that ends an answer: the one that follows it (spaces between); None when none does."""
        text = self.tried([Message("user", "Where?"), Message("assistant", PROBE_ANSWER)])
        after = text[text.rfind(PROBE_ANSWER) + len(PROBE_ANSWER) :].lstrip() if PROBE_ANSWER in text else ""
        return next((token for token in self.added if after.startswith(token)), None)

    @functools.cached_property
    def stops(self) -> tuple[str, ...]:
        """The tokens that end an answer or a call of a tool, which some templates end otherwise."""
        called = Message("assistant", "", tool_calls=(PROBE_CALL,))
        text = self.tried([Message("user", "Where?"), called], tools=[PROBE_TOOL]).rstrip()
        ends = () if self.stop is None or text.endswith(self.stop) else (t for t in self.special if text.endswith(t))
        return (*([] if self.stop is None else [self.stop]), *ends)

    @functools.cached_property
    def anchors(self) -> tuple[str, ...]:
        """The special tokens that stand in a generation prompt (none: a text that is never found)."""
        user, answer = Message("user", "Where?"), Message("assistant", PROBE_ANSWER)
        asked = self.tried([user, answer, user], ask=True)
        return tuple(token for token in self.special if token in asked) or ("\0",)

    @functools.cached_property
    def facts(self) -> Facts:
        can, template = self.abilities, self.template
        asked = self.tried([Message("user", "Where?")], ask=True)
        return Facts(
            name=template.name,
            origin=template.origin,
            own=template.name == OWN,
            system=can.system,
            tools=can.tools,
            tool_calls=can.calls,
            thinking=can.thinking != "none",
            opens_thinking=ends_in(asked, OPENED),
            closes_thinking=ends_in(asked, CLOSED),
            end_of_turn=self.stops,
        )
