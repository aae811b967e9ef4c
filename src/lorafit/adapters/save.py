"""Adapters and tuned models to disk and back: PEFT's layout in safetensors, with the tokenizer and its template."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lorafit.adapters.pissa import ADAPTER, as_ordinary_lora, restore_residual
from lorafit.adapters.settings import AdapterSettings
from lorafit.errors import AdapterError
from lorafit.model.load import Base, quiet_transformers
from lorafit.run import replace_folder

_MISMATCH = re.compile(
    r"size mismatch for (\S+): copying a param with shape torch\.Size\((.*?)\) from checkpoint, "
    r"the shape in current model is torch\.Size\((.*?)\)"
)


def save_trained(model: Any, tokenizer: Any, settings: AdapterSettings, folder: Path) -> None:
    """Write what was trained to `folder`, whole or not at all: an adapter, or the model itself for method `none`.

    Raises RunError when it cannot be written; what stood there before is then untouched.
    """

    replace_folder(folder, lambda temporary: write_trained(model, tokenizer, settings, temporary))


def write_trained(model: Any, tokenizer: Any, settings: AdapterSettings, folder: Path) -> None:
    """Write the files of what was trained into an existing folder."""
    if settings.method == "none":
        with quiet_transformers():
            model.save_pretrained(folder)
    elif settings.variant == "pissa":
        _save_pissa(model, folder)
    else:
        model.save_pretrained(folder, save_embedding_layers=False)
    tokenizer.save_pretrained(folder)


def _save_pissa(model: Any, folder: Path) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    save_file(as_ordinary_lora(model, state), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config[ADAPTER]
    # Twice the rank with twice the alpha keeps the scaling alpha/rank.
    before = config.r, config.lora_alpha, config.inference_mode
    config.r, config.lora_alpha, config.inference_mode = 2 * before[0], 2 * before[1], True
    try:
        config.save_pretrained(folder)
    finally:
        config.r, config.lora_alpha, config.inference_mode = before


def load_trained(base: Base, settings: AdapterSettings, folder: Path) -> Any:
    """Put a saved adapter on its base, as it was trained.

    Raises AdapterError when the folder holds no adapter or one that does not fit the base.
    """
    from peft import PeftModel

    if not (folder / "adapter_config.json").is_file():
        raise AdapterError(f"{folder} holds no adapter (adapter_config.json is missing).")
    try:
        model = PeftModel.from_pretrained(base.model, folder)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise AdapterError(f"The adapter in {folder} does not fit {base.folder}: {_why(error, folder)}") from error
    if settings.variant == "pissa" and base.quantization != "none":
        restore_residual(model, base)
    return model.eval()


def _why(error: Exception, folder: Path) -> str:
    """PyTorch names every tensor that does not fit; the first says enough."""
    said = " ".join(str(error).split())
    wrong = _MISMATCH.findall(said)
    if not wrong:
        return said[:500]
    name, there, here = wrong[0]
    trained_on = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    return (
        f"{len(wrong)} of its tensors have another shape, the first {name}: {there} in the adapter, {here} for this "
        f"base and the adapter's own config.\nIt says that it was trained on {trained_on}: name that base."
    )


def load_weights(model: Any, settings: AdapterSettings, folder: Path) -> None:
    """Put saved weights back into the very model that was trained, which has gone on since: the best of the run."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    if settings.method == "none":
        # By way of transformers, which knows how it splits fused weights (of experts) when saving.
        with quiet_transformers():
            saved = type(model).from_pretrained(folder, dtype=model.dtype, local_files_only=True)
        model.load_state_dict(saved.state_dict())
        return
    state = load_file(folder / "adapter_model.safetensors")
    if settings.variant == "pissa":
        rank = settings.rank  # the second half is the start, which this model's base lacks already
        state = {k: v[:rank] if "lora_A" in k else v[:, :rank] if "lora_B" in k else v for k, v in state.items()}
    set_peft_model_state_dict(model, state)
