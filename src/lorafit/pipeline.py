"""The pipeline on one page, from a recipe to a run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lorafit import builtin, hardware
from lorafit.adapters.inject import Injection, inject
from lorafit.adapters.save import load_weights, save_trained, write_trained
from lorafit.adapters.targets import select
from lorafit.data.inspect import report_lines
from lorafit.data.pack import make_batch
from lorafit.data.prepare import Prepared, prepare
from lorafit.data.template import PLAIN_TEMPLATES, Renderer, choose_template
from lorafit.errors import DoesNotFit, LorafitError, RunError
from lorafit.evaluate.held_out import mean_loss, perplexity
from lorafit.evaluate.samples import Comparison, base_answers, comparison_tables, score, tuned_answers
from lorafit.identity import identity, machine, machine_differences
from lorafit.infer.generate import Answer
from lorafit.model.forward import Forward, choose_forward
from lorafit.model.fused import fuse
from lorafit.model.hub import find_description, find_model, load_tokenizer
from lorafit.model.load import Base, empty_model, load_base, longest_sequence
from lorafit.observe.console import Console
from lorafit.observe.metrics import MetricsFile
from lorafit.plan.answer import Plan
from lorafit.plan.devices import find_device
from lorafit.plan.fit import Change, Choice, changes
from lorafit.plan.report import headline, size
from lorafit.plan.settle import Question, settle
from lorafit.plan.watch import PeakWatch
from lorafit.recipe import Recipe, parse_recipe
from lorafit.records import Conversation, Event, Fit, Sample
from lorafit.run import (
    RunFolder,
    Status,
    check_free,
    disk_error,
    git_revision,
    is_disk_fault,
    link_or_copy,
    write_json,
    write_text,
)
from lorafit.train.checkpoint import State, write_checkpoint
from lorafit.train.loop import Hooks, Outcome, planned_updates, train
from lorafit.train.optim import check_optimizer
from lorafit.train.recompute import check_recompute
from lorafit.train.self_check import self_check

# By order of magnitude, to tell a run of seconds from one of minutes; and from how many seconds on compiling pays.
OPERATIONS_A_SECOND = {"cpu": 4e11, "mps": 4e12, "cuda": 4e13}
WORTH_COMPILING = 600
CHECK_PROMPTS = 32
# The best weights so far, within a checkpoint.
BEST = "best"
# The plan is wrong by more than a run may bear.
WORTH_SAYING = 0.05
# What a model's own code may raise on tensors without memory.
NOT_SIMULATED = (RuntimeError, NotImplementedError, TypeError, ValueError, KeyError, AttributeError, IndexError)


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
    folder, chosen, tokenizer = _model_of(recipe, remote_code)
    recipe = _resolved(recipe, folder, chosen)
    empty = _checked(recipe, folder, chosen, remote_code)
    renderer, data = _read(recipe, tokenizer, empty, console)
    planned = _plan(recipe, empty.config, data, chosen, remote_code, console)
    recipe = _settled(recipe, planned[1])
    run = RunFolder.create(Path(recipe.output) / str(recipe.name))
    with run.locked():
        return carry_out(recipe, run, chosen, renderer, data, console, remote_code, planned)


def carry_out(
    recipe: Recipe,
    run: RunFolder,
    chosen: hardware.Hardware,
    renderer: Renderer,
    data: Prepared,
    console: Console,
    remote_code: bool = False,
    planned: tuple[Question, Choice, Plan | None] | None = None,
    start: State | None = None,
) -> Result:
    """A run from its folder on: from the beginning, or (`start`) from the state of a checkpoint."""
    tokenizer = renderer.tokenizer
    with Status(run) as status, _ending(status), hardware.float32_through_onednn(chosen) as rerouted:
        _write_inputs(run, recipe, data, renderer)
        if planned and planned[2] is not None:
            write_json(run.plan, planned[2].to_json())
        with console.working(f"loading {recipe.model.name}"):
            folder = find_model(recipe.model.name, recipe.model.revision, remote_code)
            base = load_base(folder, chosen, recipe.model.quantization, recipe.model.double_quantization, remote_code)
        _say_model(console, recipe, chosen)
        if rerouted:
            console.say(f"    {rerouted}")
        prompts = data.held_out.conversations[: recipe.evaluate.prompts]
        answers = _base_answers(recipe, console, base, renderer, prompts, data)
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
            "identity": identity(recipe.model_dump(mode="json"), folder, data),
            "machine": machine(torch.get_num_threads(), rerouted is not None, compiled),
        }
        _say_machine(console, start, origin["machine"])
        watch = PeakWatch(*planned[:2], injection.model, chosen.device) if planned else None
        outcome = _train(
            recipe, run, status, console, injection, forward, watch, data, chosen, tokenizer, origin, start
        )
        if planned and planned[2] is not None and watch:
            _compare(run, console, planned[2], watch)
        comparison = None
        if prompts and not outcome.interrupted:
            load_weights(injection.model, recipe.adapter, best_weights(recipe, run))
            with console.working("the tuned model answers held-out prompts", total=len(prompts)) as advance:
                answers |= tuned_answers(injection.model, renderer, prompts, recipe.evaluate.max_new_tokens, advance)
            comparison = score(prompts, answers)
            comparison.save(run.evaluation)
            for table in comparison_tables(comparison):
                console.show(table)
        status.end("interrupted" if outcome.interrupted else "finished", _summary(outcome))
    return Result(run.path, outcome, comparison)


def _model_of(recipe: Recipe, remote_code: bool) -> tuple[Path, hardware.Hardware, Any]:
    chosen = hardware.choose(recipe.model.device, recipe.model.dtype)
    folder = find_description(recipe.model.name, recipe.model.revision, remote_code)
    return folder, chosen, load_tokenizer(folder, remote_code)


def read_again(recipe: Recipe, remote_code: bool, console: Console) -> tuple[hardware.Hardware, Renderer, Prepared]:
    """What a run that exists already is carried out with; its recipe is settled."""
    folder, chosen, tokenizer = _model_of(recipe, remote_code)
    return chosen, *_read(recipe, tokenizer, empty_model(folder, remote_code), console)


def _read(recipe: Recipe, tokenizer: Any, empty: Any, console: Console) -> tuple[Renderer, Prepared]:
    renderer = Renderer(tokenizer, choose_template(tokenizer, recipe.data.template))
    tokenizer.chat_template = renderer.template.jinja  # so that every folder saved with this tokenizer carries it
    return renderer, _prepare(recipe, renderer, longest_sequence(empty), console)


def _checked(recipe: Recipe, folder: Path, chosen: hardware.Hardware, remote_code: bool) -> Any:
    """What can be refused before anything is read or written: the run's name, the optimizer, the targets.

    Returns the model without weights.
    """
    check_free(Path(recipe.output) / str(recipe.name))
    check_optimizer(recipe.train.optimizer, chosen.device.type)
    if recipe.train.recompute != "auto":
        check_recompute(recipe.train.recompute, chosen.device.type)
    empty = empty_model(folder, remote_code)
    if recipe.adapter.method == "lora":
        select(empty, recipe.adapter.targets)
    return empty


def _resolved(recipe: Recipe, folder: Path, chosen: hardware.Hardware) -> Recipe:
    """The recipe with every `auto` that is decided here written out, and local paths made absolute."""

    def absolute(name: str) -> str:
        path = Path(name).expanduser()
        return str(path.resolve()) if name != builtin.NAME and path.exists() else name

    named_template = recipe.data.template in ("auto", *PLAIN_TEMPLATES)
    held_out = _held_out(recipe)
    data = recipe.data.model_copy(
        update={
            "train": absolute(recipe.data.train),
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


def _held_out(recipe: Recipe) -> float | str:
    """As asked; the built-in data brings a held-out file of its own."""
    brought = recipe.data.train == builtin.NAME and "held_out" not in recipe.data.model_fields_set
    return builtin.NAME if brought else recipe.data.held_out


def _plan(
    recipe: Recipe, config: Any, data: Prepared, chosen: hardware.Hardware, remote_code: bool, console: Console
) -> tuple[Question, Choice, Plan | None]:
    """What the run will need, and what `auto` leaves open decided; no plan for a model that cannot be simulated.

    Raises DoesNotFit, with the changes that would make it fit.
    """
    device = find_device(chosen.device.type)
    model = recipe.model.model_copy(update={"dtype": chosen.dtype_name})
    name = Path(recipe.model.name).name
    samples = data.training.samples
    question = Question(
        name, config, model, recipe.adapter, recipe.train, device, samples, recipe.data.max_length, remote_code
    )
    try:
        with console.working("planning"):
            choice, plan = settle(question)
    except NOT_SIMULATED as error:
        if isinstance(error, LorafitError):
            raise
        reason = " ".join(str(error).split())[:160]
        console.warn(f"{name} cannot be simulated ({type(error).__name__}: {reason}): the run is not planned.")
        return question, question.start(), None
    console.show(headline(plan))
    if plan.verdict == "no":
        with console.working("looking for what would fit"):
            found = changes(question.job_of, choice, device, question.tokens_of)
        raise DoesNotFit(_what_would_fit(plan, found))
    return question, choice, plan


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


def _settled(recipe: Recipe, choice: Choice) -> Recipe:
    """The recipe with what the plan decided, so that a repeated run takes the same passes."""
    settled = {"tokens_per_pass": choice.tokens_per_pass, "recompute": choice.recompute}
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=settled)})


def _compare(run: RunFolder, console: Console, plan: Plan, watch: PeakWatch) -> None:
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
    return "-".join((model, Path(recipe.data.train).stem, method, time.strftime("%Y%m%d-%H%M%S")))


def _prepare(recipe: Recipe, renderer: Renderer, longest: int | None, console: Console) -> Prepared:
    """Read and render the data, with its report; the model's own limit bounds data.max_length."""
    data = recipe.data
    max_length = data.max_length
    if longest is not None and longest < max_length:
        console.say(f"samples are bounded to the model's {longest} tokens (data.max_length is {max_length})")
        max_length = longest
    train = str(builtin.TRAIN) if data.train == builtin.NAME else data.train
    held_out = str(builtin.HELD_OUT) if data.held_out == builtin.NAME else data.held_out
    with console.working("reading the data"):
        prepared = prepare(
            renderer, train, held_out, max_length, data.too_long, data.bad_rows, data.limit, recipe.train.seed
        )
    for what, figure in report_lines(prepared):
        console.say(f"{what:>10}  {figure}")
    for text in prepared.warnings:
        console.warn(text)
    return prepared


