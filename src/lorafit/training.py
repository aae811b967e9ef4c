"""The training loop tied to a run folder: metrics, checkpoints, the best weights, evidence of what went wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from lorafit import hardware
from lorafit.adapters.inject import Injection
from lorafit.adapters.save import save_trained, write_trained
from lorafit.data.pack import make_batch
from lorafit.data.prepare import Prepared
from lorafit.data.template import Renderer
from lorafit.errors import RunError
from lorafit.evaluate.held_out import mean_loss, perplexity
from lorafit.evaluate.progress import Progress
from lorafit.evaluate.questions import questions_of
from lorafit.model.forward import Forward
from lorafit.observe.console import Console
from lorafit.observe.hardware import HardwareSampler
from lorafit.observe.live import LiveDoctor
from lorafit.observe.metrics import MetricsFile
from lorafit.observe.rules.finding import Finding
from lorafit.observe.rules.table import before_a_run
from lorafit.observe.run_facts import facts_of
from lorafit.observe.sinks import open_sinks
from lorafit.plan.devices import host_memory
from lorafit.plan.watch import PeakWatch
from lorafit.recipe import Recipe
from lorafit.records import Batch, Event, Fit, Sample
from lorafit.run import RunFolder, Status, link_or_copy, read_json, write_json
from lorafit.train.checkpoint import State, write_checkpoint
from lorafit.train.hooks import Hooks
from lorafit.train.loop import Outcome, planned_updates, train
from lorafit.train.numbers import Evidence
from lorafit.train.step import Step

# The best weights so far, within a checkpoint.
BEST = "best"


def best_weights(recipe: Recipe, run: RunFolder) -> Path:
    return run.model if recipe.adapter.method == "none" else run.adapter


def train_run(
    recipe: Recipe,
    run: RunFolder,
    status: Status,
    console: Console,
    injection: Injection,
    forward: Forward,
    watch: PeakWatch | None,
    data: Prepared,
    chosen: hardware.Hardware,
    renderer: Renderer,
    origin: dict[str, Any],
    start: State | None,
) -> Outcome:
    """The training of a run: everything that the loop shows and saves goes into the run's folder."""
    best, tokenizer = best_weights(recipe, run), renderer.tokenizer
    held_out = data.held_out.samples if data.held_out else ()
    batches: dict[int, Batch] = {}  # the held-out samples, cut for so many tokens a pass
    updates = planned_updates(data.examples, recipe.train)
    status.set("running", updates=updates)
    first = start.values["outcome"]["update"] if start else 0
    if data.stream:
        data.stream.begin(run.rejected, start.values.get("stream") if start else None)
    environment = {name: value for name, value in read_json(run.environment).items() if name != "schema"}
    hparams = {**recipe.model_dump(mode="json"), "environment": environment}
    progress = _progress(recipe, run, console, injection, data, renderer, first)
    sampled = recipe.observe.hardware_every
    doctor = {"the doctor": lambda: _doctor(run, recipe, console, injection, data, updates, start is None)}
    with (
        MetricsFile(run.metrics, start.values["metrics_lines"] if start else 0) as metrics,
        console.training(updates),
        open_sinks(recipe.observe, run.path, str(recipe.name), hparams, console.warn, first, doctor) as sinks,
        HardwareSampler(run.hardware, sampled, sinks, console.warn, lambda: host_memory()[1]),
    ):

        def observe(event: Event) -> None:
            metrics(event)
            console(event)
            if event.kind == "update":
                status.set(update=event.values["update"])
            sinks(event)
            if progress and event.kind == "held_out":
                with forward.paused():
                    progress(event.values["update"])

        def checkpoint(update: int, state: State) -> None:
            def add(folder: Path) -> None:
                write_trained(injection.model, tokenizer, recipe.adapter, folder)
                if state.values["outcome"]["best_update"]:
                    link_or_copy(best, folder / BEST)

            metrics.sync()
            values = {**state.values, **origin, "metrics_lines": metrics.lines}
            if data.stream:
                values["stream"] = data.stream.state()
            try:
                write_checkpoint(run.checkpoints, update, State(state.tensors, values), add, recipe.train.keep_last)
            except RunError as error:  # a full disk, say: what is learned meanwhile is worth more than a copy of it
                console.warn(f"no checkpoint after update {update}, training goes on. {error}")

        def validate(tokens_per_pass: int) -> float:
            if tokens_per_pass not in batches:
                batches.clear()
                batches[tokens_per_pass] = make_batch(held_out, tokens_per_pass, forward.packed)
            return mean_loss(forward, batches[tokens_per_pass])

        def evidence(update: int, step: Step, samples: Sequence[Sample], found: Evidence) -> Path:
            return _write_evidence(run, update, step, samples, found, tokenizer)

        assert recipe.train.learning_rate != "auto" and recipe.train.tokens_per_pass != "auto"
        tokens_per_pass = start.values["tokens_per_pass"] if start else recipe.train.tokens_per_pass
        fit = Fit(tokens_per_pass, recipe.train.recompute, recipe.train.share_prefixes)
        outcome = train(
            forward=forward,
            parameters=list(injection.model.parameters()),
            samples=data.examples,
            settings=recipe.train,
            peak_learning_rate=recipe.train.learning_rate,
            fit=fit,
            hardware=chosen,
            place=injection.place,
            hooks=Hooks(
                validate=validate if held_out else None,
                held_out=held_out,
                keep=lambda: save_trained(injection.model, tokenizer, recipe.adapter, best),
                checkpoint=checkpoint,
                evidence=evidence,
                observe=observe,
                around_update=watch or (lambda update, batch, optimizer: contextlib.nullcontext()),
            ),
            start=start,
        )
    if data.stream:
        told = data.stream.figures
        console.say(
            f"of the stream, {told['rows']:,} rows were read and {told['rejected']:,} left out (rejected.jsonl)"
        )
        write_json(run.data, {**read_json(run.data), "stream": told})
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


