"""The whole pipeline on the built-in model and data: what `make demo` shows."""

from __future__ import annotations

from lorafit import builtin
from lorafit.observe.console import Console
from lorafit.pipeline import Result, finetune
from lorafit.recipe import Recipe


def demo_recipe(output: str = "runs", name: str | None = None) -> Recipe:
    """QLoRA on the built-in base; settings chosen in LOG.md."""
    return Recipe.model_validate(
        {
            "name": name,
            "output": output,
            "model": {"name": builtin.NAME, "quantization": "nf4"},
            "data": {"train": builtin.NAME, "held_out": builtin.NAME},
            "adapter": {"rank": 16, "alpha": 32},
            "train": {"epochs": 4, "batch_size": 16, "learning_rate": 4e-3, "schedule": "linear", "warmup": 0.05},
            "evaluate": {"prompts": 224, "shots": 3, "max_new_tokens": 64},
        }
    )


def run_demo(output: str = "runs") -> Result:
    """Fine-tune, compare, and say where everything is."""
    console = Console()
    console.say("lorafit demo: QLoRA on the built-in base and data", style="bold")
    return finetune(demo_recipe(output), console=console)
