"""`lorafit plan`: a recipe and a device to a plan on the terminal and in plan.json."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lorafit.adapters.settings import AdapterSettings
from lorafit.errors import DoesNotFit
from lorafit.observe.console import Console
from lorafit.pipeline import samples_of
from lorafit.plan.devices import Device, find_device, measure_cpu
from lorafit.plan.fit import Candidate, Choice, changes, grid
from lorafit.plan.report import candidates_table, explanation, figure, size
from lorafit.plan.settle import FEWEST_TOKENS, Question, best_fits, settle
from lorafit.plan.shapes import Config, UnknownArchitecture, config_of, formula_estimate, pretty
from lorafit.plan.simulate import Job
from lorafit.plan.table import LENGTHS, METHODS, fits_table, table_lines
from lorafit.recipe import METHODS as RECIPE_METHODS
from lorafit.recipe import Recipe
from lorafit.run import write_text

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
) -> int:
    """Print the plan; the exit code says whether it fits (0) or not (3).

    Raises PlanError and RecipeError for what cannot be understood.
    """
    console = Console()
    device = with_speed(find_device(gpu, cards))
    try:
        config = config_of(recipe.model.name, remote_code, recipe.model.revision)
    except UnknownArchitecture as error:
        return _estimated(console, error, recipe, device)
    console.say(pretty(config))
    for note in filter(None, (config.note, device.note)):
        console.say(note, style="dim")
    samples = samples_of(recipe, remote_code, console) if with_data else None
    question = Question(
        config.name,
        config.config,
        recipe.model,
        recipe.adapter,
        recipe.train,
        device,
        samples,
        recipe.data.max_length,
        remote_code,
    )
    if table:
        _show_table(console, question, config)
        return 0
    if question.ways.reason:
        console.say(f"{question.ways.reason}: one example a row")
    candidates: tuple[Candidate, ...] = ()
    if fit:
        choice, candidates = _search(console, question, free_method)
        plan = question.plan(choice)
    else:
        with console.working("simulating the step"):
            choice, plan = settle(question)
    with console.working("looking for what would change it"):
        found = changes(question.job_of, choice, device, question.tokens_of)
    console.show(figure(plan, found))
    if candidates:
        console.show(candidates_table(candidates, question.tokens_of))
        settings = choice.overrides(question.start())
        if plan.verdict != "no" and settings:
            console.say(f"to train so: lorafit train ... {' '.join(settings)}")
    if explain:
        for line in explanation(plan, device.source):
            console.say(f"  {line}", style="dim")
    if to is not None:
        content = {**plan.to_json(), "changes": [asdict(change) for change in found]}
        write_text(to, json.dumps(content, ensure_ascii=False, indent=2, default=str) + "\n")
    return DoesNotFit.exit_code if plan.verdict == "no" else 0


def with_speed(device: Device) -> Device:
    """This machine's CPU with its speeds, which nobody knows by name: measured now."""
    if device.kind != "cpu" or device.free_bytes is None:
        return device
    rate, bandwidth = measure_cpu()
    return replace(device, matrix_rate=rate, bandwidth=bandwidth)


def _search(console: Console, question: Question, free_method: bool) -> tuple[Choice, tuple[Candidate, ...]]:
    start = question.start()
    full = question.adapter.method == "none"
    smallest = replace(start, tokens_per_pass=min(start.tokens_per_pass, FEWEST_TOKENS))
    choices = grid(smallest, question.device.kind, full, free_base=free_method)
    with console.working("searching settings", total=len(choices)) as advance:
        seen = 0

        def progress(done: int, total: int, candidate: Candidate) -> None:
            nonlocal seen
            advance(done - seen)
            seen = done

        candidates = best_fits(question, choices, progress)
    return (candidates[0].choice if candidates else start), candidates


def _show_table(console: Console, question: Question, config: Config) -> None:
    start = question.start()

    def job_of(method: str, length: int, recompute: str) -> Job:
        settings = RECIPE_METHODS[method]
        asked = replace(
            question,
            length=length,
            samples=None,
            adapter=AdapterSettings(**{**question.adapter.model_dump(), "method": settings["adapter.method"]}),
        )
        quantization: Any = settings["model.quantization"]
        return asked.job_of(replace(start, quantization=quantization, recompute=recompute, tokens_per_pass=length))

    longest = getattr(config.config.get_text_config(), "max_position_embeddings", None) or max(LENGTHS)
    lengths = [length for length in LENGTHS if length <= longest]
    sized = [(name, find_device(name)) for name in TABLE_CARDS]
    context = sized[0][1].context_bytes
    with console.working("simulating", total=2 * len(METHODS) * len(lengths)) as advance:
        lines = list(table_lines(job_of, context, lengths, advance))
    console.show(fits_table(lines, sized, f"{config.name}: one sample of so many tokens a pass"))


def _estimated(console: Console, error: UnknownArchitecture, recipe: Recipe, device: Device) -> int:
    """What a formula can say of a model that cannot be built: its weights, no more."""
    estimate = formula_estimate(error.raw)
    bits = {"none": 16.0, "int8": 8.0, "nf4": 4.13}[recipe.model.quantization]
    weights = round(estimate.parameters * bits / 8)
    console.warn(str(error))
    console.say(
        f"ESTIMATE by formula, not a simulation: {estimate.parameters / 1e9:.2f} B parameters, {size(weights)} of "
        f"weights in {bits:g} bits, of {size(device.memory_bytes)}; activations and the rest are not in it."
    )
    return DoesNotFit.exit_code if weights > device.memory_bytes else 0
