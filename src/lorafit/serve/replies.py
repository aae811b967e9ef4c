"""Completions in OpenAI's form: whole, and piece by piece."""

from __future__ import annotations

import functools
import itertools
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lorafit.data.template import Renderer
from lorafit.infer.engine import Completion, TokenLogprob

LOWEST = -9999.0  # JSON has no -inf


@dataclass(frozen=True, slots=True)
class Reply:
    """What all parts of one answer have in common. chat: of /v1/chat/completions, else of /v1/completions."""

    chat: bool
    model: str
    renderer: Renderer
    logprobs: int | None
    usage_in_stream: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, completions: Sequence[Completion], usage: dict[str, Any]) -> dict[str, Any]:
        return {**self._head(""), "choices": [self._whole(i, c) for i, c in enumerate(completions)], "usage": usage}

    def first(self, index: int) -> bytes:
        """What a chat's stream says before anything was said."""
        return self._event(index, {"delta": {"role": "assistant", "content": ""}, "logprobs": None})

    def piece(self, index: int, text: str) -> bytes:
        return self._event(index, {**self._said(text), "logprobs": None})

    def last(self, index: int, completion: Completion) -> bytes:
        """The end of one choice. Its log-probabilities are here: the engine hands them out with the whole answer."""
        said: dict[str, Any] = {"delta": {}} if self.chat else {"text": ""}
        return self._event(index, {**said, "logprobs": self._logprobs(completion)}, completion.reason)

    def usage(self, usage: dict[str, Any]) -> bytes:
        return event({**self._head(".chunk"), "choices": [], "usage": usage})

    def _whole(self, index: int, completion: Completion) -> dict[str, Any]:
        text = completion.text.strip() if self.chat else completion.text
        said = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.chat else {"text": text}
        return {
            "index": index,
            **said,
            "logprobs": self._logprobs(completion),
            "finish_reason": completion.reason,
        }

    def _said(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text}} if self.chat else {"text": text}

    def _event(self, index: int, content: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": index, **content, "finish_reason": reason}
        usage = {"usage": None} if self.usage_in_stream else {}
        return event({**self._head(".chunk"), "choices": [choice], **usage})

    def _head(self, chunk: str) -> dict[str, Any]:
        kind, prefix = (f"chat.completion{chunk}", "chatcmpl") if self.chat else ("text_completion", "cmpl")
        head = {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model}
        return {**head, "system_fingerprint": None}

    def _logprobs(self, completion: Completion) -> dict[str, Any] | None:
        if self.logprobs is None:
            return None
        chosen = completion.logprobs[: len(completion.ids)]  # without the stop token, which is not of the text
        return self._chat_logprobs(chosen) if self.chat else self._plain_logprobs(chosen)

    def _chat_logprobs(self, chosen: Sequence[TokenLogprob]) -> dict[str, Any]:
        content = [
            {
                **self._token(each.id, each.logprob),
                "top_logprobs": [self._token(*likely) for likely in each.top],
            }
            for each in chosen
        ]
        return {"content": content, "refusal": None}

    def _plain_logprobs(self, chosen: Sequence[TokenLogprob]) -> dict[str, Any]:
        tokens = [self._text(each.id) for each in chosen]
        return {
            "tokens": tokens,
            "token_logprobs": [max(LOWEST, each.logprob) for each in chosen],
            "top_logprobs": [{self._text(i): max(LOWEST, value) for i, value in each.top} for each in chosen],
            "text_offset": list(itertools.accumulate(map(len, tokens[:-1]), initial=0)) if tokens else [],
        }

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._text(token)
        # A part of a character has no text of its own; its bytes are not known here.
        whole = "\ufffd" not in text
        return {"token": text, "logprob": max(LOWEST, logprob), "bytes": list(text.encode()) if whole else None}

    def _text(self, token: int) -> str:
        return _token_text(self.renderer, token)


@functools.lru_cache(1 << 16)
def _token_text(renderer: Renderer, token: int) -> str:
    # Decoded behind a letter: SentencePiece takes a space off the front of a text.
    letter = renderer.tokenizer("a", add_special_tokens=False).input_ids
    return str(renderer.tokenizer.decode([*letter, token])).removeprefix("a")


class Trimmed:
    """Pieces of an answer without the space around the whole of it, as a whole answer has none."""

    def __init__(self) -> None:
        self._begun = False
        self._space = ""

    def push(self, piece: str) -> str:
        """What of it may be shown now: space is kept back until something follows it."""
        text = self._space + piece if self._begun else piece.lstrip()
        shown = text.rstrip()
        self._begun |= bool(shown)
        self._space = text[len(shown) :]
        return shown


def usage(prompts: Sequence[Sequence[int]], completions: Sequence[Completion]) -> dict[str, Any]:
    """Prompts count once, however many choices they have."""
    read, written = sum(map(len, prompts)), sum(len(completion.ids) for completion in completions)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def event(content: Any) -> bytes:
    """A server-sent event."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


def card(name: str, since: int, root: str, parent: str | None) -> dict[str, Any]:
    """An entry of /v1/models; root and parent as vLLM has them."""
    return {
        "id": name,
        "object": "model",
        "created": since,
        "owned_by": "lorafit",
        "root": root,
        "parent": parent,
    }
