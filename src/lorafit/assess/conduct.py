"""An evaluation from what is wanted to its page."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from lorafit.assess.parts import Parts, folder_name, rows_settings
from lorafit.assess.speakers import Speaker, names_of, speakers
from lorafit.assess.subject import Subject
from lorafit.assess.wanted import Part, Wanted
from lorafit.errors import RunError
from lorafit.evaluate.answers import Way, answer, choose
from lorafit.evaluate.harness import harness_scores
from lorafit.evaluate.journal import Journal
from lorafit.evaluate.likelihood import LIKELIHOOD, Likelihood, likelihoods, measured
from lorafit.evaluate.questions import conversations_of, read_questions
from lorafit.evaluate.score import score_part
from lorafit.evaluate.summary import harness_rows, metric_rows
from lorafit.hardware import float32_through_onednn
from lorafit.model.forward import choose_forward
from lorafit.model.load import longest_sequence
from lorafit.observe.console import Console
from lorafit.opened import Opened
from lorafit.report.evaluation import write_evaluation_page
from lorafit.report.evaluation_table import evaluation_tables
from lorafit.run import LOCK, InUseError, only_process, read_json, write_json

TOKENS_PER_PASS = 2048
HELD_OUT = "held-out rows"
MADE_OF = "made_of.json"


def evaluate(
    subject: Subject,
    wanted: Wanted,
    console: Console,
    name: str = "",
    restart: bool = False,
    remote_code: bool = False,
) -> Path:
    """Answer, score, and write evaluation.json and report.html into the subject's evaluation/NAME; returns that folder.

    The model is loaded when all questions are known to be right. Raises LorafitErrors for anything that the user can
    mend. What was answered when it was stopped is kept, and the same call goes on there.
    """
    began = time.time()
    folder = subject.folder / "evaluation" / (name or _named(wanted))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with only_process(folder / LOCK):
            if restart:
                _clear(folder)
            parts = _parts(folder, wanted, subject, console)
            content = _answered(subject.open, folder, parts, wanted, console, remote_code)
            content |= {"seconds": time.time() - began, "made": time.time()}
            write_json(folder / "evaluation.json", {"name": folder.name, "of": str(subject.folder), **content})
    except InUseError:
        raise RunError(f"Another process evaluates in {folder}. Wait for it or stop it.") from None
    except KeyboardInterrupt:
        console.say(f"What was answered is kept in {folder}: the same command goes on there.")
        raise
    for table in evaluation_tables(content, console.terminal.width):
        console.show(table)
    console.say(f"page: {write_evaluation_page(folder)}")
    return folder


def _clear(folder: Path) -> None:
    """Throw away an evaluation, but for the lock that is held."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _named(wanted: Wanted) -> str:
    named = [*wanted.data, *wanted.tasks, *wanted.harness]
    return folder_name("+".join(Path(one).stem or one for one in named)) if named else "held-out"


def _parts(folder: Path, wanted: Wanted, subject: Subject, console: Console) -> list[Part]:
    parts = Parts(folder, wanted, subject.max_new_tokens, console)
    for data in wanted.data:
        parts.of_rows(data, partial(conversations_of, rows_settings([data], wanted)))
    for task in wanted.tasks:
        parts.of_task(task)
    if wanted.harness:
        parts.of_harness()
    if not parts.made:
        if subject.held_out is None:
            raise RunError("Nothing to evaluate on: name data (--data FILE) or a task (--task NAME).")
        rows = list(subject.held_out())
        parts.of_rows(HELD_OUT, lambda: iter(rows))
    parts.of_forgetting()
    return parts.made


def _answered(
    open_model: Callable[[], Opened],
    folder: Path,
    parts: Sequence[Part],
    wanted: Wanted,
    console: Console,
    remote_code: bool,
) -> dict[str, Any]:
    asked = {part.folder.name: _asked(part) for part in parts}
    opened = open_model()
    _check_same(folder, {**asked, "model": opened.fingerprint()})
    names = names_of(opened)
    facts = {"base": opened.recipe.model.name, "method": opened.method, "speakers": names}
    tokenizer = opened.renderer.tokenizer
    renderer = opened.renderer
    turns, chosen = speakers(opened, console, remote_code), opened.base.hardware
    del opened  # so that a fully tuned model is gone when its base is loaded
    with float32_through_onednn(chosen):
        for speaker in turns:
            for part in parts:
                _ask(speaker, part, renderer, wanted, console)
            del speaker

    def count(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False).input_ids]

    scored = []
    with console.working("scoring"):
        for part in parts:
            with contextlib.ExitStack() as stack:
                journals = {name: stack.enter_context(part.journal(name)) for name in names}
                scored.append(_scored(part, journals, count))
    warnings = [f"{part['name']}: {note}" for part in scored for note in part.pop("warnings")]
    for warning in warnings:
        console.warn(warning)
    return {**facts, "parts": scored, "warnings": warnings}


