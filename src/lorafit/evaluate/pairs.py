"""A context and a continuation to tokens, by the rules of lm-evaluation-harness 0.4.13, so that scores compare.

The facts are from `TemplateLM._encode_pair`, `TemplateLM.loglikelihood` and `HFLM.tok_encode` there, for causal models
in their default settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lorafit.errors import DataError


def encode_pair(tokenizer: Any, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """(ids of the context, ids of the continuation), neither of them empty.

    White space at the end of the context goes to the continuation. Both are encoded together, and cut at as many tokens
    as the context has alone. An empty context is the token that texts begin with, or the one that they end with.
    Differs from the harness where the context is white space alone: it counts as empty here.
    Raises DataError for a continuation that adds no token, and where a tokenizer has nothing to begin with.
    """
    kept = context.rstrip()
    moved = context[len(kept) :] + continuation
    if kept:
        context_ids = encode(tokenizer, kept)
        continuation_ids = encode(tokenizer, kept + moved)[len(context_ids) :]
    else:
        first = prefix_id(tokenizer)
        if first is None:
            raise DataError("An empty prompt cannot be scored: this tokenizer has no token that begins or ends a text.")
        continuation_ids = tokenizer.encode(moved, add_special_tokens=False)
        context_ids = [first]
        if continuation_ids[:1] == context_ids:
            continuation_ids = continuation_ids[1:]
    if not continuation_ids:
        raise DataError(
            f"The continuation {continuation[:40]!r} adds no token to the prompt, so it cannot be scored: the "
            f"tokenizer joins them after {context[-40:]!r}. Put a space or a line break between them."
        )
    return context_ids, continuation_ids


def encode(tokenizer: Any, text: str) -> list[int]:
    """Ids with the special tokens that the tokenizer adds by itself, unless the text begins with the first of them."""
    first = prefix_id(tokenizer)
    begun = first is not None and text.startswith(tokenizer.decode([first]))
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False) if begun else tokenizer.encode(text)
    return ids


def prefix_id(tokenizer: Any) -> int | None:
    """The token that stands before an empty context."""
    found: int | None = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return found


def fit(context_ids: Sequence[int], continuation_ids: Sequence[int], longest: int) -> tuple[list[int], bool]:
    """(the end of the context that a model of `longest` tokens has room for, whether something was cut off).

    The last token of the continuation is only foretold, and takes no room. Raises DataError for a continuation that
    leaves no room for a context.
    """
    room = longest + 1 - len(continuation_ids)
    if room < 1:
        raise DataError(
            f"A continuation of {len(continuation_ids)} tokens cannot be scored: the model takes {longest}."
        )
    return list(context_ids[-room:]), len(context_ids) > room
