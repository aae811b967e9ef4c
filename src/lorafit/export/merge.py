"""Fold an adapter into the weights that it was trained against, save a plain model, and check that it answers alike.

After QLoRA those weights are the dequantised 4-bit ones: the 16-bit original is another function than was trained.
The fold is made in float32 and rounded once, when it is saved.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from lorafit.errors import ExportError, SelfCheckFailed
from lorafit.export.check import Agreement, compare_greedy, greedy_continuations, next_token_logits
from lorafit.model.load import Base, quiet_transformers
from lorafit.model.quantize import dequantized_weight, is_quantized
from lorafit.run import replace_folder, write_json

ANSWER_TOKENS = 32
# Largest relative difference (Frobenius) of a layer's output, float32 against what the run computes in. Rounding in
# bfloat16 makes about 0.005; another weight shows: NF4 is about 0.1 away from its original.
LAYER_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged folder and the checks of it: the tuned model as the run computes it, the fold in float32, and the file
    as a plain model opens it, each against the tuned model in float32 with its adapter apart."""

    folder: Path
    dtype: str
    run: Agreement
    fold: Agreement
    file: Agreement


def merge(
    base: Base,
    tuned: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    stop_ids: Sequence[int],
    folder: Path,
    dtype: torch.dtype,
    say: Callable[[str], None] = lambda text: None,
) -> Merged:
    """Merge `tuned`, a PEFT model on `base`, save it in `dtype` and check it on `prompts` (token ids).

    A fully fine-tuned model has nothing to fold: it is written in `dtype` and checked alike.

    Raises ExportError when `folder` is taken, and SelfCheckFailed, leaving nothing behind, when the merged model does
    not answer like the tuned one.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} exists already and is not empty. Name another folder with --output.")
    say("folding the adapter in float32")
    computes_in = base.hardware.dtype
    reference = _in_float32(base, tuned)
    if reference is not tuned:
        _check_layers(reference, tuned, computes_in)
    texts = greedy_continuations(reference, prompts, ANSWER_TOKENS, stop_ids)
    spans = [(text, len(prompt)) for text, prompt in zip(texts, prompts, strict=True)]
    wanted = [next_token_logits(reference, *span) for span in spans]
    run = compare_greedy(wanted, [next_token_logits(tuned, *span) for span in spans])
    if computes_in == torch.float32 and not run.holds:
        raise SelfCheckFailed(f"What would be merged is not what was trained: {run.sentence()}. Nothing was written.")
    merged = reference.merge_and_unload(safe_merge=True).eval() if hasattr(reference, "peft_config") else reference
    fold = compare_greedy(wanted, [next_token_logits(merged, *span) for span in spans])
    if not fold.holds:
        raise SelfCheckFailed(f"The fold is wrong: {fold.sentence()}. Nothing was written.")
    checked: list[Agreement] = []

    def fill(temporary: Path) -> None:
        say(f"saving in {str(dtype).removeprefix('torch.')}")
        with quiet_transformers():
            merged.to(dtype).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        say("opening the saved folder as a plain transformers model")
        checked.append(_check_file(temporary, merged, wanted, spans, dtype, base.remote_code))
        write_json(temporary / "self_check.json", {"dtype": str(dtype), **_figures(run, fold, checked[0])})

    replace_folder(folder, fill)
    return Merged(folder, str(dtype).removeprefix("torch."), run, fold, checked[0])


def _in_float32(base: Base, tuned: Any) -> Any:
    """The tuned model with every weight as it computes with it, in float32, the adapter still apart."""
    from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

    if not hasattr(tuned, "peft_config"):
        return tuned.float().cpu().eval()
    plain = _open_plain(base.folder, base.hardware.dtype, base.remote_code).float()
    trained = tuned.get_base_model()
    with torch.no_grad():
        for name, layer in plain.named_modules():
            source = _weight_of(trained, name)
            if source is not None:
                layer.weight.copy_(source.T if isinstance(layer, Conv1D) else source)
            bias = _bias_of(trained, name)
            if bias is not None:
                layer.bias.copy_(bias)
    config = copy.copy(tuned.peft_config["default"])
    # A quantised GPT-2 has ordinary linear layers where the plain one has Conv1D.
    config.fan_in_fan_out = any(isinstance(m, Conv1D) for m in plain.modules())
    reference = PeftModel(plain, config)
    set_peft_model_state_dict(reference, get_peft_model_state_dict(tuned, save_embedding_layers=False))
    return reference.eval()


def _open_plain(folder: Path, dtype: torch.dtype, remote_code: bool) -> Any:
    """A folder as any transformers user opens it, on the CPU: the tuned model may fill the GPU."""
    with quiet_transformers():
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, trust_remote_code=remote_code
        ).eval()


@torch.no_grad()
def _check_layers(reference: Any, tuned: Any, dtype: torch.dtype) -> None:
    """Compare every linear layer, adapter included, with the very layer that was trained, on random inputs."""
    ours, theirs = reference.get_base_model(), tuned.get_base_model()
    head = theirs.get_output_embeddings()
    draw = torch.Generator().manual_seed(0)
    for name, trained in theirs.named_modules():
        plain = getattr(trained, "base_layer", trained)
        if not isinstance(plain, (torch.nn.Linear, Conv1D)) or name.endswith("base_layer") or ".lora_" in name:
            continue
        if plain is head:
            continue
        inputs = plain.nx if isinstance(plain, Conv1D) else plain.in_features
        x = torch.randn(8, inputs, generator=draw).to(dtype)
        wanted = trained(x.to(plain.weight.device)).float().cpu()
        difference = float((ours.get_submodule(name)(x.float()) - wanted).norm() / wanted.norm())
        if difference > LAYER_TOLERANCE[dtype]:
            raise SelfCheckFailed(
                f"{name} would not compute what was trained (relative difference {difference:.1e}). "
                "Nothing was written."
            )


def _weight_of(trained: Any, name: str) -> torch.Tensor | None:
    """The weight [out, in] that the tuned model computes with in the linear layer `name`, None for other modules."""
    try:
        layer = trained.get_submodule(name)
    except AttributeError:
        return None
    layer = getattr(layer, "base_layer", layer)
    if is_quantized(layer):
        return dequantized_weight(layer).float()
    if isinstance(layer, (torch.nn.Linear, Conv1D)):
        weight: torch.Tensor = layer.weight.detach().float()
        return weight.T if isinstance(layer, Conv1D) else weight
    return None


def _bias_of(trained: Any, name: str) -> torch.Tensor | None:
    try:
        layer = trained.get_submodule(name)
    except AttributeError:
        return None
    bias = getattr(getattr(layer, "base_layer", layer), "bias", None)
    return bias.detach().float() if isinstance(bias, torch.Tensor) else None


def _check_file(
    folder: Path,
    merged: Any,
    wanted: Sequence[torch.Tensor],
    spans: Sequence[tuple[list[int], int]],
    dtype: torch.dtype,
    remote_code: bool,
) -> Agreement:
    opened = _open_plain(folder, dtype, remote_code)
    kept = opened.state_dict()
    for name, weight in merged.state_dict().items():
        if name not in kept or not torch.equal(kept[name].cpu(), weight.cpu()):
            raise SelfCheckFailed(f"The saved weight {name} is not what was merged. Nothing was written.")
    opened = opened.float()
    found = compare_greedy(wanted, [next_token_logits(opened, *span) for span in spans])
    if dtype == torch.float32 and not found.holds:
        raise SelfCheckFailed(f"The saved model does not answer like the tuned one: {found.sentence()}.")
    return found


def _figures(run: Agreement, fold: Agreement, file: Agreement) -> dict[str, dict[str, float]]:
    return {
        name: {
            "prompts": found.prompts,
            "tokens": found.tokens,
            "equal": found.equal,
            "broken": found.broken,
            "largest_logit_difference": found.largest_difference,
            "margin": found.margin,
        }
        for name, found in (("run", run), ("fold_float32", fold), ("saved_file", file))
    }