def _check_same(folder: Path, now: dict[str, Any]) -> None:
    """What was answered before was answered to the same questions by the same model. Raises RunError if not."""
    file = folder / MADE_OF
    then = {key: value for key, value in read_json(file).items() if key != "schema"} if file.is_file() else now
    changed = [key for key in dict.fromkeys((*then, *now)) if then.get(key) != now.get(key)]
    if changed:
        raise RunError(
            f"{folder} holds answers of another evaluation; changed since: {', '.join(changed)}.\n"
            "Begin anew with --restart, or keep both with --name NEW."
        )
    write_json(file, now)


def _asked(part: Part) -> dict[str, Any]:
    return {"digest": part.digest, "max_new_tokens": part.max_new_tokens, "stop": list(part.stop)}


def _ask(speaker: Speaker, part: Part, renderer: Any, wanted: Wanted, console: Console) -> None:
    """Fill the journal of one speaker with what is missing in it."""
    with part.journal(speaker.name) as journal:
        if part.kind == "harness":
            if 1 not in journal:
                with console.working(f"{speaker.name}: {', '.join(wanted.harness)} through lm-eval"):
                    found = harness_scores(
                        speaker.engine, renderer.tokenizer, speaker.adapter, list(wanted.harness), wanted.limit,
                        wanted.harness_path, wanted.shots,
                    )  # fmt: skip
                journal.write(1, {"scores": found})
            return
        missing = part.count - len(journal)
        if not missing:
            console.say(f"{speaker.name}, {part.name}: {part.count:,} done before")
            return
        verb = {"answers": "answers", "choices": "chooses"}.get(part.kind, "reads")
        kept = f" ({len(journal):,} kept from before)" if len(journal) else ""
        with console.working(f"{speaker.name} {verb} {part.name}{kept}", total=missing) as advance:
            if part.read is not None:
                _read(speaker, part, renderer, journal, advance)
                return
            way = Way(speaker.engine, renderer, speaker.adapter, part.max_new_tokens, part.stop)
            ask = choose if part.kind == "choices" else answer
            ask(way, read_questions(part.questions), journal, advance)
    for count, what in ((way.cut, "lost their beginning"), (way.unasked, "left no room for an answer")):
        note = f"{count:,} prompts were too long for the model and {what}"
        if count and note not in part.notes:  # the same for every speaker
            part.notes.append(note)


def _read(speaker: Speaker, part: Part, renderer: Any, journal: Journal, advance: Callable[[int], None]) -> None:
    assert part.read is not None
    engine = speaker.engine
    model = engine.adapters.model
    with engine.adapters.alone(speaker.adapter):
        forward, _ = choose_forward(model)
        longest = longest_sequence(model) or 1 << 30
        rows = islice(part.read(), len(journal), None)
        found = likelihoods(forward, renderer, rows, TOKENS_PER_PASS, longest)
        for number, one in enumerate(found, start=len(journal) + 1):
            journal.write(number, {"nats": one.nats, "tokens": one.tokens, "right": one.right, "bytes": one.bytes})
            advance(1)


def _scored(part: Part, journals: Mapping[str, Journal], count: Callable[[Sequence[str]], list[int]]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": part.name,
        "kind": part.kind,
        "rows": part.rows or None,
        "questions": part.count or None,
        "note": "; ".join(part.notes),
        "warnings": [],
    }
    if part.kind == "harness":
        scores = {name: next(journal.results(iter([1])))["scores"] for name, journal in journals.items()}
        return content | {"metrics": harness_rows(scores)}
    if part.read is not None:
        found = {name: measured(_likelihoods(journal, part.count)) for name, journal in journals.items()}
        return content | {"metrics": metric_rows(list(LIKELIHOOD.values()), found)}
    scoring = replace(part.scoring, token_count=count)
    content |= score_part(read_questions(part.questions), journals, scoring)
    content["warnings"] = list(_warnings(content))
    return content


def _likelihoods(journal: Journal, count: int) -> list[Likelihood]:
    return [
        Likelihood(one["nats"], one["tokens"], one["right"], one["bytes"])
        for one in journal.results(iter(range(1, count + 1)))
    ]


def _warnings(part: dict[str, Any]) -> Iterator[str]:
    for speaker, reasons in part["reasons"].items():
        total = reasons["stop"] + reasons["length"]
        if total and part["empty"][speaker] == total:
            yield f"every answer of {speaker} is empty"
        elif total and reasons["length"] > total / 2:
            cut = f"{reasons['length']:,} of {total:,} answers of {speaker}"
            yield f"{cut} were cut at the length limit (--max-new-tokens)"
    notes = {score["note"] for row in part["metrics"] for score in row["scores"].values() if score["note"]}
    yield from sorted(notes)
