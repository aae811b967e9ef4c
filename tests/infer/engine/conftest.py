from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM


@pytest.fixture
def load(bases: Callable[[str], Any]) -> Callable[[str], Any]:
    """load("llama"): the tiny model of a family, in evaluation mode."""

    def loaded(family: str) -> Any:
        # Only plain attention, of transformers' own, knows every family's soft caps.
        model = AutoModelForCausalLM.from_pretrained(bases(family), attn_implementation="eager").eval()
        return model.requires_grad_(False)

    return loaded


@pytest.fixture
def load_tuned(load: Callable[[str], Any]) -> Callable[..., Any]:
    """load_tuned("llama", law={"r": 4}, med={}): the model with adapters of those names, none of them zero."""

    def loaded(family: str, **adapters: dict[str, Any]) -> Any:
        torch.manual_seed(3)
        model: Any = load(family)
        for name, settings in adapters.items():
            chosen = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
            if isinstance(model, peft.PeftModel):
                model.add_adapter(name, peft.LoraConfig(**chosen))
            else:
                model = peft.get_peft_model(model, peft.LoraConfig(**chosen), name)
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if "lora_B" in parameter_name:
                    parameter.normal_(0, 0.3)
        return model.eval()

    return loaded