def _write_inputs(run: RunFolder, recipe: Recipe, data: Prepared, renderer: Renderer) -> None:
    """All that says what the run is, before anything heavy happens."""
    write_text(run.recipe, recipe.to_yaml())
    write_json(run.environment, {**hardware.environment(), "git_revision": git_revision()})
    write_json(run.data, {**data.summary, "warnings": list(data.warnings)})
    write_text(run.template, renderer.template.jinja)
    if data.rejected:
        write_text(run.rejected, "".join(f"{row.to_json()}\n" for row in data.rejected))
    run.self_check.mkdir(exist_ok=True)
    prompts = (data.held_out.conversations + data.training.conversations)[:CHECK_PROMPTS]
    lines = (
        json.dumps([{"role": m.role, "content": m.content} for m in c.prompt], ensure_ascii=False) for c in prompts
    )
    write_text(run.self_check / "prompts.jsonl", "".join(f"{line}\n" for line in lines))


def _say_model(console: Console, recipe: Recipe, chosen: hardware.Hardware) -> None:
    kept = {"none": "", "nf4": ", base in 4 bits (nf4", "int8": ", base in 8 bits (int8"}[recipe.model.quantization]
    if recipe.model.quantization == "nf4" and recipe.model.double_quantization:
        kept += ", double quantisation"
    kept += ")" if kept else ""
    console.say(f"computing in {chosen.dtype_name} on {chosen.device.type} ({chosen.reason}){kept}")


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
    train, tokens = recipe.train, sum(len(sample) for sample in data.training.samples) * recipe.train.epochs
    if train.max_updates:
        tokens = min(tokens, tokens / train.epochs / len(data.training) * train.batch_size * train.max_updates)
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
    prompts: Sequence[Conversation],
    data: Prepared,
) -> dict[str, tuple[Answer, ...]]:
    if not prompts:
        return {}
    shots = data.training.conversations[: recipe.evaluate.shots]
    total = len(prompts) * (2 if shots else 1)
    with console.working("the base answers held-out prompts", total=total) as advance:
        return base_answers(base.model, renderer, prompts, shots, recipe.evaluate.max_new_tokens, advance)


