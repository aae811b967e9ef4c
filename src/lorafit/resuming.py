"""A run that was stopped goes on, or a finished one for longer: `lorafit resume`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from lorafit.errors import RecipeError, RunError
from lorafit.identity import CHANGEABLE, differences, identity
from lorafit.model.hub import find_model
from lorafit.observe.console import Console
from lorafit.observe.rules.ending import memory_was_out
from lorafit.observe.rules.facts import Facts
from lorafit.observe.run_facts import facts_of
from lorafit.observe.sinks import check_sinks
from lorafit.pipeline import Result, carry_out
from lorafit.reading import read_again
from lorafit.recipe import Recipe, load_recipe
from lorafit.run import RunFolder, link_or_copy, read_json, replace_folder
from lorafit.settings import flat
from lorafit.train.checkpoint import State, newest_whole, read_state, remove
from lorafit.train.loop import planned_updates
from lorafit.training import BEST, best_weights


def resume(
    path: str | Path,
    overrides: Sequence[str] = (),
    anyway: bool = False,
    remote_code: bool = False,
    console: Console | None = None,
) -> Result:
    """Go on with a run from its newest whole checkpoint; the end is that of a run never stopped, bit for bit.

    overrides: `key=value`, only for the settings in `identity.CHANGEABLE`. anyway: also when data, recipe, base or
    versions have changed, or when no checkpoint is whole. A run stopped before its first checkpoint begins anew.

    Raises RunError when another process works in the folder, when there is nothing to go on with, and for every
    difference together; RecipeError for other settings.
    """
    run = RunFolder.open(path)
    _refuse_other_settings(overrides)
    with run.locked():
        recipe = load_recipe(run.recipe, overrides)
        check_sinks(recipe.observe)
        console = console or Console(recipe.observe.print_every, quiet=not recipe.observe.console)
        checkpoint, skipped = newest_whole(run.checkpoints)
        for broken, fault in skipped.items():
            console.warn(f"checkpoint {broken.name} is skipped: {fault}")
        start = read_state(checkpoint) if checkpoint else None
        if start is None and skipped and not anyway:
            raise RunError(f"No checkpoint in {run.checkpoints} is whole. --anyway begins anew, from update 0.")
        _refuse_finished(run, recipe, start)
        killed = _killed_for_memory(facts_of(run))
        chosen, renderer, data = read_again(recipe, remote_code, console)
        now = None
        if start is not None:
            folder = find_model(recipe.model.name, recipe.model.revision, remote_code)
            now = identity(recipe.model_dump(mode="json"), folder, data)
            found = [*differences(start.values["identity"], now), *_lost_lines(run, start)]
            _refuse_or_say(run, found, anyway, console)
            _lengthen(recipe, start, planned_updates(data.examples, recipe.train), console)
            _keep_threads(start.values["machine"]["threads"], console)
        if killed:
            recipe = _halved(recipe, start, killed, console)
        # From here on the folder is changed.
        run.sweep()
        for broken in skipped:
            remove(broken)
        if checkpoint and start and start.values["outcome"]["best_update"]:
            best = checkpoint / BEST
            replace_folder(best_weights(recipe, run), lambda temporary: link_or_copy(best, temporary))
        where = f"update {checkpoint.name.lstrip('0')}" if checkpoint else "the beginning: there is no checkpoint yet"
        console.say(f"{run.path} goes on from {where}")
        return carry_out(recipe, run, chosen, renderer, data, console, remote_code, start=start, made_of=now)


def _refuse_other_settings(overrides: Sequence[str]) -> None:
    other = [word for word in overrides if word.partition("=")[0].strip() not in CHANGEABLE]
    if other:
        raise RecipeError(
            f"A run goes on with the settings that it has; {', '.join(other)} would make another run of it.\n"
            f"What may change: {', '.join(CHANGEABLE)}."
        )


def _refuse_finished(run: RunFolder, recipe: Recipe, start: State | None) -> None:
    finished = run.status.is_file() and read_json(run.status)["state"] == "finished"
    if not finished:
        return
    if start is None:
        raise RunError(f"{run.path} is finished and kept no checkpoint, so it cannot be made longer.")
    if not _changed(recipe, start):
        done = start.values["outcome"]["update"]
        raise RunError(
            f"{run.path} is finished, after {done} updates. For more: train.epochs=N, max_updates or patience."
        )


def _changed(recipe: Recipe, start: State) -> bool:
    """Whether the settings ask for another end than the one the checkpoint was on its way to."""
    then, now = dict(flat(start.values["identity"]["recipe"])), dict(flat(recipe.model_dump(mode="json")))
    return any(then[name] != now[name] for name in ("train.epochs", "train.max_updates", "train.patience"))


def _lost_lines(run: RunFolder, start: State) -> list[str]:
    lines = len(run.metrics.read_text(encoding="utf-8").splitlines()) if run.metrics.is_file() else 0
    told = start.values["metrics_lines"]
    return [f"metrics.jsonl has {lines} lines, {told} when the checkpoint was written"] if lines < told else []


def _refuse_or_say(run: RunFolder, found: list[str], anyway: bool, console: Console) -> None:
    if not found:
        return
    lines = "".join(f"\n  {line}" for line in found)
    if not anyway:
        raise RunError(
            f"{run.path} cannot go on as the same run:{lines}\n"
            "Put back what was, or go on with --anyway; then it no longer equals a run that was never stopped."
        )
    console.warn(f"going on anyway; the end is not that of a run that was never stopped:{lines}")


def _lengthen(recipe: Recipe, start: State, updates: int, console: Console) -> None:
    """Say what another length means; a run that had stopped early trains on when its settings were changed."""
    outcome = start.values["outcome"]
    if updates < outcome["update"]:
        raise RunError(f"{outcome['update']} updates are done already, and the settings ask for {updates}.")
    if updates != outcome["updates"]:
        console.say(
            f"{updates} updates instead of {outcome['updates']}: from here on the learning rate follows the "
            "schedule of the new length"
        )
    if _changed(recipe, start):
        outcome["stopped_early"] = False


def _killed_for_memory(facts: Facts) -> str:
    """The figures of a run that the system killed for its memory, or nothing; nobody else works in its folder."""
    if facts.status.get("state") not in ("planning", "running") or not memory_was_out(facts):
        return ""
    sample = facts.hardware[-1]
    return (
        f"with {sample['resident_bytes'] / 2**30:.1f} GiB in use by it and {sample['available_bytes'] / 2**30:.2f} GiB "
        "left in the system"
    )


def _halved(recipe: Recipe, start: State | None, killed: str, console: Console) -> Recipe:
    before = start.values["tokens_per_pass"] if start else recipe.train.tokens_per_pass
    assert before != "auto"  # a run's recipe is settled
    halved = max(1, before // 2)
    console.warn(
        f"the run was killed without a word, {killed}: it goes on with {halved:,} tokens a pass instead of {before:,}. "
        "The result is the same but for rounding."
    )
    if start is not None:
        start.values["tokens_per_pass"] = halved
        return recipe
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"tokens_per_pass": halved})})


def _keep_threads(threads: int, console: Console) -> None:
    if threads != torch.get_num_threads():
        console.say(f"computing with {threads} threads, as before")
        torch.set_num_threads(threads)
