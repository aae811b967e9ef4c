"""The data of a recipe, read and rendered for its model: no weights are needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lorafit import builtin, hardware
from lorafit.data.batches import count_updates
from lorafit.data.inspect import EXAMPLES, Base, data_report
from lorafit.data.lines import report_lines
from lorafit.data.prepare import Prepared, prepare_data
from lorafit.data.problems import Problem, by_severity
from lorafit.data.sources import describe_sources
from lorafit.data.template import Renderer, choose_template
from lorafit.model.hub import find_description, load_tokenizer, read_config
from lorafit.model.load import empty_model, longest_sequence
from lorafit.observe.console import Console
from lorafit.observe.rules.before import too_few_updates
from lorafit.observe.rules.facts import Facts
from lorafit.recipe import Recipe, parse_recipe
from lorafit.records import Sample

THOUSANDTHS = 1000  # of the bytes read, as the bar counts them


def model_of(recipe: Recipe, remote_code: bool) -> tuple[Path, hardware.Hardware, Any]:
    chosen = hardware.choose(recipe.model.device, recipe.model.dtype)
    folder = find_description(recipe.model.name, recipe.model.revision, remote_code)
    return folder, chosen, load_tokenizer(folder, remote_code)


def read(recipe: Recipe, tokenizer: Any, empty: Any, console: Console) -> tuple[Renderer, Prepared]:
    base = base_of(recipe.model.name, tokenizer)  # before it is given the template of the run
    renderer = Renderer(tokenizer, choose_template(tokenizer, recipe.data.template))
    tokenizer.chat_template = renderer.template.jinja  # so that every folder saved with this tokenizer carries it
    return renderer, read_data(recipe, renderer, longest_sequence(empty), console, base)


def read_again(recipe: Recipe, remote_code: bool, console: Console) -> tuple[hardware.Hardware, Renderer, Prepared]:
    """What a run that exists already is carried out with; its recipe is settled."""
    folder, chosen, tokenizer = model_of(recipe, remote_code)
    return chosen, *read(recipe, tokenizer, empty_model(folder, remote_code), console)


def samples_of(recipe: Recipe, remote_code: bool, console: Console) -> Sequence[Sample]:
    """The training samples of a recipe, without the model's weights or its device (`lorafit plan` with data)."""
    folder = find_description(recipe.model.name, recipe.model.revision, remote_code)
    tokenizer = load_tokenizer(folder, remote_code)
    renderer = Renderer(tokenizer, choose_template(tokenizer, recipe.data.template))
    longest = longest_sequence(empty_model(folder, remote_code))
    return read_data(recipe, renderer, longest, console).training.samples


def look_at_data(
    model: str,
    data: dict[str, Any],
    train: dict[str, Any],
    console: Console,
    samples: int = EXAMPLES,
    remote_code: bool = False,
) -> tuple[Prepared, dict[str, Any]]:
    """The data report of files for one model, of which only the tokenizer is needed. data, train: parts of a recipe.

    Bad rows are counted, and answers may be cut: the report says how many.
    """
    counting = {"bad_rows": "drop", "cut_answers": 1.0}
    recipe = parse_recipe({"model": {"name": model}, "data": {**data, **counting}, "train": train})
    path = Path(model).expanduser()
    folder = path if path.is_dir() else find_description(model, remote_code=remote_code)
    tokenizer = load_tokenizer(folder, remote_code)
    base = base_of(recipe.model.name, tokenizer)
    renderer = Renderer(tokenizer, choose_template(tokenizer, recipe.data.template))
    config = read_config(folder) if (folder / "config.json").is_file() else {}
    prepared = read_data(recipe, renderer, _longest(config), console, base, samples, in_run=False)
    return prepared, {**prepared.summary, "warnings": list(prepared.warnings)}


def _longest(config: dict[str, Any]) -> int | None:
    """`longest_sequence` of a config that no model is made of."""
    text = config.get("text_config")
    for part in (text if isinstance(text, dict) else {}, config):
        for name in ("max_position_embeddings", "n_positions"):
            if isinstance(part.get(name), int):
                return int(part[name])
    return None


def base_of(name: str, tokenizer: Any) -> Base:
    """name: of the model; tokenizer: as it was loaded."""
    own = bool(tokenizer.chat_template)
    end_of_turn = Renderer(tokenizer, choose_template(tokenizer)).facts().end_of_turn if own else ()
    try:
        stops = json.loads((Path(tokenizer.name_or_path) / "generation_config.json").read_text(encoding="utf-8")).get(
            "eos_token_id"
        )
    except (OSError, ValueError, AttributeError):
        stops = None  # the file is no part of what a base needs
    ids = [one for one in (stops if isinstance(stops, list) else [stops]) if isinstance(one, int)]
    return Base(name, own, end_of_turn, tuple(map(str, tokenizer.convert_ids_to_tokens(ids))))


