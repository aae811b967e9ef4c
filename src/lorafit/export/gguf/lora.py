"""A PEFT adapter as GGUF, which llama.cpp adds to a base's file while it runs (`--lora`).

Each layer has the pair NAME.lora_a [rank, in] and NAME.lora_b [out, rank], with B's rows in the order of the base's.
All have one alpha, and llama.cpp scales a pair by alpha / rank; what differs from that is folded into B.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lorafit.errors import ExportError
from lorafit.export.gguf.checkpoint import Checkpoint
from lorafit.export.gguf.families import transformed
from lorafit.export.gguf.write import require_gguf

INSTEAD = "Merge it instead: `--to gguf`."


def convert_adapter(adapter: Path, base: Path, target: Path) -> int:
    """Write the PEFT adapter in the folder `adapter`, trained on the model in `base`, to the file `target` in float32;
    returns the number of layers.

    Raises ExportError for what the format cannot hold: DoRA, trained biases, embeddings and whole modules.
    """
    require_gguf()
    import gguf

    config, weights = _read(adapter)
    checkpoint = Checkpoint(base)
    pairs = _pairs(weights, config)
    writer = gguf.GGUFWriter(target, checkpoint.family.name)
    try:
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        alpha = float(config["lora_alpha"])
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
        kept = {source.name: source.gguf_name for source in checkpoint.sources}
        for module, (a, b) in sorted(pairs.items()):
            name = f"{module}.weight"
            if name not in kept:
                raise ExportError(f"The adapter changes {module}, which the base's GGUF does not hold apart. {INSTEAD}")
            b = b * (_scaling(module, config, len(a)) / (alpha / len(a)))
            b = transformed(checkpoint.family, checkpoint.config, name, b)
            writer.add_tensor(f"{kept[name]}.lora_a", a.contiguous().numpy())
            writer.add_tensor(f"{kept[name]}.lora_b", b.contiguous().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        writer.close()
    return len(pairs)


def _read(adapter: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        weights = load_file(adapter / "adapter_model.safetensors")
    except (OSError, json.JSONDecodeError, SafetensorError) as error:
        raise ExportError(f"{adapter} cannot be read as a LoRA adapter: {error}") from error
    if config.get("peft_type") != "LORA":
        raise ExportError(f"{adapter} is a {config.get('peft_type')} adapter; GGUF knows LoRA only. {INSTEAD}")
    return config, weights


def _pairs(weights: dict[str, Tensor], config: dict[str, Any]) -> dict[str, tuple[Tensor, Tensor]]:
    """A [rank, in] and B [out, rank] of each module, float32."""
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, weight in weights.items():
        module, _, part = name.removeprefix("base_model.model.").rpartition(".lora_")
        if part not in ("A.weight", "B.weight"):
            what = "DoRA" if "magnitude" in name else "more than low-rank pairs"
            raise ExportError(f"The adapter holds {what} ({name}), which GGUF adapters cannot. {INSTEAD}")
        pairs.setdefault(module, {})[part[0]] = weight.float()
    if str(config.get("init_lora_weights")).startswith(("pissa", "olora", "corda")):
        raise ExportError(
            f"The adapter was saved for a changed base (init_lora_weights: {config['init_lora_weights']}). {INSTEAD}"
        )
    for module, pair in pairs.items():
        if len(pair) != 2 or len(pair["A"]) != pair["B"].shape[1]:
            raise ExportError(f"The adapter's weights of {module} are not a whole pair of one rank.")
    return {module: (pair["A"], pair["B"]) for module, pair in pairs.items()}


def _scaling(module: str, config: dict[str, Any], rank: int) -> float:
    """What PEFT multiplies B·A of a module with."""
    pattern = config.get("alpha_pattern") or {}
    alpha = next(
        (value for key, value in pattern.items() if module == key or module.endswith(f".{key}")), config["lora_alpha"]
    )
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)
