"""The whole run as one frozen object: YAML, `key=value` overrides and flags, parsed once, every fault reported."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from lorafit.adapters.settings import AdapterSettings
from lorafit.data.settings import DataSettings
from lorafit.errors import RecipeError
from lorafit.evaluate.settings import EvaluateSettings
from lorafit.model.settings import ModelSettings
from lorafit.observe.settings import ObserveSettings
from lorafit.settings import Settings
from lorafit.train.settings import TrainSettings

Method = Literal["lora", "qlora", "int8", "full"]

# `--method` is shorthand: QLoRA is LoRA on a quantised base, full fine-tuning is no adapter.
METHODS: dict[str, dict[str, str]] = {
    "lora": {"model.quantization": "none", "adapter.method": "lora"},
    "qlora": {"model.quantization": "nf4", "adapter.method": "lora"},
    "int8": {"model.quantization": "int8", "adapter.method": "lora"},
    "full": {"model.quantization": "none", "adapter.method": "none"},
}

# What other tools call our settings, so that their users are pointed to ours.
FOREIGN_NAMES = {
    "model_name_or_path": "model.name",
    "base_model": "model.name",
    "load_in_4bit": "model.quantization",
    "quantization_bit": "model.quantization",
    "dataset": "data.train",
    "datasets": "data.train",
    "val_size": "data.held_out",
    "val_set_size": "data.held_out",
    "cutoff_len": "data.max_length",
    "sequence_len": "data.max_length",
    "chat_template": "data.template",
    "finetuning_type": "adapter.method",
    "lora_r": "adapter.rank",
    "r": "adapter.rank",
    "lora_rank": "adapter.rank",
    "lora_alpha": "adapter.alpha",
    "lora_dropout": "adapter.dropout",
    "lora_target": "adapter.targets",
    "lora_target_modules": "adapter.targets",
    "target_modules": "adapter.targets",
    "per_device_train_batch_size": "train.batch_size",
    "gradient_accumulation_steps": "train.batch_size",
    "micro_batch_size": "train.batch_size",
    "lr": "train.learning_rate",
    "num_train_epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "max_steps": "train.max_updates",
    "lr_scheduler_type": "train.schedule",
    "warmup_ratio": "train.warmup",
    "max_grad_norm": "train.max_gradient_norm",
    "save_steps": "train.checkpoint_every",
    "eval_steps": "train.validate_every",
    "output_dir": "output",
}


class Recipe(Settings):
    """One run. Write it as YAML, or build it in Python: `Recipe(model={"name": ...}, data={"train": ...})`."""

    name: str | None = Field(None, coerce_numbers_to_str=True)
    """The run's name, its folder under `output`; made from model, method and time when absent."""

    output: str = "runs"
    """The folder that holds the run folders."""

    model: ModelSettings
    """The base model."""

    data: DataSettings
    """What to train on."""

    adapter: AdapterSettings = AdapterSettings()
    """What is trained."""

    train: TrainSettings = TrainSettings()
    """How it is trained."""

    evaluate: EvaluateSettings = EvaluateSettings()
    """What is looked at afterwards."""

    observe: ObserveSettings = ObserveSettings()
    """What is shown meanwhile."""

    def __init__(self, **content: Any) -> None:
        """Raises RecipeError with every fault together, each with its path, the value found and the nearest name."""
        try:
            super().__init__(**content)
        except ValidationError as error:
            faults = tuple(_messages(error))
            raise RecipeError(_report(faults, "the recipe"), faults) from None

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, name: str | None) -> str | None:
        if name is not None and (
            not name.strip(". ") or len(name.encode()) > 200 or re.search(r"[/\\\x00-\x1f]", name)
        ):
            raise ValueError("a run's name becomes a folder: no slashes, not only dots, at most 200 bytes")
        return name

    @model_validator(mode="after")
    def _is_possible(self) -> Recipe:
        if self.adapter.method == "none" and self.model.quantization != "none":
            raise ValueError(
                f"full fine-tuning (adapter.method=none) cannot train a base in {self.model.quantization}, whose "
                "weights are frozen in that form; use model.quantization=none, or adapter.method=lora"
            )
        return self

    def to_yaml(self) -> str:
        """The recipe with every default written out, in the order of the fields."""
        content = self.model_dump(mode="json")
        # PyYAML writes the line breaks of Unicode as they are, and reads them as spaces; escaped they stay.
        readable = not set("\x85\u2028\u2029") & set(json.dumps(content, ensure_ascii=False))
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=readable, width=120)


def load_recipe(
    path: str | Path | None = None, overrides: Iterable[str] = (), flags: dict[str, Any] | None = None
) -> Recipe:
    """Read a recipe: the YAML file, then `flags` (dotted names to values), then `key=value` overrides.

    Raises RecipeError with all faults together, each with its path and the value found.
    """
    content = read_content(Path(path)) if path else {}
    faults: list[str] = []
    for key, value in (flags or {}).items():
        _put(content, key, value)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            faults.append(f"{override!r}: an override is written key=value, for instance train.epochs=2")
            continue
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        if not _put(content, key.strip(), value):
            part, _, last = key.strip().rpartition(".")
            faults.append(f"{override!r}: {part} is a single value and has no part {last!r}")
    return parse_recipe(content, faults, str(path) if path else "the command line")