def held_out_of(recipe: Recipe) -> float | str:
    """As asked; the built-in data brings a held-out file of its own."""
    brought = recipe.data.train == builtin.NAME and "held_out" not in recipe.data.model_fields_set
    return builtin.NAME if brought else recipe.data.held_out


def read_data(
    recipe: Recipe,
    renderer: Renderer,
    longest: int | None,
    console: Console,
    base: Base | None = None,
    samples: int = EXAMPLES,
    in_run: bool = True,
) -> Prepared:
    """Read and render the data; what it gives has the whole data report in `summary`, and a short one was shown.

    longest: the model's own limit, which bounds data.max_length. in_run: the doctor looks at the run, too.
    """
    data = recipe.data.model_copy(update={"held_out": held_out_of(recipe)})
    if longest is not None and longest < data.max_length:
        console.say(f"samples are bounded to the model's {longest} tokens (data.max_length is {data.max_length})")
        data = data.model_copy(update={"max_length": longest})
    files = []
    for held_out in (False, True) if isinstance(data.held_out, str) else (False,):
        for description in describe_sources(data, held_out):
            files.append(str(description))
            console.say(str(description))
            for remark in description.notes:
                console.warn(remark)
    with console.working("reading the data", total=THOUSANDTHS) as advance:
        shown = 0

        def progress(done: int, total: int, file: str) -> None:
            nonlocal shown
            now = THOUSANDTHS * done // max(1, total)
            advance(max(0, now - shown))
            shown = max(shown, now)

        prepared = prepare_data(renderer, data, recipe.train.seed, progress)
    if prepared.cached:
        console.say("tokenised before: taken from the cache")
    if prepared.stream:
        console.say(f"streaming, in windows of {data.stream_window:,} rows: what follows is told of the first")
    elif data.streaming:
        console.say(
            f"all rows are in one window ({data.stream_window:,} rows): an ordinary run, of train.epochs at most"
        )
    prepared = _reported(prepared, recipe, renderer, longest, base, samples, in_run, files)
    for problem in prepared.problems:
        if in_run and problem.symptom:
            continue  # the doctor says it as training begins
        if problem.severity == "note":
            console.say(f"note: {problem}")
        else:
            console.warn(str(problem))
    for what, figure in report_lines(prepared.summary):
        console.say(f"{what:>10}  {figure}")
    return prepared


def _reported(
    prepared: Prepared,
    recipe: Recipe,
    renderer: Renderer,
    longest: int | None,
    base: Base | None,
    samples: int,
    in_run: bool,
    files: list[str],
) -> Prepared:
    train = recipe.train
    if prepared.stream:
        updates = train.max_updates or 0  # the run asks for it
    else:
        updates = count_updates(len(prepared.training), train.batch_size, train.epochs, train.max_updates)
    more: dict[str, Any] = {
        "files": files,
        "first_window": prepared.stream is not None,
        "longest_of_model": longest,
        "updates": {
            "count": updates,
            "epochs": train.epochs,
            "batch_size": train.batch_size,
            "max_updates": train.max_updates,
        },
    }
    problems = [_within(one, prepared.summary["max_length"], longest) for one in prepared.problems]
    if base is not None:
        looks, evidence = base.judgement()
        more["base"] = {"looks": looks, "evidence": evidence}
        problems += [problem for problem in [base.problem(renderer)] if problem]
    facts = Facts(recipe.model_dump(mode="json"), prepared.summary, planned=updates)
    if not in_run and (few := too_few_updates(facts)):
        problems.append(Problem("warning", few.evidence, few.setting or ""))
    problems = by_severity(problems)
    report = {**data_report(prepared, renderer, problems, samples), **more}
    return replace(prepared, summary=report, problems=tuple(problems))


def _within(problem: Problem, max_length: int, longest: int | None) -> Problem:
    """A longer data.max_length mends nothing above the model's own limit."""
    name, _, value = problem.setting.partition("=")
    if name != "data.max_length" or longest is None or int(value) <= longest:
        return problem
    if max_length < longest:
        return replace(problem, setting=f"data.max_length={longest}")
    return replace(problem, setting="data.too_long=drop" if problem.symptom else "")
