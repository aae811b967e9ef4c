"""`lorafit compare` and `lorafit sweep`: the runs of a study one after another, each in processes of its own.

A run is what `lorafit train` makes of its recipe, or `lorafit resume` of a half one; then `measure.py` measures it at
inference. What is done already is not done again.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from lorafit.errors import LorafitError, RecipeError, RunError
from lorafit.observe.console import Console
from lorafit.recipe import Recipe
from lorafit.report.words import duration
from lorafit.run import RunFolder, read_json
from lorafit.study.axes import Axes
from lorafit.study.children import POLL_SECONDS, Child
from lorafit.study.estimate import planned_seconds
from lorafit.study.figures import INFERENCE, read_figures
from lorafit.study.folder import Entry, Study, expand, open_study, study_of, write
from lorafit.study.page import write_page
from lorafit.study.progress import StudyProgress
from lorafit.study.table import best_lines, faults_of
from lorafit.study.terminal import tables

MANY = 200  # runs; more are asked about
INTERRUPTED = 130


def conduct(
    recipe: Recipe,
    axes: Axes,
    seeds: int,
    path: Path,
    retry: bool = False,
    yes: bool = False,
    remote_code: bool = False,
    console: Console | None = None,
) -> tuple[Study, int]:
    """Train every combination of the axes' values with `seeds` seeds from the recipe's on, measure and compare.

    path: the study's folder; one that was begun goes on. retry: also what failed; yes: also thousands. Returns the
    study and the exit code: 0 when a run is finished, that of a failed one when none is, 130 when it was interrupted.

    Raises RecipeError for what the recipe does not take and for too many runs, RunError for the folder of another study
    or when the study is at work already.
    """
    console = console or Console()
    with contextlib.ExitStack() as stack:
        if new := not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        else:
            open_study(path)  # before anything is written there
            _lock(path, stack)
        first = recipe.train.seed
        study = study_of(path, recipe, axes, range(first, first + seeds))
        if not yes:
            _refuse_many(study, recipe, remote_code)
        write(study, expand(study, recipe))
        if new:
            _lock(path, stack)
        wanted = [entry for entry in study.entries if _is_wanted(study, entry, retry)]
        console.say(f"{path}: {len(study.entries)} runs, {len(study.entries) - len(wanted)} done before")
        code = _carry_out(study, wanted, remote_code, console)
    for line in best_lines(study):
        console.say(line)
    for names, state, message in faults_of(study):
        console.say(f"{names}: {state}: {message}", style="red")
    for table in tables(study, console.terminal.width):
        console.say("")
        console.show(table)
    console.say(f"page: {study.page}")
    return study, code


def _lock(path: Path, stack: contextlib.ExitStack) -> None:
    try:
        stack.enter_context(RunFolder(path).locked())
    except RunError:
        raise RunError(f"Another process works on the study {path}. Wait for it or stop it.") from None


def _refuse_many(study: Study, recipe: Recipe, remote_code: bool) -> None:
    """Raises RecipeError for more runs than are meant by most, with their number and about how long they take."""
    done = [entry.seconds for entry in study.entries if entry.state == "finished"]
    count = math.prod(map(len, study.axes.values())) * len(study.seeds) - len(done)
    if count > MANY:
        one = statistics.mean(done) if done else planned_seconds(recipe, remote_code)
        time_ = "how long they take is not known" if one is None else f"about {duration(one * count)}"
        raise RecipeError(f"These are {count:,} runs ({time_}). Fewer values or seeds, or --yes to train them all.")


def _carry_out(study: Study, wanted: Sequence[Entry], remote_code: bool, console: Console) -> int:
    progress = StudyProgress(console, study, wanted)
    codes = [0] if any(entry.state == "finished" for entry in study.entries) else []
    with progress.shown():
        for entry in wanted:
            codes.append(_run(study, entry, remote_code, progress, console))
            study.save()
            write_page(study)
            if codes[-1] == INTERRUPTED:
                return INTERRUPTED
            progress.end(entry)
    write_page(study)
    return min(codes, default=LorafitError.exit_code)


def _is_wanted(study: Study, entry: Entry, retry: bool) -> bool:
    """Whether a run still has to be trained or measured. Where the study was killed, the run's own word counts."""
    if entry.state == "running":
        failed = _state_of(study, entry) == "failed"
        entry.state = "failed" if failed else "interrupted"
        entry.message = str(read_json(study.run_of(entry) / "status.json").get("message", "")) if failed else ""
    complete = entry.state == "finished" and not entry.message
    return not complete and (retry or entry.state not in ("failed", "finished"))


def _state_of(study: Study, entry: Entry) -> str:
    status = study.run_of(entry) / "status.json"
    return str(read_json(status).get("state", "")) if status.is_file() else ""


def _run(study: Study, entry: Entry, remote_code: bool, progress: StudyProgress, console: Console) -> int:
    """Train one run and measure it; its exit code, INTERRUPTED when the study is to end."""
    run, before = study.run_of(entry), entry.seconds
    _wait_for_orphan(run, console)
    progress.begin()
    entry.state, entry.message = "running", ""
    study.save()
    code = 0
    for arguments in _steps(study, entry):
        flags = ["--trust-remote-code"] if remote_code else []
        child = Child(["-W", "ignore::FutureWarning", *arguments, *flags], study.log_of(entry))
        code = child.wait(lambda: progress.look(entry))
        entry.seconds = before + progress.seconds
        if child.stopped or code == INTERRUPTED:
            entry.state = "interrupted"
            return INTERRUPTED
        if code:
            entry.message = child.message()
            break
    if _state_of(study, entry) != "finished":
        entry.state = "failed"
        return code if code > 0 else LorafitError.exit_code
    if code:
        entry.message = f"not measured at inference: {entry.message}"
    entry.state, entry.figures = "finished", read_figures(run)
    return 0


def _steps(study: Study, entry: Entry) -> list[list[str]]:
    """What Python is to run so that the run is trained and measured."""
    run = study.run_of(entry)
    if run.exists() and not (run / "recipe.yaml").is_file():
        shutil.rmtree(run)  # stopped as it was made
    steps = []
    if not run.exists():
        steps.append(["-m", "lorafit.cli.main", "train", str(study.recipe_of(entry))])
    elif _state_of(study, entry) != "finished":
        steps.append(["-m", "lorafit.cli.main", "resume", str(run)])
    if not (run / INFERENCE).is_file():
        steps.append(["-m", "lorafit.study.measure", str(run)])
    return steps


def _wait_for_orphan(run: Path, console: Console) -> None:
    """A study that was killed may have left its run at work: that is let finish."""
    told = False
    while run.exists():
        with contextlib.suppress(RunError), RunFolder(run).locked():
            return
        if not told:
            console.say(f"{run.name} is still trained by a process of a study that was killed: waiting for it")
        told = True
        time.sleep(POLL_SECONDS)