def parse_recipe(content: dict[str, Any], faults: list[str] | None = None, where: str = "the recipe") -> Recipe:
    """A Recipe from a nested mapping. Raises RecipeError with every fault, `faults` first."""
    # A part whose lines are all commented out is empty, not wrong.
    parts = {name.partition(".")[0] for name, _, _ in settings_table() if "." in name}
    content = {str(key): {} if value is None and key in parts else value for key, value in content.items()}
    found = list(faults or [])
    try:
        recipe = Recipe.model_validate(content)
    except RecipeError as error:
        found += error.faults
        raise RecipeError(_report(found, where), tuple(found)) from None
    if found:
        raise RecipeError(_report(found, where), tuple(found))
    return recipe


def settings_table() -> Iterator[tuple[str, str, str]]:
    """(dotted name, default as text, description) of every setting, in order: for --help and the studio."""
    yield from _walk(Recipe, "")


def _walk(part: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in part.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _walk(inner, f"{prefix}{name}.")
        else:
            default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
            yield f"{prefix}{name}", default, field.description or ""


def _shown(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _report(faults: Sequence[str], where: str) -> str:
    head = "One fault" if len(faults) == 1 else f"{len(faults)} faults"
    return f"{head} in {where}:\n" + "\n".join(f"  {fault}" for fault in faults)


def read_content(path: Path) -> dict[str, Any]:
    """What a recipe's file says, not looked at yet. Raises RecipeError where it cannot be read or holds no mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        near = [p.name for p in sorted(path.parent.glob("*.y*ml"))] if path.parent.is_dir() else []
        there = f"recipes in {path.parent}: {', '.join(near)}." if near else f"{path.parent} holds no recipe."
        raise RecipeError(f"No recipe {path}: {there}") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"The recipe {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"The recipe {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise RecipeError(f"The recipe {path} should hold `key: value` pairs, found {kind}.")
    return content


def _put(content: dict[str, Any], key: str, value: Any) -> bool:
    """Set a dotted key, making the parts on the way; False when a part on the way is a single value."""
    *parts, last = key.split(".")
    for part in parts:
        inner = content.setdefault(part, {})
        if not isinstance(inner, dict):
            return False
        content = inner
    content[last] = value
    return True


def _messages(error: ValidationError) -> list[str]:
    table = {name: (default, description) for name, default, description in settings_table()}
    known = list(table)
    messages: dict[str, str] = {}
    for fault in error.errors():
        # The location of a union member has the member's type appended ("train.learning_rate.float"): keep the path.
        path = _known_path(tuple(str(part) for part in fault["loc"]), known)
        if fault["type"] == "extra_forbidden":
            near = _nearest(path, known)
            messages[path] = f"{path}: unknown key (value {fault['input']!r}). {near}"
        elif fault["type"] == "missing":
            # Of a part that is missing, name what has to be in it.
            for name, (default, description) in table.items():
                if default == "required" and (name == path or name.startswith(f"{path}.")):
                    messages[name] = f"{name}: missing. {description}"
        elif fault["type"] == "model_type":
            messages[path] = f"{path}: found {fault['input']!r}; input should be a mapping of its keys"
        else:
            text = fault["msg"].removeprefix("Value error, ")
            text = text[0].lower() + text[1:]
            if not path:  # of several settings together
                messages[text] = text
            elif path in messages:
                messages[path] += f", or {text}"
            else:
                messages[path] = f"{path}: found {fault['input']!r}; {text}"
    return list(messages.values())


def _known_path(location: tuple[str, ...], known: list[str]) -> str:
    for end in range(len(location), 0, -1):
        path = ".".join(location[:end])
        if path in known:
            return path
    return ".".join(location)


def _nearest(path: str, known: list[str]) -> str:
    last = path.rpartition(".")[2]
    same_last = [name for name in known if name.rpartition(".")[2] == last]
    if same_last:
        return f"Did you mean {' or '.join(same_last)}?"
    if last in FOREIGN_NAMES:
        return f"lorafit calls it {FOREIGN_NAMES[last]}."
    parts = list(dict.fromkeys(name.partition(".")[0] for name in known))
    lasts = {name.rpartition(".")[2]: name for name in [*known, *parts]}
    by_path = difflib.get_close_matches(path, known, n=1, cutoff=0.75)
    by_last = [lasts[match] for match in difflib.get_close_matches(last, lasts, n=1, cutoff=0.6)]
    near = by_path or by_last
    if near:
        return f"Did you mean {near[0]}?"
    siblings = [name for name in known if name.startswith(f"{path.partition('.')[0]}.")]
    return f"Valid keys: {', '.join(siblings or parts)}."
