"""lorafit fits a language model to your data, on the hardware you have.

import lorafit

result = lorafit.finetune(lorafit.Recipe(model={"name": "builtin"}, data={"train": "builtin"}))
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorafit.errors import LorafitError
    from lorafit.opened import open_run
    from lorafit.pipeline import Result, finetune
    from lorafit.recipe import Recipe, load_recipe
    from lorafit.resuming import resume

# bitsandbytes, which PEFT imports, warns at import that an optional kernel package is absent; nothing here uses it.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

__version__ = "0.1.0"
__all__ = ["LorafitError", "Recipe", "Result", "finetune", "load_recipe", "open_run", "resume"]

# Imported when first used: torch and transformers take seconds, and `lorafit --help` needs neither.
_HOMES = {
    "LorafitError": "lorafit.errors",
    "Recipe": "lorafit.recipe",
    "load_recipe": "lorafit.recipe",
    "Result": "lorafit.pipeline",
    "finetune": "lorafit.pipeline",
    "open_run": "lorafit.opened",
    "resume": "lorafit.resuming",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lorafit' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
