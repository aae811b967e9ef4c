"""What a recipe leaves open, decided before a run: names, paths, dtype; passes and recomputation by the plan."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lorafit import builtin, hardware
from lorafit.adapters.targets import select
from lorafit.data.prepare import Prepared
from lorafit.data.settings import SourceSettings
from lorafit.data.template import PLAIN_TEMPLATES
from lorafit.errors import DoesNotFit, LorafitError
from lorafit.model.load import empty_model
from lorafit.observe.console import Console
from lorafit.observe.sinks import check_sinks
from lorafit.plan.answer import Plan
from lorafit.plan.devices import find_device
from lorafit.plan.fit import Change, Choice, changes
from lorafit.plan.report import headline, size
from lorafit.plan.settle import Question, settle
from lorafit.plan.watch import PeakWatch
from lorafit.reading import held_out_of
from lorafit.recipe import Recipe
from lorafit.run import RunFolder, check_free, write_json
from lorafit.train.loop import updates_of_stream
from lorafit.train.optim import check_optimizer
from lorafit.train.recompute import check_recompute

# The plan is wrong by more than a run may bear.
WORTH_SAYING = 0.05
# What a model's own code may raise on tensors without memory.
NOT_SIMULATED = (RuntimeError, NotImplementedError, TypeError, ValueError, KeyError, AttributeError, IndexError)


@dataclass(frozen=True, slots=True)
class Planned:
    """What was asked, what was chosen, and the plan of it; no plan for a model that cannot be simulated."""

    question: Question
    choice: Choice
    plan: Plan | None

    def watch(self, model: Any, device: torch.device) -> PeakWatch:
        return PeakWatch(self.question, self.choice, model, device)


def checked(recipe: Recipe, folder: Path, chosen: hardware.Hardware, remote_code: bool) -> Any:
    """What can be refused before anything is read or written: the run's name, its length, the optimizer, the
    targets.

    Returns the model without weights.
    """
    check_free(Path(recipe.output) / str(recipe.name))
    check_sinks(recipe.observe)
    if recipe.data.streaming:
        updates_of_stream(recipe.train)
    check_optimizer(recipe.train.optimizer, chosen.device.type)
    if recipe.train.recompute != "auto":
        check_recompute(recipe.train.recompute, chosen.device.type)
    empty = empty_model(folder, remote_code)
    if recipe.adapter.method == "lora":
        select(empty, recipe.adapter.targets)
    return empty


def resolved(recipe: Recipe, folder: Path, chosen: hardware.Hardware) -> Recipe:
    """The recipe with every `auto` that is decided here written out, and local paths made absolute."""

    def absolute(name: str) -> str:
        path = Path(name).expanduser()
        return str(path.resolve()) if name != builtin.NAME and path.exists() else name

    def found(source: str | SourceSettings) -> str | SourceSettings:
        if isinstance(source, str):
            return absolute(source)
        return source.model_copy(update={"source": absolute(source.source)})

    named_template = recipe.data.template in ("auto", *PLAIN_TEMPLATES)
    held_out, train = held_out_of(recipe), recipe.data.train
    data = recipe.data.model_copy(
        update={
            "train": found(train) if isinstance(train, str) else [found(source) for source in train],
            "held_out": absolute(held_out) if isinstance(held_out, str) else held_out,
            "template": recipe.data.template if named_template else absolute(recipe.data.template),
        }
    )
    rate = recipe.train.learning_rate
    if rate == "auto":
        rate = 2e-5 if recipe.adapter.method == "none" else 2e-4
    return recipe.model_copy(
        update={
            "name": recipe.name or _run_name(recipe),
            "model": recipe.model.model_copy(
                update={
                    "name": absolute(recipe.model.name),
                    "dtype": chosen.dtype_name,
                    # Of a hub model, the very commit: a branch moves.
                    "revision": folder.name if folder.parent.name == "snapshots" else recipe.model.revision,
                }
            ),
            "data": data,
            "train": recipe.train.model_copy(update={"learning_rate": rate}),
        }
    )


def planned(
    recipe: Recipe, config: Any, data: Prepared, chosen: hardware.Hardware, remote_code: bool, console: Console
) -> Planned:
    """What the run will need, and what `auto` leaves open decided.

    Raises DoesNotFit, with the changes that would make it fit.
    """
    device = find_device(chosen.device.type)
    model = recipe.model.model_copy(update={"dtype": chosen.dtype_name})
    name = Path(recipe.model.name).name
    samples, train = data.training.samples, recipe.train
    if data.stream:  # of its first window, the plan then counts as many updates as the run has
        train = train.model_copy(update={"epochs": float(updates_of_stream(train))})
    question = Question(
        name, config, model, recipe.adapter, train, device, samples, recipe.data.max_length, remote_code
    )
    try:
        with console.working("planning"):
            choice, plan = settle(question)
    except NOT_SIMULATED as error:
        if isinstance(error, LorafitError):
            raise
        reason = " ".join(str(error).split())[:160]
        console.warn(f"{name} cannot be simulated ({type(error).__name__}: {reason}): the run is not planned.")
        return Planned(question, question.start(), None)
    console.show(headline(plan))
    if plan.verdict == "no":
        with console.working("looking for what would fit"):
            found = changes(question.job_of, choice, device, question.tokens_of)
        raise DoesNotFit(_what_would_fit(plan, found))
    return Planned(question, choice, plan)


def _what_would_fit(plan: Plan, found: Sequence[Change]) -> str:
    settings = plan.settings
    lines = [
        f"This run needs {size(plan.needed)}, and {size(plan.budget)} are free on {plan.device} (planned with "
        f"{settings['tokens_per_pass']:,} tokens a pass, recompute {settings['recompute']})."
    ]
    for change in found:
        fits = "fits" if change.fits else "not enough alone"
        lines.append(f"  {change.sentence}: {' '.join(change.overrides)} ({size(change.saved)} less; {fits})")
    if not any(change.fits for change in found):
        lines.append("  No single setting is enough: `lorafit plan ... --fit` tries them together.")
    return "\n".join(lines)


def settled(recipe: Recipe, choice: Choice) -> Recipe:
    """The recipe with what the plan decided, so that a repeated run takes the same passes."""
    settled = {"tokens_per_pass": choice.tokens_per_pass, "recompute": choice.recompute}
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=settled)})


def compare(run: RunFolder, console: Console, plan: Plan, watch: PeakWatch) -> None:
    """Predicted against measured, into plan.json; said when they differ by more than a run may bear."""
    found = watch.compared()
    if found is None:
        return
    write_json(run.plan, {**plan.to_json(), "measured": dataclasses.asdict(found)})
    if abs(found.difference) > WORTH_SAYING:
        console.warn(
            f"update {found.update} peaked at {size(found.measured)} of tensors where the plan says "
            f"{size(found.predicted)} ({found.difference:+.1%})."
        )


def _run_name(recipe: Recipe) -> str:
    """Model, data, method and time, such as `stories260K-e2e-qlora-20261121-083000`."""
    method = "full" if recipe.adapter.method == "none" else "lora"
    if recipe.model.quantization != "none":
        method = "qlora" if recipe.model.quantization == "nf4" else "int8"
    model = Path(recipe.model.name.rstrip("/")).name.removeprefix("modelscope:")
    first = recipe.data.train if isinstance(recipe.data.train, str) else recipe.data.train[0]
    data = Path(first if isinstance(first, str) else first.source).stem
    return "-".join((model, data, method, time.strftime("%Y%m%d-%H%M%S")))
