"""`lorafit plan`: a recipe and a device to a plan on the terminal and in plan.json."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lorafit.adapters.settings import AdapterSettings
from lorafit.errors import DoesNotFit, PlanError
from lorafit.export.gguf.families import supports
from lorafit.observe.console import Console
from lorafit.plan.answer import Plan, budget_of
from lorafit.plan.devices import Device, find_device, measure_cpu
from lorafit.plan.fit import Candidate, Change, Choice, changes, grid
from lorafit.plan.report import candidates_table, explanation, figure, size
from lorafit.plan.settle import Question, best_fits, settle
from lorafit.plan.shapes import Config, UnknownArchitecture, config_of, formula_estimate, pretty
from lorafit.plan.simulate import Job
from lorafit.plan.table import LENGTHS, METHODS, fits_table, table_lines
from lorafit.reading import samples_of
from lorafit.recipe import METHODS as RECIPE_METHODS
from lorafit.recipe import Recipe
from lorafit.records import Sample
from lorafit.run import write_json
from lorafit.settings import Settings

LEAST_RANK, LEAST_LENGTH = 4, 256  # as far as a search goes when it may
TABLE_CARDS = ("8GB", "12GB", "16GB", "24GB", "40GB", "48GB", "80GB")


def plan_recipe(
    recipe: Recipe,
    gpu: str,
    cards: Path | None,
    with_data: bool,
    free_method: bool,
    fit: bool,
    table: bool,
    explain: bool,
    to: Path | None,
    remote_code: bool,
    allow: Collection[str] = (),
) -> int:
    """Print the plan; the exit code says whether it fits (0) or not (3). allow: what else `fit` may change, `rank` or
    `length`.

    Raises PlanError and RecipeError for what cannot be understood.
    """
    console = Console()
    if to is not None and not to.parent.is_dir():
        raise PlanError(f"--json {to}: there is no folder {to.parent}.")
    device = find_device(gpu, cards)
    try:
        config = config_of(recipe.model.name, remote_code, recipe.model.revision)
    except UnknownArchitecture as error:
        return _estimated(console, error, recipe, device)
    console.say(pretty(config))
    for note in filter(None, (config.note, "" if table else device.note)):
        console.say(note, style="dim")
    if table:
        _show_table(console, recipe, config)
        return 0
    device = with_speed(device)
    samples = samples_of(recipe, remote_code, console) if with_data else None
    question = question_of(recipe, config, device, samples, remote_code)
    if question.ways.reason:
        console.say(f"{question.ways.reason}: one example a row")
    candidates: tuple[Candidate, ...] = ()
    if fit:
        choice, candidates = _search(console, question, free_method and "quantization" not in _set(recipe.model), allow)
        planned = Planned(question, choice, question.plan(choice))
    else:
        with console.working("simulating the step"):
            planned = Planned(question, *settle(question))
    with console.working("looking for what would change it"):
        found = planned.changes
    plan = planned.plan
    console.show(figure(plan, found))
    if unsupported := supports(config.config):
        console.say(f"note: {unsupported}")
    if candidates:
        console.show(candidates_table(candidates, question.tokens_of))
        settings = planned.choice.overrides(question.start())
        if plan.verdict != "no" and settings:
            console.say(f"to train so: lorafit train ... {' '.join(settings)}")
    if explain:
        for line in explanation(plan, device.source):
            console.say(f"  {line}", style="dim")
    if to is not None:
        write_json(to, planned.to_json())
    return DoesNotFit.exit_code if plan.verdict == "no" else 0


@dataclass(frozen=True)
class Planned:
    """A plan, and the settings that it is of; what is open in them (`auto`) is settled."""

    question: Question
    choice: Choice
    plan: Plan

    @functools.cached_property
    def changes(self) -> tuple[Change, ...]:
        """What would change it: found when first asked for, which takes about as long as the plan."""
        question = self.question
        return changes(question.job_of, self.choice, question.device, question.tokens_of)

    def to_json(self) -> dict[str, Any]:
        return {**self.plan.to_json(), "changes": [asdict(change) for change in self.changes]}


def question_of(
    recipe: Recipe, config: Config, device: Device, samples: Sequence[Sample] | None, remote_code: bool = False
) -> Question:
    """What a plan of a recipe is asked about. samples: as `reading.samples_of` gives them, None without data.

    Raises PlanError for samples longer than the model was made for.
    """
    return Question(
        _shown(config),
        config.config,
        recipe.model,
        recipe.adapter,
        recipe.train,
        device,
        samples,
        _length(recipe, config),
        remote_code,
    )


def with_speed(device: Device) -> Device:
    """This machine's CPU with its speeds, which nobody knows by name: measured now."""
    if device.kind != "cpu" or device.free_bytes is None:
        return device
    rate, bandwidth = measure_cpu()
    return replace(device, matrix_rate=rate, bandwidth=bandwidth)