def best_weights(recipe: Recipe, run: RunFolder) -> Path:
    return run.model if recipe.adapter.method == "none" else run.adapter


def _train(
    recipe: Recipe,
    run: RunFolder,
    status: Status,
    console: Console,
    injection: Injection,
    forward: Forward,
    watch: PeakWatch | None,
    data: Prepared,
    chosen: hardware.Hardware,
    tokenizer: Any,
    origin: dict[str, Any],
    start: State | None,
) -> Outcome:
    best = best_weights(recipe, run)
    updates = planned_updates(len(data.training), recipe.train)
    status.set("running", updates=updates)
    with (
        MetricsFile(run.metrics, start.values["metrics_lines"] if start else 0) as metrics,
        console.training(updates),
    ):

        def observe(event: Event) -> None:
            metrics(event)
            console(event)
            if event.kind == "update":
                status.set(update=event.values["update"])

        def checkpoint(update: int, state: State) -> None:
            def add(folder: Path) -> None:
                write_trained(injection.model, tokenizer, recipe.adapter, folder)
                if state.values["outcome"]["best_update"]:
                    link_or_copy(best, folder / BEST)

            metrics.sync()
            values = {**state.values, **origin, "metrics_lines": metrics.lines}
            try:
                write_checkpoint(run.checkpoints, update, State(state.tensors, values), add, recipe.train.keep_last)
            except RunError as error:  # a full disk, say: what is learned meanwhile is worth more than a copy of it
                console.warn(f"no checkpoint after update {update}, training goes on. {error}")

        assert recipe.train.learning_rate != "auto" and recipe.train.tokens_per_pass != "auto"
        fit = Fit(recipe.train.tokens_per_pass, recipe.train.recompute, recipe.train.share_prefixes)
        held_out = make_batch(data.held_out.samples, fit.tokens_per_pass, forward.packed) if data.held_out else None
        outcome = train(
            forward=forward,
            parameters=list(injection.model.parameters()),
            samples=data.training.samples,
            settings=recipe.train,
            peak_learning_rate=recipe.train.learning_rate,
            fit=fit,
            hardware=chosen,
            place=injection.place,
            hooks=Hooks(
                validate=(lambda: mean_loss(forward, held_out)) if held_out else None,
                keep=lambda: save_trained(injection.model, tokenizer, recipe.adapter, best),
                checkpoint=checkpoint,
                observe=observe,
                around_update=watch or (lambda update, batch, optimizer: contextlib.nullcontext()),
            ),
            start=start,
        )
    console.say(console.curve())
    if outcome.first_held_out is not None and outcome.best_held_out is not None:
        console.say(
            f"held-out loss {outcome.first_held_out:.3f} -> {outcome.best_held_out:.3f} (perplexity "
            f"{perplexity(outcome.first_held_out):.1f} -> {perplexity(outcome.best_held_out):.1f}), "
            f"best after update {outcome.best_update}"
        )
        if outcome.best_update == 0 < outcome.update:
            console.warn("the held-out loss never fell below that of the base: what is saved is the last state.")
    return outcome


