"""A run folder to report.html: one page that needs nothing but itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lorafit.report import words
from lorafit.report.curves import hardware_plots, training_plots
from lorafit.report.data_page import data_view
from lorafit.report.memory import counted_by_cuda, plan_figure
from lorafit.report.read import Series, Story, read_hardware, read_metrics, read_story
from lorafit.report.templates import environment, script, style
from lorafit.run import HEARTBEAT_SECONDS, RunFolder, write_text

# A heartbeat may be late on a busy disk; this many missed ones are no accident.
MISSED_BEATS = 6
METHODS = {"none": "LoRA", "nf4": "QLoRA (nf4)", "int8": "LoRA on 8 bits"}
STATES = {
    "queued": "waiting",
    "planning": "preparing",
    "running": "running",
    "interrupted": "interrupted",
    "failed": "failed",
    "finished": "finished",
}


def write_report(folder: RunFolder | Path, output: Path | None = None) -> Path:
    """Make the page of a run, also of one that goes on or has failed, whole or not at all; returns where it is.

    output: where to, `report.html` in the run folder when None. Raises RunError when the folder is no run folder or the
    page cannot be written.
    """
    run = folder if isinstance(folder, RunFolder) else RunFolder(folder)
    if not run.status.is_file():
        run = RunFolder.open(run.path)
    target = output or run.path / "report.html"
    # JSON may name half a surrogate pair, which UTF-8 cannot hold.
    write_text(target, render(run, time.time()).encode("utf-8", "replace").decode())
    return target


def render(run: RunFolder, now: float) -> str:
    """The page as text. now: Unix time, against which a running run's heartbeat is judged."""
    story = read_story(run)
    updates, held_out = read_metrics(run.metrics)
    code, code_hash = script()
    said = [str(finding.get("symptom")) for finding in story.findings or ()]
    return (
        environment()
        .get_template("page.html")
        .render(
            story=story,
            name=run.path.resolve().name,
            state=_state(story, now),
            method=_method(story),
            now=now,
            tiles=list(_tiles(story, updates, held_out)),
            elapsed=updates.most("elapsed_seconds"),
            curves=training_plots(updates, held_out),
            machine=hardware_plots(*read_hardware(run.path / "hardware.jsonl")),
            missing_losses=int((~np.isfinite(updates["loss"])).sum()),
            plan=plan_figure(story.plan, updates),
            view=data_view(story.data, said),
            style=style(),
            script=code,
            script_hash=code_hash,
        )
    )


def _state(story: Story, now: float) -> dict[str, Any]:
    """word; kind, for the colour; progress, a share; over, or going on now; silent: seconds since the last heartbeat of
    a run that is neither."""
    status = story.status or {}
    name = str(status.get("state", ""))
    going = name in ("queued", "planning", "running")
    beat = status.get("heartbeat")
    silent = now - beat if going and words.is_number(beat) and now - beat > MISSED_BEATS * HEARTBEAT_SECONDS else None
    word = "stopped without a word" if silent is not None else STATES.get(name, "state unknown")
    kind = "failed" if silent is not None else name if name in STATES else "unknown"
    return {
        "word": word,
        "kind": kind,
        "going": going and silent is None,
        "over": bool(status) and not going,
        "silent": silent,
        "progress": words.ratio(status.get("update"), status.get("updates")),
    }


def _method(story: Story) -> str:
    def part(name: str) -> dict[str, Any]:
        found = story.recipe.get(name)
        return found if isinstance(found, dict) else {}

    if part("adapter").get("method") == "none":
        return "full fine-tuning"
    quantization = part("model").get("quantization")
    return METHODS.get(str(quantization), "") or str((story.plan or {}).get("method", ""))


def _tiles(story: Story, updates: Series, held_out: Series) -> Iterator[tuple[str, str, str]]:
    """(label, figure, what stands below it) of the few figures that say how it went."""
    losses = held_out["held_out_loss"][np.isfinite(held_out["held_out_loss"])]
    if len(losses):
        first = "before training" if held_out.at[0] == 0 else f"after update {held_out.at[0]:,.0f}"
        yield "held-out loss", words.figure(float(losses.min())), f"{words.figure(float(losses[0]))} {first}"
    elif len(updates) and np.isfinite(updates["loss"]).any():
        finite = updates["loss"][np.isfinite(updates["loss"])]
        yield "training loss", words.figure(float(finite[-1])), f"{words.figure(float(finite[0]))} at the first update"
    scores = (story.scores or {}).get("scores")
    if isinstance(scores, dict) and "tuned" in scores:
        for name, label in (("exact_match", "exact answers"), ("token_f1", "token F1")):
            tuned, base = (_mean(scores.get(speaker), name) for speaker in ("tuned", "base"))
            if tuned is not None:
                yield label, words.share(tuned), f"{words.share(base)} by the base"
    rates = updates["tokens_per_second"][np.isfinite(updates["tokens_per_second"])]
    if len(rates):
        yield "tokens a second", words.figure(float(np.median(rates))), "median of the updates"
    peak = updates.most("peak_memory_bytes")
    if peak:
        yield "peak memory", words.size(peak), "of tensors" if counted_by_cuda(story.plan) else "of the whole process"
    if story.plan and words.is_number(story.plan.get("trained")):
        of = words.count(story.plan.get("parameters"))
        yield "parameters trained", words.count(story.plan["trained"]), f"the base has {of}"


def _mean(scores: Any, name: str) -> float | None:
    entry = scores.get(name) if isinstance(scores, dict) else None
    mean = entry.get("mean") if isinstance(entry, dict) else None
    return mean if words.is_number(mean) else None
