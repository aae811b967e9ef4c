"""The pipeline on one page, from a recipe to a run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from lorafit import hardware
from lorafit.adapters.inject import Injection, inject
from lorafit.adapters.save import load_weights
from lorafit.data.prepare import Prepared
from lorafit.data.samples import lengths_of
from lorafit.data.template import Renderer
from lorafit.errors import DoesNotFit, LorafitError, RunError
from lorafit.evaluate.question import Question
from lorafit.evaluate.questions import questions_of
from lorafit.evaluate.samples import Comparison, base_answers, comparison_tables, score, tuned_answers
from lorafit.export.gguf.families import supports
from lorafit.export.reference import keep_reference
from lorafit.identity import identity, machine, machine_differences
from lorafit.infer.generate import Answer
from lorafit.memory import is_out_of_memory, one_line
from lorafit.model.embeddings import never_seen
from lorafit.model.forward import choose_forward
from lorafit.model.fused import fuse
from lorafit.model.hub import find_model
from lorafit.model.load import Base, load_base
from lorafit.observe.console import Console
from lorafit.observe.rules.finding import to_json
from lorafit.observe.rules.table import examine
from lorafit.observe.run_facts import facts_of
from lorafit.reading import model_of, read
from lorafit.recipe import Recipe
from lorafit.records import Message
from lorafit.report.page import write_report
from lorafit.run import (
    RunFolder,
    Status,
    disk_error,
    git_revision,
    is_disk_fault,
    write_json,
    write_text,
)
from lorafit.settling import Planned, checked, compare, planned, resolved, settled
from lorafit.train.checkpoint import State
from lorafit.train.loop import Outcome, planned_updates
from lorafit.train.self_check import self_check
from lorafit.training import best_weights, train_run

# By order of magnitude, to tell a run of seconds from one of minutes; and from how many seconds on compiling pays.
OPERATIONS_A_SECOND = {"cpu": 4e11, "mps": 4e12, "cuda": 4e13}
WORTH_COMPILING = 600
CHECK_PROMPTS = 32


@dataclass(frozen=True, slots=True)
class Result:
    """What a run led to. `folder` holds everything; `comparison` is None when no prompts were answered."""

    folder: Path
    outcome: Outcome
    comparison: Comparison | None

    @property
    def interrupted(self) -> bool:
        return self.outcome.interrupted


def finetune(recipe: Recipe, remote_code: bool = False, console: Console | None = None) -> Result:
    """Fine-tune as the recipe says; returns when the run folder is complete.

    Raises a LorafitError for anything that the user can mend; the run folder then says `failed` and why.
    """
    console = console or Console(recipe.observe.print_every, quiet=not recipe.observe.console)
    folder, chosen, tokenizer = model_of(recipe, remote_code)
    recipe = resolved(recipe, folder, chosen)
    empty = checked(recipe, folder, chosen, remote_code)
    renderer, data = read(recipe, tokenizer, empty, console)
    plan = planned(recipe, empty.config, data, chosen, remote_code, console)
    recipe = settled(recipe, plan.choice)
    run = RunFolder.create(Path(recipe.output) / str(recipe.name))
    with run.locked():
        return carry_out(recipe, run, chosen, renderer, data, console, remote_code, plan)


def carry_out(
    recipe: Recipe,
    run: RunFolder,
    chosen: hardware.Hardware,
    renderer: Renderer,
    data: Prepared,
    console: Console,
    remote_code: bool = False,
    planned: Planned | None = None,
    start: State | None = None,
    made_of: dict[str, Any] | None = None,
) -> Result:
    """A run from its folder on: from the beginning, or (`start`) from the state of a checkpoint.

    made_of: its `identity`, where that is known.
    """
    with (
        _reported(run, console),
        Status(run) as status,
        _ending(status),
        hardware.float32_through_onednn(chosen) as rerouted,
    ):
        _write_inputs(run, recipe, data, renderer)
        if planned and planned.plan:
            write_json(run.plan, planned.plan.to_json())
        with console.working(f"loading {recipe.model.name}"):
            folder = find_model(recipe.model.name, recipe.model.revision, remote_code)
            base = load_base(folder, chosen, recipe.model.quantization, recipe.model.double_quantization, remote_code)
        _say_model(console, recipe, chosen)
        _look_ahead(console, renderer, base)
        if rerouted:
            console.say(f"    {rerouted}")
        held_out = data.held_out.conversations
        questions = list(islice(questions_of(lambda: held_out), recipe.evaluate.prompts))
        answers = _base_answers(recipe, console, base, renderer, questions, data)
        with console.working("adding the adapter"):
            injection = inject(base, recipe.adapter, recipe.train.seed)
        if recipe.adapter.method == "lora" and not Path(recipe.model.name).exists():
            # A hub id means the same everywhere; the folder it was downloaded to does not.
            injection.model.peft_config["default"].base_model_name_or_path = recipe.model.name
        _say_injection(console, injection)
        compiled = _fuse(recipe, console, injection, data, chosen, start)
        forward, reason = choose_forward(injection.model)
        if reason:
            console.warn(f"{reason}: one example a row, which is slower but exact.")
        if recipe.train.self_check and start is None:
            check = self_check(forward, data.training.samples, injection.place, chosen.dtype)
            write_json(run.self_check / "step.json", dataclasses.asdict(check))
            console.say(check.sentence())
        origin = {
            "identity": made_of or identity(recipe.model_dump(mode="json"), folder, data),
            "machine": machine(torch.get_num_threads(), rerouted is not None, compiled),
        }
        _say_machine(console, start, origin["machine"])
        watch = planned.watch(injection.model, chosen.device) if planned else None
        outcome = train_run(
            recipe, run, status, console, injection, forward, watch, data, chosen, renderer, origin, start
        )
        if planned and planned.plan and watch:
            compare(run, console, planned.plan, watch)
        comparison = None
        if not outcome.interrupted:
            load_weights(injection.model, recipe.adapter, best_weights(recipe, run))
            _keep_answers(console, injection, renderer, data, run)
        if questions and not outcome.interrupted:
            with console.working("the tuned model answers held-out prompts", total=len(questions)) as advance:
                answers |= tuned_answers(injection.model, renderer, questions, recipe.evaluate.max_new_tokens, advance)
            comparison = score(questions, answers, recipe.evaluate.metrics)
            comparison.save(run.evaluation)
            write_json(run.findings, to_json(examine(facts_of(run))))  # the answers are evidence, too
            for table in comparison_tables(comparison):
                console.show(table)
        status.end("interrupted" if outcome.interrupted else "finished", _summary(outcome))
    return Result(run.path, outcome, comparison)


def _write_inputs(run: RunFolder, recipe: Recipe, data: Prepared, renderer: Renderer) -> None:
    """All that says what the run is, before anything heavy happens."""
    write_text(run.recipe, recipe.to_yaml())
    write_json(run.environment, {**hardware.environment(), "git_revision": git_revision()})
    write_json(run.data, {**data.summary, "warnings": list(data.warnings)})
    write_text(run.template, renderer.template.jinja)
    if data.rejected and not (data.stream and run.rejected.is_file()):  # a stream goes on with the file
        shutil.copyfile(data.rejected.file, run.rejected)
    run.self_check.mkdir(exist_ok=True)
    lines = (
        json.dumps([{"role": m.role, "content": m.content} for m in prompt], ensure_ascii=False)
        for prompt in _check_prompts(data)
    )
    write_text(run.self_check / "prompts.jsonl", "".join(f"{line}\n" for line in lines))


def _keep_answers(console: Console, injection: Injection, renderer: Renderer, data: Prepared, run: RunFolder) -> None:
    """What the tuned model answers, for the checks of exports; a run is not lost for want of it."""
    try:
        keep_reference(injection.model, renderer, _check_prompts(data), run.self_check)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        console.warn(f"memory ran out as answers were kept for exports ({one_line(error)}): the first export asks anew")


def _check_prompts(data: Prepared) -> list[tuple[Message, ...]]:
    """The prompts that are put aside: every export answers them again."""
    return [c.prompt for c in (data.held_out.conversations + data.training.conversations)[:CHECK_PROMPTS]]


def _say_model(console: Console, recipe: Recipe, chosen: hardware.Hardware) -> None:
    kept = {"none": "", "nf4": ", base in 4 bits (nf4", "int8": ", base in 8 bits (int8"}[recipe.model.quantization]
    if recipe.model.quantization == "nf4" and recipe.model.double_quantization:
        kept += ", double quantisation"
    kept += ")" if kept else ""
    console.say(f"computing in {chosen.dtype_name} on {chosen.device.type} ({chosen.reason}){kept}")


def _look_ahead(console: Console, renderer: Renderer, base: Base) -> None:
    """What will go wrong after training: answers that cannot end, a form that it cannot be taken away in."""
    tokenizer = renderer.tokenizer
    ends = tokenizer.convert_tokens_to_ids(list(renderer.facts().end_of_turn))
    if unsupported := supports(base.model.config):
        console.say(f"note: {unsupported}")
    if unknown := never_seen(base.model, [token for token in ends if isinstance(token, int)]):
        names = ", ".join(tokenizer.convert_ids_to_tokens(unknown))
        console.warn(
            f"{names} ends an answer, but the base looks as if it had never seen it: its embedding is that of unused "
            "tokens, and an adapter does not train it, so that answers may never end. Take a template whose end the "
            "base knows (data.template)."
        )


def _say_injection(console: Console, injection: Injection) -> None:
    for line in injection.lines():
        console.say(f"    {line}")
    for text in injection.warnings:
        console.warn(text)


def _say_machine(console: Console, start: State | None, now: dict[str, Any]) -> None:
    """Where a run goes on elsewhere than it began: the same run, but other roundings."""
    if start is not None and (changed := machine_differences(start.values["machine"], now)):
        console.warn(f"not bit-identical to a run that was never stopped: {'; '.join(changed)}")


def _fuse(
    recipe: Recipe,
    console: Console,
    injection: Injection,
    data: Prepared,
    chosen: hardware.Hardware,
    start: State | None,
) -> bool:
    """The elementwise work fused where the model has it; compiled where the run is long enough to gain from it, or was
    before it was stopped. Returns whether it is compiled."""
    train, lengths = recipe.train, lengths_of(data.training.samples)
    updates = planned_updates(data.examples, train)
    tokens = float(lengths.mean()) * train.batch_size * updates
    # Forward and input gradient: 4 operations a parameter and token.
    seconds = 4 * injection.total * tokens / OPERATIONS_A_SECOND[chosen.device.type]
    compiled = train.compile == "always" or (train.compile == "auto" and seconds > WORTH_COMPILING)
    if start is not None:
        compiled = start.values["machine"]["compiled"]
    with console.working("compiling norms, gates and rotary embeddings" if compiled else "fusing norms and gates"):
        fused = fuse(injection.model, compile=compiled)
    if fused.reason:
        console.warn(f"{fused.reason}: norms, gates and rotary embeddings run uncompiled, slower but the same.")
    console.say(f"    {fused.sentence()}")
    return fused.compiled


def _base_answers(
    recipe: Recipe,
    console: Console,
    base: Base,
    renderer: Renderer,
    questions: Sequence[Question],
    data: Prepared,
) -> dict[str, tuple[Answer, ...]]:
    if not questions:
        return {}
    shots = data.training.conversations[: recipe.evaluate.shots]
    total = len(questions) * (2 if shots else 1)
    with console.working("the base answers held-out prompts", total=total) as advance:
        answers = base_answers(base.model, renderer, questions, shots, recipe.evaluate.max_new_tokens, advance)
    score(questions, answers, recipe.evaluate.metrics)  # metrics that these rows do not suit are said before training
    return answers


def _summary(outcome: Outcome) -> str:
    text = f"{outcome.update} of {outcome.updates} updates in {outcome.seconds:.0f} s"
    kept = outcome.best_held_out if outcome.best_update else outcome.last_held_out
    if kept is not None:
        text += f", held-out loss {kept:.4f}"
    return text


@contextlib.contextmanager
def _reported(run: RunFolder, console: Console) -> Iterator[None]:
    """However the run ends, there is a page that shows it."""
    try:
        yield
    finally:
        try:
            console.say(f"report: {write_report(run)}")
        except RunError as error:
            console.warn(f"no report: {error}")


@contextlib.contextmanager
def _ending(status: Status) -> Iterator[None]:
    """Whatever ends the run, status.json says so."""
    try:
        yield
    except KeyboardInterrupt:
        status.end("interrupted", "stopped by the user")
        raise
    except LorafitError as error:
        status.end("failed", str(error))
        raise
    except BaseException as error:
        mended: LorafitError | None = disk_error(error, status.folder.path / "any") if is_disk_fault(error) else None
        if isinstance(error, torch.OutOfMemoryError):
            mended = DoesNotFit(
                f"{str(error).splitlines()[0]}\nThe plan was wrong, or something else took memory meanwhile. Less: a "
                "smaller train.tokens_per_pass (the result stays the same), train.recompute=layers, "
                "model.quantization=nf4; `lorafit plan recipe.yaml` says what each gives."
            )
        status.end("failed", str(mended or f"{type(error).__name__}: {error}"))
        if mended:
            raise mended from error
        raise
