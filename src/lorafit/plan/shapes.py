"""A name to a transformers config: what a plan knows of a model, without weights and, where it may, without network."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from lorafit import builtin
from lorafit.errors import ModelError, PlanError
from lorafit.model.hub import find_config
from lorafit.model.load import count_parameters
from lorafit.plan.known_shapes import FULL_NAMES, SPELLINGS

Raw = dict[str, Any]


class UnknownArchitecture(PlanError):
    """transformers cannot build this model; `raw` is its config.json, for `formula_estimate`."""

    def __init__(self, message: str, raw: Raw) -> None:
        super().__init__(message)
        self.raw = raw


@dataclass(frozen=True, slots=True)
class Config:
    """A model's config, where it came from, and what it leaves out of the real model, if anything."""

    config: Any
    origin: Literal["folder", "file", "hub", "known shape"]
    name: str
    note: str = ""
    remote_code: bool = False


def config_of(name: str, remote_code: bool = False, revision: str | None = None) -> Config:
    """The config of a folder, a config.json, `builtin`, a known shape, or a hub id (config.json alone is downloaded).

    A known shape is taken as soon as its name is given, with the owner or without, in any case: nothing is downloaded.

    Raises PlanError when there is no such model, when it cannot be reached or its config cannot be used, and
    UnknownArchitecture when transformers has no causal language model of its kind.
    """
    path = Path(os.path.expanduser(name))  # noqa: PTH111  Path.expanduser raises for an unknown user
    if path.is_file():
        return Config(_read_config(path, remote_code), "file", name, remote_code=remote_code)
    local = name == builtin.NAME or path.is_dir()
    if not local and name.lower() in SPELLINGS:
        return _known_config(SPELLINGS[name.lower()])
    try:
        file = find_config(name, revision, remote_code)
    except ModelError as error:
        raise PlanError(f"{error}\n{'' if local else _known_names_near(name)}".rstrip()) from error
    return Config(_read_config(file, remote_code), "folder" if local else "hub", name, remote_code=remote_code)


def _known_config(name: str) -> Config:
    from transformers import AutoConfig

    shape, context = FULL_NAMES[name]
    return Config(AutoConfig.for_model(**shape.config(context)), "known shape", name, shape.note)


def _known_names_near(name: str) -> str:
    spellings = difflib.get_close_matches(name.rpartition("/")[2].lower(), SPELLINGS, n=3)
    near = list(dict.fromkeys(SPELLINGS[spelling] for spelling in spellings))
    known = f"Known without network, and near: {', '.join(near)}. " if near else ""
    return f"{known}A folder with a config.json will do too, or the path of the file: weights are not needed to plan."


def _read_config(file: Path, remote_code: bool) -> Any:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING, AutoConfig

    raw = _read_json(file)
    if "quantization_config" in raw:
        raise PlanError(
            f"{file} is of weights that are quantised already, which lorafit does not train. Plan for the 16-bit "
            "original with model.quantization=nf4: lorafit quantises it while loading."
        )
    own_code = "AutoConfig" in (raw.get("auto_map") or {})
    model_type = "" if own_code and remote_code else _model_type(raw, file, own_code)
    try:
        if not model_type:
            return AutoConfig.from_pretrained(file.parent, local_files_only=True, trust_remote_code=True)
        return CONFIG_MAPPING[model_type].from_dict(raw)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, StrictDataclassError) as error:
        raise PlanError(f"{file} holds what transformers cannot use: {' '.join(str(error).split())}") from error


