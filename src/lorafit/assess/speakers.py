"""Who answers: the base and the tuned model, in one set of weights where that is possible, else one after another."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lorafit.evaluate.summary import BASE
from lorafit.infer.engine import Engine
from lorafit.model.hub import find_model
from lorafit.model.load import load_base
from lorafit.observe.console import Console
from lorafit.opened import Opened

TUNED = "tuned"
CACHE_BYTES = 1 << 30  # of keys and values


@dataclass(frozen=True, slots=True)
class Speaker:
    """adapter: its name in the engine's model; None is the model without one."""

    name: str
    engine: Engine
    adapter: str | None


def names_of(opened: Opened) -> list[str]:
    return [BASE] if opened.is_bare else [BASE, TUNED]


def speakers(opened: Opened, console: Console, remote_code: bool = False) -> Iterator[Speaker]:
    """Each in turn. Where the base is not within the tuned model it is loaded when the tuned model is gone: what is
    yielded, and `opened` itself, must not be kept for longer than a turn."""
    renderer = opened.renderer

    def engine(model: Any) -> Engine:
        tokenizer = renderer.tokenizer
        return Engine(
            model,
            lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)),
            cache_bytes=CACHE_BYTES,
            warn=console.warn,
        )

    if opened.is_bare:
        yield Speaker(BASE, engine(opened.model), None)
        return
    adapter = opened.model.active_adapter if hasattr(opened.model, "peft_config") else None
    if opened.has_base_below:
        one = engine(opened.model)
        yield Speaker(BASE, one, None)
        yield Speaker(TUNED, one, adapter)
        return
    yield Speaker(TUNED, engine(opened.model), adapter)
    recipe, chosen = opened.recipe, opened.base.hardware
    del opened
    gc.collect()
    with console.working(f"loading {recipe.model.name}"):
        folder = find_model(recipe.model.name, recipe.model.revision, remote_code)
        base = load_base(folder, chosen, recipe.model.quantization, recipe.model.double_quantization, remote_code)
    yield Speaker(BASE, engine(base.model.eval()), None)
