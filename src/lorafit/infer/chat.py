"""A conversation with a tuned model: turns are kept, answers stream, the adapter can be switched off and on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from transformers import TextStreamer

from lorafit.data.template import Renderer
from lorafit.errors import DataError
from lorafit.infer.generate import finish, generation_settings
from lorafit.model.load import longest_sequence
from lorafit.records import Message


class _Streamer(TextStreamer):
    """Hands over finished pieces of text: whole words, whole CJK characters."""

    def __init__(self, tokenizer: Any, write: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._write = write

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self._write(text.rstrip("\ufffd") if stream_end else text)


class Chat:
    """One conversation. `tuned` says whether the adapter answers, or the base below it."""

    def __init__(self, model: Any, renderer: Renderer, max_new_tokens: int = 512, temperature: float = 0.0) -> None:
        self.model = model
        self.renderer = renderer
        self.max_new_tokens = max_new_tokens
        self.settings = generation_settings(
            renderer.stop_ids, renderer.tokenizer.pad_token_id, max_new_tokens, temperature
        )
        # A base that goes on with the next question is stopped there, not only cut afterwards.
        self.settings.stop_strings = list(renderer.template.stops) or None
        self.messages: list[Message] = []
        self.tuned = True
        self.forgotten = 0

    def say(self, text: str, write: Callable[[str], None] = lambda piece: None) -> str:
        """Ask, stream the answer to `write`, remember both; returns the answer.

        The oldest turns that no longer fit the model's length are forgotten (`forgotten` counts them).
        Raises DataError when the question alone does not fit.
        """
        asked = self._fitting(Message("user", text))
        ids = torch.tensor([self.renderer.prompt_ids(asked)], device=next(self.model.parameters()).device)
        base = self.model.disable_adapter() if not self.tuned else contextlib.nullcontext()
        with base, torch.no_grad():
            generated = self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=self.settings,
                streamer=_Streamer(self.renderer.tokenizer, write),
                tokenizer=self.renderer.tokenizer,
            )
        said = generated[0, ids.shape[1] :].tolist()
        answer = finish(self.renderer, said).text
        spoken = self.renderer.spoken(said)  # templates show what was thought apart from what was answered
        self.messages = [*asked, spoken if spoken.thinking else Message("assistant", answer)]
        return answer

    def _fitting(self, question: Message) -> list[Message]:
        longest, wanted = longest_sequence(self.model), self.max_new_tokens
        asked = [*self.messages, question]
        if longest is None:
            return asked
        # At least a quarter of the length is kept free for the answer.
        room = longest - min(wanted, longest // 4)
        while len(asked) > 1 and len(self.renderer.prompt_ids(asked)) > room:
            asked = asked[2:]
            self.forgotten += 2
        tokens = len(self.renderer.prompt_ids(asked))
        if tokens > room:
            raise DataError(f"The question has {tokens} tokens; this model takes {longest}, the answer included.")
        self.settings.max_new_tokens = min(wanted, longest - tokens)
        return asked

    def restart(self) -> None:
        self.messages, self.forgotten = [], 0
