"""The data and the base as the advice needs them: counted with the model's tokenizer, weights never touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lorafit import builtin
from lorafit.adapters.targets import in_and_out, linear_layers
from lorafit.data.template import Renderer, choose_template
from lorafit.errors import ModelError, PlanError
from lorafit.model.hub import find_description, load_tokenizer
from lorafit.model.load import count_parameters
from lorafit.observe.console import Console
from lorafit.plan.known_shapes import FULL_NAMES
from lorafit.plan.shapes import Config, config_of
from lorafit.reading import read_data
from lorafit.recipe import parse_recipe
from lorafit.records import Conversation, Sample

PLANNED = 2048  # samples that a plan is made of: it looks at those of 64 updates
ANY_LENGTH = 1 << 20
_READ = {"held_out": 0.0, "bad_rows": "drop", "cut_answers": 1.0, "max_length": ANY_LENGTH}


@dataclass(frozen=True, slots=True)
class Base:
    """A model without its weights. name: as a recipe has it; rank_weights: those that each rank of an adapter on every
    linear layer has; narrowest: the shorter side of its narrowest linear layer, in which a rank has to fit."""

    name: str
    config: Config
    parameters: int
    rank_weights: int
    narrowest: int

    @property
    def shown(self) -> str:
        return Path(self.name.rstrip("/")).name if self.config.origin in ("folder", "hub") else self.name

    @property
    def context(self) -> int | None:
        longest: int | None = getattr(self.config.config.get_text_config(), "max_position_embeddings", None)
        return longest


def base_named(name: str, remote_code: bool = False) -> Base:
    """Raises PlanError when there is no such model or it cannot be built."""
    from transformers import AutoModelForCausalLM

    config = config_of(name, remote_code)
    try:
        with torch.device("meta"):
            empty = AutoModelForCausalLM.from_config(config.config, trust_remote_code=remote_code)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError) as error:
        raise PlanError(f"{name} cannot be built: {' '.join(str(error).split())}") from error
    sides = [in_and_out(layer) for layer in linear_layers(empty).values()]
    if not sides:
        raise PlanError(f"{name} has no linear layers that an adapter could be put on.")
    # A config.json stands for the folder that it lies in, and a known shape for the model on the hub.
    full = {"file": str(Path(name).parent), "known shape": config.name}.get(config.origin, name)
    if config.origin == "known shape":
        full = _full_name(config.name)
    return Base(full, config, count_parameters(empty), sum(map(sum, sides)), min(map(min, sides)))


def _full_name(name: str) -> str:
    """The hub id of a known shape, where it has one with an owner."""
    if f"{name}-hf" in FULL_NAMES:  # Meta's first repositories are not in transformers' form
        return f"{name}-hf"
    shape, _ = FULL_NAMES[name]
    owned = [full for full, (other, _) in FULL_NAMES.items() if other is shape and "/" in full]
    return name if "/" in name or not owned else owned[0]


@dataclass(frozen=True, slots=True)
class Look:
    """What is in the data. Lengths are in tokens: `lengths` of whole samples, `answers` of what is trained on, each
    with p50, p99 and max. samples: those that a plan is made of. stand_in: why the tokens were counted with another
    tokenizer than the model's own; empty where they were not."""

    files: tuple[str, ...]
    rows: int
    tokens: int
    supervised: int
    lengths: dict[str, int]
    answers: dict[str, int]
    texts: bool
    several_turns: int
    languages: dict[str, int]
    rejected: int
    problems: tuple[str, ...]
    conversations: tuple[Conversation, ...]
    samples: tuple[Sample, ...]
    summary: dict[str, Any]
    stand_in: str = ""

    def share_longer(self, length: int) -> float:
        """The share of the planned samples that have more tokens."""
        return sum(len(sample) > length for sample in self.samples) / len(self.samples)

    def cut(self, length: int) -> list[Sample]:
        """The planned samples, bounded to so many tokens."""
        return [Sample(s.token_ids[:length], s.trained[:length], s.source) for s in self.samples]


def look_at(
    files: Sequence[str], base: Base, tokenizer: str | None, console: Console, remote_code: bool = False
) -> Look:
    """Read the data as `lorafit data` does. tokenizer: a folder or hub id whose tokenizer counts, where the model's own
    is not at hand; without one the built-in base's counts then.

    Raises DataError for what cannot be read, ModelError for a tokenizer that was asked for and is not there.
    """
    train = files[0] if len(files) == 1 else list(files)
    recipe = parse_recipe({"model": {"name": base.name}, "data": {"train": train, **_READ}})
    counting, stand_in = _tokenizer(base, tokenizer, remote_code)
    renderer = Renderer(counting, choose_template(counting, recipe.data.template))
    with console.working("reading the data"):
        prepared = read_data(recipe, renderer, base.context, _Mute(), samples=0, in_run=False)
    report, samples = prepared.summary, prepared.training.samples
    conversations = prepared.training.conversations
    problems = [
        one for one in prepared.problems if not one.setting.startswith(("train.", "data.max_length", "data.too_long"))
    ]
    return Look(
        files=tuple(files),
        rows=len(samples),
        tokens=report["training"]["tokens"],
        supervised=report["training"]["supervised_tokens"],
        lengths=_figures(report["lengths"]["sample"]),
        answers=_figures(report["lengths"]["answer"]),
        texts=sum(conversation.is_text for conversation in conversations) > len(conversations) / 2,
        several_turns=sum(len(c.messages) > 3 for c in conversations),
        languages=report["languages"]["counts"],
        rejected=report["rejected"],
        problems=tuple(str(one) for one in problems if one.severity != "note"),
        conversations=conversations,
        samples=tuple(_some(samples)),
        summary=report,
        stand_in=stand_in,
    )


class _Mute(Console):
    """Says nothing at all: what the report holds is said by the advice."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    def warn(self, text: str) -> None:
        pass


def _figures(distribution: dict[str, Any]) -> dict[str, int]:
    return {name: int(distribution.get(name, 0)) for name in ("p50", "p99", "max")}


def _some(samples: Sequence[Sample]) -> list[Sample]:
    """Samples evenly spaced, the longest among them."""
    if len(samples) <= PLANNED:
        return list(samples)
    places = set(np.linspace(0, len(samples) - 1, PLANNED).astype(int).tolist())
    lengths: np.ndarray = samples.lengths  # type: ignore[attr-defined]
    return [samples[i] for i in sorted(places | {int(lengths.argmax())})]


def _tokenizer(base: Base, named: str | None, remote_code: bool) -> tuple[Any, str]:
    """(the tokenizer that counts, why it is not the model's own)."""
    if named is not None:
        path = Path(named).expanduser()
        folder = path if path.is_dir() else find_description(named, remote_code=remote_code)
        return load_tokenizer(folder, remote_code), f"the tokens are counted with the tokenizer of {named}, as asked"
    path = Path(base.name).expanduser()
    try:
        folder = path if path.is_dir() else find_description(base.name, remote_code=remote_code)
        return load_tokenizer(folder, remote_code), ""
    except ModelError as error:
        reason = str(error).partition("\n")[0]
    return load_tokenizer(builtin.MODEL), (
        f"{base.shown}'s own tokenizer is not at hand, so lorafit's built-in one counts, which makes up to 2.5 times "
        f"as many tokens: lengths and memory are on the safe side. Name a better one with --tokenizer. ({reason})"
    )
