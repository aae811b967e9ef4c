"""A folder to a frozen base on a device, quantised shard by shard while it is loaded."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import modeling_utils
from transformers.pytorch_utils import Conv1D

from lorafit.errors import ModelError
from lorafit.hardware import Hardware
from lorafit.memory import freed_memory_goes_back
from lorafit.model.hub import read_config
from lorafit.model.quantize import quantization_config, stay_in_training_mode
from lorafit.model.settings import Quantization


@dataclass(frozen=True, slots=True)
class Base:
    """A base model with every weight frozen and its own dropout off."""

    model: Any
    folder: Path
    hardware: Hardware
    quantization: Quantization
    remote_code: bool = False


def load_base(
    folder: Path,
    hardware: Hardware,
    quantization: Quantization = "none",
    double_quantization: bool = True,
    remote_code: bool = False,
) -> Base:
    """Load a causal language model and freeze it.

    transformers reads one tensor at a time and quantises it at once, so the 16-bit model never stands whole in memory.

    Raises ModelError when the architecture is unknown, when weights are missing, or when the checkpoint is quantised.
    """
    from transformers import AutoModelForCausalLM

    if "quantization_config" in read_config(folder):
        raise ModelError(
            f"{folder} holds weights that are quantised already. Use the 16-bit original with "
            "model.quantization=nf4: lorafit quantises it while loading."
        )
    with quiet_transformers(), _sparing_memory() if quantization != "none" else contextlib.nullcontext():
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=hardware.dtype,
                quantization_config=quantization_config(quantization, double_quantization, hardware.dtype),
                device_map={"": hardware.device},
                use_safetensors=True,
                trust_remote_code=remote_code,
                local_files_only=True,
                output_loading_info=True,
            )
        except ModelError:
            raise
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise ModelError(f"The model in {folder} cannot be loaded: {_reason(error)}") from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(
            f"The model in {folder} lacks {len(missing)} weights that its config.json asks for "
            f"({', '.join(missing[:4])}"
            f"{', ...' if len(missing) > 4 else ''}). Part of the download or of the folder is missing."
        )
    model.requires_grad_(False)
    if quantization != "none":
        stay_in_training_mode(model)
    switch_dropout_off(model)
    return Base(model, folder, hardware, quantization, remote_code)


@contextlib.contextmanager
def _sparing_memory() -> Iterator[None]:
    """Within this block transformers reads one tensor at a time, and what is freed goes back to the system.

    It would map the shards: every page it has read then counts as this process's memory, the whole 16-bit model, and
    stays as long as one tensor is used as it lies there (the embedding). Older versions of safetensors can only map.
    """
    opens = modeling_utils.safe_open

    def reading(*args: Any, **options: Any) -> Any:
        return opens(*args, **{**options, "backend": "pread"})

    if "backend" in inspect.signature(safe_open).parameters:
        modeling_utils.safe_open = reading
    try:
        with freed_memory_goes_back():
            yield
    finally:
        modeling_utils.safe_open = opens


def switch_dropout_off(model: nn.Module) -> None:
    """Set the base's own dropout (0.1 in GPT-2) to 0: it would depend on the packing.

    The adapter's dropout, which does not, is the one knob. OPT and others keep their rates as plain attributes.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def empty_model(folder: Path, remote_code: bool = False) -> Any:
    """The model without weights, on the meta device: its layers can be looked at before anything is loaded.

    Raises ModelError when the architecture is unknown.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=remote_code)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=remote_code)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ModelError(f"The model in {folder} cannot be built: {_reason(error)}") from error


def longest_sequence(model: Any) -> int | None:
    """The most tokens that the model was made for, when its config says (GPT-2 writes it `n_positions`)."""
    longest: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return longest


def checkpoint_weight(folder: Path, model: Any, module: str) -> Tensor:
    """The weight of one linear layer as the checkpoint holds it, [out, in], read alone from its shard.

    Raises ModelError when the checkpoint has no tensor of that name.
    """
    prefix = f"{model.base_model_prefix}."
    for name in (f"{module}.weight", f"{module}.weight".removeprefix(prefix)):
        for shard in _shards(folder, name):
            with safe_open(shard, framework="pt") as tensors:
                if name in tensors.keys():
                    weight: Tensor = tensors.get_tensor(name)
                    return weight.T if _was_conv1d(model.get_submodule(module)) else weight
    raise ModelError(f"{folder} has no tensor {module}.weight.")


def _was_conv1d(layer: Any) -> bool:
    """Whether a layer, under an adapter or not, is GPT-2's Conv1D in the checkpoint, which keeps [in, out].

    transformers notes the class that a quantised layer came from.
    """
    layer = getattr(layer, "base_layer", layer)
    return issubclass(getattr(layer, "source_cls", type(layer)), Conv1D)


def _shards(folder: Path, name: str) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shard = json.loads(index.read_text(encoding="utf-8"))["weight_map"].get(name)
        return [folder / shard] if shard else []
    return sorted(folder.glob("*.safetensors"))


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 600 else text[:600] + " ..."


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back transformers' reports and bars of loading and saving: lorafit says what matters itself."""
    from transformers.utils import logging as transformers_logging

    before, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
        if bar:
            transformers_logging.enable_progress_bar()


def count_parameters(model: nn.Module) -> int:
    """Parameters of the model as it was designed: a packed 4-bit weight counts all its weights."""
    total = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        total += int(torch.Size(state.shape).numel()) if state is not None else parameter.numel()
    return total
