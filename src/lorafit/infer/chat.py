"""A conversation with one base and its adapters: turns are kept, answers stream, who answers can be switched."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lorafit.data.template import Renderer
from lorafit.errors import DataError
from lorafit.infer.engine import Completion, Engine, Request, Sampling
from lorafit.infer.generate import CACHE_BYTES, finish
from lorafit.records import Message

BASE, TUNED = "base", "tuned"
Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Voice:
    """Who answers. adapter: its name in the model, None for the base (or for a model that is nothing but one)."""

    adapter: str | None
    renderer: Renderer


class Chat:
    """One conversation, whoever answers. `speaker` names one of `voices`: tuned, and base where there is one below it.

    tokens_per_second: of the last answer, the reading of the question included.
    """

    def __init__(self, model: Any, renderer: Renderer, max_new_tokens: int = 512, temperature: float = 0.0) -> None:
        self.model = model
        self.max_new_tokens = max_new_tokens
        self.sampling = Sampling(temperature)
        self.system = ""
        self.messages: list[Message] = []
        self.forgotten = 0
        self.tokens_per_second = 0.0
        adapted = hasattr(model, "peft_config")
        self.voices = {TUNED: Voice(model.active_adapter if adapted else None, renderer)}
        if adapted:
            self.voices[BASE] = Voice(None, renderer)
        self.speaker = TUNED
        self._engine: Engine | None = None

    @property
    def tuned(self) -> bool:
        """Whether it is not the base that answers."""
        return self.speaker != BASE

    @tuned.setter
    def tuned(self, value: bool) -> None:
        self.speaker = TUNED if value else BASE

    def say(self, text: str, write: Write = lambda piece: None) -> str:
        """Ask the speaker, stream the answer to `write`, remember both; returns the answer.

        The oldest turns that no longer fit the model's length are forgotten (`forgotten` counts them).
        Raises DataError when the question alone does not fit.
        """
        return self.say_to({self.speaker: write}, text)[self.speaker]

    def say_to(self, writes: Mapping[str, Write], text: str) -> dict[str, str]:
        """Ask several voices at once, decoded in one batch; the conversation goes on with the answer of the speaker,
        or of the first where the speaker was not asked. Raises DataError as `say` does."""
        engine = self._ready()
        asked = self._fitting(Message("user", text), [self.voices[name] for name in writes])
        prompts = {name: self.voices[name].renderer.prompt_ids(self._with_system(asked)) for name in writes}
        began = time.perf_counter()
        handles = {name: engine.add(self._request(self.voices[name], prompts[name], writes[name])) for name in writes}
        finished = False
        try:
            while engine.pending:
                engine.step()
            finished = True
        finally:
            if not finished:  # stopped within a step, which leaves the engine in the middle of something
                self._engine = None
        completions = {name: handle.completion for name, handle in handles.items() if handle.completion is not None}
        self._measure(list(completions.values()), time.perf_counter() - began)
        kept = self.speaker if self.speaker in writes else next(iter(writes))
        answers = {name: self._text(name, completion) for name, completion in completions.items()}
        # Templates show what was thought apart from what was answered.
        spoken = self.voices[kept].renderer.spoken(completions[kept].ids)
        self.messages = [*asked, spoken if spoken.thinking else Message("assistant", answers[kept])]
        return answers

    def restart(self) -> None:
        self.messages, self.forgotten = [], 0

    def set(self, name: str, value: str) -> None:
        """Change max_new_tokens or a field of `sampling`. Raises ValueError for what is neither, or has no sense."""
        if name == "max_new_tokens":
            if int(value) < 1:
                raise ValueError(f"max_new_tokens is 1 or more, found {value}")
            self.max_new_tokens = int(value)
        elif name == "seed":
            self.sampling = replace(self.sampling, seed=None if value == "none" else int(value))
        elif name == "top_k":
            self.sampling = replace(self.sampling, top_k=int(value))
        elif name in ("temperature", "top_p", "repetition_penalty"):
            changed: dict[str, Any] = {name: float(value)}
            self.sampling = replace(self.sampling, **changed)
        else:
            raise ValueError(f"no setting {name}; there are: {', '.join(self.settings)}")

    @property
    def settings(self) -> dict[str, object]:
        names = ("temperature", "top_p", "top_k", "repetition_penalty", "seed")
        return {**{name: getattr(self.sampling, name) for name in names}, "max_new_tokens": self.max_new_tokens}

    def _ready(self) -> Engine:
        if self._engine is None:
            tokenizer = self.voices[TUNED].renderer.tokenizer
            self._engine = Engine(
                self.model, lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)), cache_bytes=CACHE_BYTES
            )
        return self._engine

    def _request(self, voice: Voice, prompt: list[int], write: Write) -> Request:
        return Request(
            prompt,
            self.max_new_tokens,
            voice.adapter,
            self.sampling,
            frozenset(voice.renderer.stop_ids),
            # A base that goes on with the next question is stopped there.
            voice.renderer.template.stops,
            on_text=write,
        )

    def _text(self, name: str, completion: Completion) -> str:
        return finish(self.voices[name].renderer, completion.ids).text

    def _measure(self, completions: list[Completion], seconds: float) -> None:
        self.tokens_per_second = sum(len(each.ids) for each in completions) / max(seconds, 1e-9)

    def _with_system(self, turns: list[Message]) -> list[Message]:
        return [Message("system", self.system), *turns] if self.system else turns

    def _fitting(self, question: Message, voices: list[Voice]) -> list[Message]:
        longest = self._ready().longest
        asked = [*self.messages, question]
        if longest is None:
            return asked

        def tokens() -> int:
            return max(len(voice.renderer.prompt_ids(self._with_system(asked))) for voice in voices)

        # At least a quarter of the length is kept free for the answer.
        room = longest - min(self.max_new_tokens, longest // 4)
        while len(asked) > 1 and tokens() > room:
            asked = asked[2:]
            self.forgotten += 2
        if tokens() > room:
            raise DataError(f"The question has {tokens()} tokens; this model takes {longest}, the answer included.")
        return asked