def _read_json(file: Path) -> Raw:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise PlanError(
            f"{file}, line {error.lineno}, column {error.colno}: not JSON ({error.msg}). "
            "A config.json is one JSON object; fetch the file again or mend the line."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{file} cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise PlanError(f"{file} should hold a JSON object, found {type(raw).__name__}.")
    return raw


def _model_type(raw: Raw, file: Path, own_code: bool) -> str:
    """The `model_type`, once it is known that transformers has a causal language model of it."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as BUILDABLE

    model_type = raw.get("model_type")
    if not isinstance(model_type, str):
        found = ", ".join(list(raw)[:6]) or "nothing"
        raise PlanError(
            f"{file} has no model_type, so it does not say what kind of model it is (found: {found}). "
            'Add it if you know it, e.g. "model_type": "llama".'
        )
    if model_type not in BUILDABLE:
        near = ", ".join(difflib.get_close_matches(model_type, BUILDABLE, n=3))
        raise UnknownArchitecture(
            f"{file}: transformers {transformers.__version__} has no causal language model of model_type "
            f"{model_type!r}.{f' Near: {near}.' if near else ''} Supported are its {len(BUILDABLE)} kinds, among them "
            "llama, mistral, qwen2, qwen3, gemma2, gemma3_text and phi3."
            + (" This model brings its own code: --trust-remote-code runs it." if own_code else ""),
            raw,
        )
    return model_type


def count_parameters_of(config: Any, remote_code: bool = False) -> int:
    """Parameters of a config's causal language model, tied ones once: built whole on the meta device and counted.

    Eighty layers are built in 0.05 s, so nothing is extrapolated. Raises PlanError when it cannot be built.
    """
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            return count_parameters(AutoModelForCausalLM.from_config(config, trust_remote_code=remote_code))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError) as error:
        raise PlanError(f"The model of this config cannot be built: {' '.join(str(error).split())}") from error


def pretty(config: Config) -> str:
    """The model in a line: `Qwen3-8B: 36 layers, width 4096, 8.2 B parameters, vocabulary 151,936`."""
    text = config.config.get_text_config()
    size = _rounded(count_parameters_of(config.config, config.remote_code))
    return (
        f"{Path(config.name).name}: {text.num_hidden_layers} layers, width {text.hidden_size}, {size} parameters, "
        f"vocabulary {text.vocab_size:,}"
    )


def _rounded(count: int) -> str:
    """8,190,735,360 as `8.2 B`, 134,515,008 as `135 M`, 3,000,000 as `3.0 M`."""
    if count >= 999_500_000:
        return f"{count / 1e9:.1f} B"
    return f"{count / 1e6:.0f} M" if count >= 9_950_000 else f"{count / 1e6:.1f} M"


@dataclass(frozen=True, slots=True)
class Estimate:
    """The layer numbers of a model that cannot be built, and its parameters by formula."""

    parameters: int
    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    experts: int
    gated: bool
    tied: bool


def formula_estimate(raw: Raw) -> Estimate:
    """Parameters of a decoder from the usual keys of its config.json: an estimate for what cannot be built.

    Counted are embeddings (and the head, unless tied), four attention projections, the feed-forward part (three
    matrices where it is gated, two where its activation is a plain gelu or relu; times the experts, with their
    router), two norms a layer and a last one. Biases are not, so GPT-2 reads 0.1 % low. Every layer counts as alike.
    Where `tie_word_embeddings` is not given, only GPT-2's kind is taken as tied.

    Raises PlanError that names the keys that are missing.
    """
    if "hidden_size" not in raw and isinstance(raw.get("text_config"), dict):
        raw = raw["text_config"]
    like_gpt2 = "n_embd" in raw
    width = _number(raw, "hidden_size", "n_embd")
    layers = _number(raw, "num_hidden_layers", "n_layer")
    heads = _number(raw, "num_attention_heads", "n_head")
    vocabulary = _number(raw, "vocab_size")
    experts = _number(raw, "num_local_experts", "num_experts")
    of_an_expert = ("moe_intermediate_size",) if experts else ()
    feed_forward = _number(raw, *of_an_expert, "intermediate_size", "n_inner") or (4 * width if like_gpt2 else 0)
    needed = {
        "hidden_size (or n_embd)": width,
        "num_hidden_layers (or n_layer)": layers,
        "num_attention_heads (or n_head)": heads,
        "vocab_size": vocabulary,
        "intermediate_size": feed_forward,
    }
    missing = [key for key, value in needed.items() if not value]
    if missing:
        raise PlanError(
            f"The size of this model cannot be estimated: its config.json gives no number for {', '.join(missing)}."
        )
    kv_heads = _number(raw, "num_key_value_heads") or heads
    head_dim = _number(raw, "head_dim") or width // heads
    gated = not like_gpt2 and not str(raw.get("hidden_act", "")).startswith(("gelu", "relu"))
    tied = bool(raw.get("tie_word_embeddings", like_gpt2))
    attention = 2 * width * (heads + kv_heads) * head_dim
    one_feed_forward = (3 if gated else 2) * width * feed_forward
    layer = attention + max(1, experts) * one_feed_forward + experts * width + 2 * width
    embeddings = (1 if tied else 2) * vocabulary * width + _number(raw, "n_positions") * width
    return Estimate(
        parameters=layers * layer + embeddings + width,
        layers=layers,
        width=width,
        feed_forward=feed_forward,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary=vocabulary,
        experts=experts,
        gated=gated,
        tied=tied,
    )


def _number(raw: Raw, *keys: str) -> int:
    """The first of the keys that holds a positive whole number, else 0."""
    return next((raw[key] for key in keys if type(raw.get(key)) is int and raw[key] > 0), 0)
