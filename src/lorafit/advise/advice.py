"""Advice for one job: the data is read, the task guessed, each method planned, every value given its reason."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lorafit.advise.look import Base, base_named, look_at
from lorafit.advise.methods import ADAPTERS, Method, best_adapter, nearest, plan_methods, with_speed
from lorafit.advise.task import Task, guess_task, task_named
from lorafit.advise.values import MOST_RANK, Basis, Setting, run_words, settings_for
from lorafit.errors import DoesNotFit
from lorafit.observe.console import Console
from lorafit.observe.rules.before import FEW_UPDATES
from lorafit.observe.rules.table import before_a_run
from lorafit.plan.devices import Device, find_device
from lorafit.plan.report import size
from lorafit.recipe import METHODS, Recipe, load_recipe

FEW_ROWS = 100


@dataclass(frozen=True, slots=True)
class Advice:
    """settings: in the order of a recipe; recipe: made of them; methods: each base and method as planned, the one that
    is advised marked. choice: why this base and method; run: what the run will take. warnings: what speaks against it.
    notes: what was taken for granted."""

    task: Task
    why_task: str
    device: str
    settings: tuple[Setting, ...]
    recipe: Recipe
    methods: tuple[Method, ...]
    choice: str
    run: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "version": version("lorafit"),
            "made": time.strftime("%Y-%m-%d"),
            "task": {"name": self.task.name, "words": self.task.words, "why": self.why_task},
            "device": self.device,
            "choice": self.choice,
            "run": self.run,
            "settings": [setting.to_json() for setting in self.settings],
            "methods": [method.to_json() for method in self.methods],
            "recipe": self.recipe.model_dump(mode="json"),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def advice(
    model: str,
    data: str | Sequence[str],
    gpu: str = "this",
    task: str | None = None,
    larger: Sequence[str] = (),
    tokenizer: str | None = None,
    console: Console | None = None,
    remote_code: bool = False,
) -> Advice:
    """Settings for training `model` on `data` (files as in data.train) on the device `gpu` (as in `lorafit plan`).

    task: of `task.TASKS`; guessed when None. larger: other bases that are tried on the same device; the largest that
    fits is advised. tokenizer: a folder or hub id whose tokenizer counts where the model's own is not at hand.

    Raises RecipeError for an unknown task, PlanError for an unknown device or model, DataError for data that cannot be
    read, and DoesNotFit, with what would fit, where no method does.
    """
    console = console or Console(quiet=True)
    asked = task_named(task) if task is not None else None
    device = find_device(gpu)
    bases = [base_named(name, remote_code) for name in (model, *larger)]
    files = [data] if isinstance(data, str) else list(data)
    look = look_at(files, bases[0], tokenizer, console, remote_code)
    guessed, why = guess_task(look.conversations)
    if asked is not None:
        why = "as asked" if asked is guessed else f"as asked; the data looks like {guessed.name}: {why}"
    chosen_task = asked or guessed

    device = with_speed(device)
    bases_of = [Basis(base, look, chosen_task) for base in bases]
    methods: list[list[Method]] = []
    for basis in bases_of:
        with console.working(f"planning {basis.base.shown} on {device.name}"):
            methods.append(_planned(basis, device))
    best = _best(bases_of, methods)
    if best is None:
        with console.working("looking for what would fit"):
            raise _nothing_fits(bases_of[0], methods[0], device)
    at, method = best
    return _advice(bases_of[at], why, device, method, methods, at)


def recipe_of(basis: Basis, method: str) -> Recipe:
    """The recipe of the advised values for one method."""
    return load_recipe(None, (), {setting.key: setting.value for setting in settings_for(basis, method)})


def _planned(basis: Basis, device: Device) -> list[Method]:
    recipes = {name: recipe_of(basis, name) for name in METHODS}
    return plan_methods(basis.base, recipes, basis.look.cut(basis.max_length), device)


def _best(bases: Sequence[Basis], methods: Sequence[Sequence[Method]]) -> tuple[int, Method] | None:
    """(place of the base, its method): of the bases that a method fits plainly the largest, else of those that are
    tight."""
    found = [(at, best) for at, ways in enumerate(methods) if (best := _best_method(bases[at], ways))]
    if not found:
        return None
    plain = [one for one in found if one[1].verdict == "yes"]
    return max(plain or found, key=lambda one: bases[one[0]].base.parameters)


def _best_method(basis: Basis, methods: Sequence[Method]) -> Method | None:
    """An adapter, but where the data brings more than the largest rank holds and full fine-tuning fits."""
    full = next(method for method in methods if method.name == "full")
    if basis.rank_wanted > MOST_RANK and full.verdict == "yes":
        return full
    return best_adapter(methods)


def _advice(
    basis: Basis, why_task: str, device: Device, method: Method, methods: Sequence[Sequence[Method]], at: int
) -> Advice:
    settings = tuple(settings_for(basis, method.name, tuple(methods[at])))
    recipe = load_recipe(None, (), {setting.key: setting.value for setting in settings})
    return Advice(
        task=basis.task,
        why_task=why_task,
        device=device.name,
        settings=settings,
        recipe=recipe,
        methods=tuple(replace(way, chosen=way is method) for ways in methods for way in ways),
        choice=_choice(basis.base, method, methods, at),
        run=run_words(basis, method),
        warnings=tuple(_warnings(basis, method, recipe)),
        notes=tuple(_notes(basis, device, at)),
    )


def _choice(base: Base, method: Method, methods: Sequence[Sequence[Method]], at: int) -> str:
    """Why this base and method, by the plan alone."""
    told = f"{base.shown} with {method.shown}"
    rivals = [best for place, ways in enumerate(methods) if place != at and (best := best_adapter(ways))]
    rivals = [best for best in rivals if best.verdict == "yes"]
    if rivals:
        rival = min(rivals, key=lambda best: best.needed)
        ratio = f"{method.pace / rival.pace:.2g} times the time" if method.pace and rival.pace else "more time"
        return (
            f"{told}: the largest of these bases that fits. Beside {Path(rival.model).name} with {rival.shown} an "
            f"update takes {ratio}, and {size(method.needed)} instead of {size(rival.needed)}. In the QLoRA paper "
            "larger bases in 4 bits answered better than smaller ones in 16; on your data only a comparison tells."
        )
    if len(methods) > 1:
        return f"{told}: of these bases no other fits." if at else f"{told}: no larger base fits."
    return f"{told}: of the adapters that fit the fastest; within 12 % the one that changes the base least."


def _warnings(basis: Basis, method: Method, recipe: Recipe) -> list[str]:
    look, found = basis.look, []
    if look.rows < FEW_ROWS:
        found.append(
            f"{look.rows:,} rows are few: they can teach a form or a tone, hardly knowledge, and that cannot be "
            "measured well. LIMA had 1,000 chosen ones; `lorafit data generate` makes more from texts."
        )
    if basis.updates < FEW_UPDATES:
        found.append(f"Only {basis.updates} updates: fewer than {FEW_UPDATES} hardly change a model. Bring more rows.")
    if method.verdict == "tight":
        found.append(
            f"{method.shown} is tight: {size(method.needed)} of {size(method.budget)}. Where it runs out "
            "of memory, it goes on with smaller passes."
        )
    if basis.task.name == "domain" and look.texts:
        found.append(
            "Texts alone teach how they are written, and not to answer questions about them: train on questions next "
            "(`lorafit data generate`, recipes/domain.yaml)."
        )
    if look.rejected:
        found.append(
            f"{look.rejected:,} rows cannot be used and stop the run: `lorafit data` names them (data.bad_rows)."
        )
    found += look.problems
    settled = recipe.model_dump(mode="json")
    doctor = before_a_run(settled, look.summary, basis.updates, method.trained, basis.base.parameters)
    known = ("too-few-updates", "answers-cut")  # said above, or counted at another length
    return found + [f"{one.title}: {one.evidence}" for one in doctor if one.symptom not in known]


def _notes(basis: Basis, device: Device, at: int) -> list[str]:
    found = [note for note in (basis.look.stand_in, basis.base.config.note, device.note) if note]
    if at:
        found.append("Tokens were counted with the first base's tokenizer; another base's differ somewhat.")
    if basis.base.config.origin in ("known shape", "hub"):
        found.append(f"`lorafit train` will download {basis.base.name}; its weights were not looked at.")
    return found


def _nothing_fits(basis: Basis, methods: Sequence[Method], device: Device) -> DoesNotFit:
    least = min((method for method in methods if method.name in ADAPTERS), key=lambda method: method.needed)
    recipe = recipe_of(basis, "qlora")
    found = nearest(basis.base, recipe, basis.look.cut(basis.max_length), device)
    head = (
        f"No method trains {basis.base.shown} on {device.name}: the least, {least.shown}, needs "
        f"{size(least.needed)} of {size(least.budget)} with samples of up to {basis.max_length:,} tokens and "
        f"rank {basis.rank}."
    )
    nearby = [f"  {sentence}" for sentence in found] or ["  No shorter samples, smaller rank or known model would fit."]
    return DoesNotFit("\n".join([head, *nearby]))