def _summary(outcome: Outcome) -> str:
    text = f"{outcome.update} of {outcome.updates} updates in {outcome.seconds:.0f} s"
    kept = outcome.best_held_out if outcome.best_update else outcome.last_held_out
    if kept is not None:
        text += f", held-out loss {kept:.4f}"
    return text


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


def samples_of(recipe: Recipe, remote_code: bool, console: Console) -> Sequence[Sample]:
    """The training samples of a recipe, without the model's weights or its device (`lorafit plan` with data)."""
    folder = find_description(recipe.model.name, recipe.model.revision, remote_code)
    tokenizer = load_tokenizer(folder, remote_code)
    renderer = Renderer(tokenizer, choose_template(tokenizer, recipe.data.template))
    longest = longest_sequence(empty_model(folder, remote_code))
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"held_out": _held_out(recipe)})})
    return _prepare(recipe, renderer, longest, console).training.samples


def look_at_data(
    model: str, train: str, template: str, max_length: int, console: Console, remote_code: bool = False
) -> tuple[Prepared, Renderer]:
    """The data report of one file for one model, without loading the model's weights."""
    settings = {"train": train, "held_out": 0.0, "template": template, "max_length": max_length, "bad_rows": "drop"}
    recipe = parse_recipe({"model": {"name": model}, "data": settings})
    folder, _, tokenizer = _model_of(recipe, remote_code)
    renderer = Renderer(tokenizer, choose_template(tokenizer, template))
    longest = longest_sequence(empty_model(folder, remote_code))
    return _prepare(recipe, renderer, longest, console), renderer