def _progress(
    recipe: Recipe,
    run: RunFolder,
    console: Console,
    injection: Injection,
    data: Prepared,
    renderer: Renderer,
    first: int,
) -> Progress | None:
    count, settings = recipe.evaluate.while_training, recipe.evaluate
    if not count:
        return None
    held_out = data.held_out.conversations
    questions = list(islice(questions_of(lambda: held_out), count))
    return Progress(run.progress, injection.model, renderer, questions, settings.max_new_tokens, console.warn, first)


def _doctor(
    run: RunFolder,
    recipe: Recipe,
    console: Console,
    injection: Injection,
    data: Prepared,
    updates: int,
    begins: bool,
) -> LiveDoctor:
    """Says what it finds, before the first update and as they come, each thing once in a run's life; findings.json."""

    def report(finding: Finding) -> None:
        change = f" ({finding.setting})" if finding.setting else ""
        console.warn(f"{finding.title}: {finding.evidence} {finding.remedy}{change}")

    if begins:
        settings = recipe.model_dump(mode="json")
        found = before_a_run(settings, data.summary, updates, injection.trainable, injection.total)
        for finding in found:
            report(finding)
        known = [finding.symptom for finding in found]
    else:
        known = [told["symptom"] for told in read_json(run.findings)["findings"]] if run.findings.is_file() else []
    return LiveDoctor(facts_of(run), report, lambda content: write_json(run.findings, content), known)


def _write_evidence(
    run: RunFolder, update: int, step: Step, samples: Sequence[Sample], found: Evidence, tokenizer: Any
) -> Path:
    """An update that was not applied: what it gave, where that came from, and its samples as they were trained."""
    path = run.evidence / f"update-{update:06d}.json"
    run.evidence.mkdir(exist_ok=True)
    rows = [
        {
            "file": sample.source.file,
            "row": sample.source.row,
            "loss": repr(loss),  # as text: JSON has no NaN
            "text": tokenizer.decode(sample.token_ids.tolist()),
            "token_ids": sample.token_ids.tolist(),
            "trained": sample.trained.tolist(),
        }
        for sample, loss in zip(samples, found.losses, strict=True)
    ]
    values = {"loss": repr(step.loss), "gradient_norm": repr(step.gradient_norm), "where": found.where}
    write_json(path, {"update": update, **values, "samples": rows})
    return path
