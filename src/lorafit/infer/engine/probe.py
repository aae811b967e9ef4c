"""Whether a model can be decoded in rows: requests together must give what transformers gives for each alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lorafit.infer.engine.request import Request

if TYPE_CHECKING:
    from lorafit.infer.engine.engine import Engine

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 5e-2}
# Rotary embeddings whose angles follow from the longest request of the row.
DEPEND_ON_LENGTH = ("dynamic", "longrope")


def probe(engine: Engine) -> tuple[int, str | None]:
    """(bytes of a token's keys and values, why the model cannot be decoded in rows or None)."""
    name = type(engine.model).__name__
    changing = _rope_types(getattr(engine.model.config, "rope_parameters", None)) & {*DEPEND_ON_LENGTH}
    if changing:
        return 0, f"the positions of {name} depend on the longest request of a row (rope type {changing.pop()})"
    training = engine.model.training
    engine.model.eval()
    try:
        return _measured(engine)
    except (RuntimeError, TypeError, KeyError, ValueError, AttributeError) as error:
        return 0, f"{name} cannot be decoded in rows ({' '.join(str(error).split())[:200]})"
    finally:
        engine.model.train(training)


@torch.no_grad()
def _measured(engine: Engine) -> tuple[int, str | None]:
    """Three requests, two of them with a beginning in common, prompts in chunks, answers together."""
    vocabulary = engine.model.get_input_embeddings().weight.shape[0]
    draw = torch.Generator().manual_seed(0)

    def tokens(length: int) -> list[int]:
        return torch.randint(0, vocabulary, (length,), generator=draw).tolist()

    beginning = tokens(5)
    prompts = [beginning + tokens(3), beginning + tokens(1), tokens(7)]
    engine.share(beginning)
    handles = [engine.add(Request(prompt, max_new_tokens=3, logprobs=0)) for prompt in prompts]
    token_bytes = 0
    while engine.pending:
        engine.step()
        token_bytes = max(token_bytes, *(slab.token_bytes for slab in engine.room.slabs.values()), 0)
    engine.unshare(beginning)
    worst = 0.0
    for handle, prompt in zip(handles, prompts, strict=True):
        ended = handle.completion
        if ended is None or not token_bytes:
            return 0, f"{type(engine.model).__name__} did not use its attention interface"
        ids = [each.id for each in ended.logprobs]
        with engine.adapters.alone(None):
            logits = engine.model(input_ids=torch.tensor([prompt + ids[:-1]], device=engine.device)).logits[0]
        expected = (
            logits[len(prompt) - 1 :]
            .float()
            .log_softmax(-1)
            .gather(1, torch.tensor(ids, device=engine.device)[:, None])
        )
        got = torch.tensor([each.logprob for each in ended.logprobs], device=engine.device)
        worst = max(worst, float((expected[:, 0] - got).abs().max()))
    if not worst <= TOLERANCE[engine.model.dtype]:
        return 0, f"{type(engine.model).__name__} gives other answers in a row than alone (by {worst:.2g} nats)"
    return token_bytes, None


def _rope_types(parameters: Any) -> set[str]:
    """The kinds of rotary embedding that a configuration names, at any depth: some have one for each kind of layer."""
    if not isinstance(parameters, dict):
        return set()
    nested = [_rope_types(value) for value in parameters.values()]
    return {str(parameters.get("rope_type", ""))}.union(*nested)