def _length(recipe: Recipe, config: Config) -> int:
    """Tokens a sample: as asked, or what is usual and the model can take."""
    asked = recipe.data.max_length
    return asked if "max_length" in _set(recipe.data) else min(asked, _context(config) or asked)


def _shown(config: Config) -> str:
    """A model's name without the way to it on this disk."""
    path = Path(config.name).expanduser().resolve()
    return {"folder": path.name, "file": path.parent.name}.get(config.origin, config.name)


def _context(config: Config) -> int | None:
    longest: int | None = getattr(config.config.get_text_config(), "max_position_embeddings", None)
    return longest


def _set(settings: Settings) -> set[str]:
    """The settings that the user gave."""
    return settings.model_fields_set


def _search(
    console: Console, question: Question, free_base: bool, allow: Collection[str] = ()
) -> tuple[Choice, tuple[Candidate, ...]]:
    """The best choice and all that were tried; what the user has set stays as it is."""
    start, train = question.start(), question.train
    full = question.adapter.method == "none"
    smallest = replace(start, tokens_per_pass=question.fewest_tokens())
    ranks = _halved(question.adapter.rank, LEAST_RANK) if "rank" in allow else ()
    lengths = _halved(question.length, LEAST_LENGTH) if "length" in allow else ()
    choices = [
        choice
        for choice in grid(smallest, question.device.kind, full, free_base, ranks, lengths)
        if (train.recompute == "auto" or choice.recompute == train.recompute)
        and ("optimizer" not in _set(train) or choice.optimizer == train.optimizer)
    ]
    largest = None if train.tokens_per_pass == "auto" else start.tokens_per_pass
    with console.working("searching settings", total=len(choices)) as advance:
        seen = 0

        def progress(done: int, total: int, candidate: Candidate) -> None:
            nonlocal seen
            advance(max(0, done - seen))
            seen = max(seen, done)

        candidates = best_fits(question, choices, largest, progress)
        advance(len(choices) - seen)  # what was passed over
    return (candidates[0].choice if candidates else start), candidates


def _halved(value: int, least: int) -> tuple[int, ...]:
    """The value halved again and again, as long as it is not below `least`."""
    return tuple(value >> times for times in range(1, value.bit_length()) if value >> times >= least)


def _show_table(console: Console, recipe: Recipe, config: Config) -> None:
    cards = [(name, find_device(name)) for name in TABLE_CARDS]
    lengths = [length for length in LENGTHS if length <= (_context(config) or length)]
    if not lengths:
        raise PlanError(
            f"--table is of {min(LENGTHS)} tokens a sample and more; {_shown(config)} takes {_context(config)}."
        )
    _, largest = cards[-1]  # all are alike but for their size

    @functools.cache
    def question(adapter_method: str) -> Question:
        adapter = AdapterSettings(**{**recipe.adapter.model_dump(), "method": adapter_method})
        return Question(
            _shown(config),
            config.config,
            recipe.model,
            adapter,
            recipe.train,
            largest,
            length=max(lengths),
            remote_code=config.remote_code,
        )

    def job_of(method: str, length: int, recompute: str) -> Job:
        settings: dict[str, Any] = RECIPE_METHODS[method]
        asked = question(settings["adapter.method"])
        changed = {"quantization": settings["model.quantization"], "recompute": recompute}
        return asked.job_of(replace(asked.start(), **changed, tokens_per_pass=length, max_length=length))

    with console.working("simulating", total=2 * len(METHODS) * len(lengths)) as advance:
        lines = list(table_lines(job_of, largest.context_bytes, lengths, advance))
    console.show(fits_table(lines, cards, f"{_shown(config)}: one sample of so many tokens a pass"))


def _estimated(console: Console, error: UnknownArchitecture, recipe: Recipe, device: Device) -> int:
    """What a formula can say of a model that cannot be built: its weights, no more."""
    estimate = formula_estimate(error.raw)
    bits = {"none": 16.0, "int8": 8.0, "nf4": 4.13}[recipe.model.quantization]
    weights = round(estimate.parameters * bits / 8)
    console.warn(str(error))
    console.say(
        f"ESTIMATE by formula, not a simulation: {estimate.parameters / 1e9:.2f} B parameters, {size(weights)} of "
        f"weights in {bits:g} bits, of {size(budget_of(device))}; activations and the rest are not in it."
    )
    return DoesNotFit.exit_code if weights > budget_of(device) else 0
