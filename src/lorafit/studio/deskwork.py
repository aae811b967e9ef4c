"""A worker of the desk: a process that imports torch and transformers once, and answers what the pages ask.

A line of JSON in, a line of JSON out. It ends when its input does, so with the studio, however that ended.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import torch

from lorafit import builtin
from lorafit.advise.advice import advice
from lorafit.advise.look import base_named
from lorafit.data.inspect import EXAMPLES
from lorafit.data.template import Renderer, choose_template
from lorafit.doctor.run import export_note
from lorafit.errors import LorafitError, ModelError
from lorafit.model.hub import MODELSCOPE, WEIGHTS, find_description, is_local, load_tokenizer
from lorafit.observe.console import Console
from lorafit.plan.devices import Device, find_device, measure_cpu
from lorafit.plan.settle import settle
from lorafit.plan.shapes import config_of, pretty
from lorafit.planning import Planned, question_of
from lorafit.reading import base_of, look_at_data, samples_of
from lorafit.recipe import parse_recipe
from lorafit.run import RunFolder

REJECTED = 20  # rows that are named
SAMPLES = 8  # that can be looked at
OF_TRAIN = ("epochs", "batch_size")  # what the data report asks of the training
BYTES = 2  # of a weight, as models are published
# Without a question for so long a worker ends; one that has looked at a CUDA card, whose context takes memory from the
# runs, sooner.
IDLE_SECONDS, CARD_SECONDS = 900.0, 60.0


class _Mute(Console):
    """Says nothing: all of it is in what is sent back."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    def warn(self, text: str) -> None:
        pass


def model(name: str) -> dict[str, Any]:
    """What a base is, without its weights: of a hub's model config and tokenizer are fetched.

    name: as a recipe has it. template: None, with a `reason`, where its tokenizer is not to be had. weights: bytes,
    about where they are not on this disk (`here`).
    """
    base = base_named(name)
    if is_local(name):
        find_description(base.name)  # refuses what cannot be trained
    text = base.config.config.get_text_config()
    here = _weights(base.name, base.config.origin)
    return {
        "name": base.name,
        "shown": base.shown,
        "line": pretty(base.config),
        "origin": "builtin" if name == builtin.NAME else base.config.origin,
        "kind": base.config.config.model_type,
        "parameters": base.parameters,
        "layers": text.num_hidden_layers,
        "width": text.hidden_size,
        "vocabulary": text.vocab_size,
        "context": base.context,
        "note": base.config.note,
        "weights": here or BYTES * base.parameters,
        "here": here > 0,
        **_template(base.name),
    }


def _template(name: str) -> dict[str, Any]:
    try:
        tokenizer = load_tokenizer(find_description(name))
    except ModelError as error:
        return {"template": None, "looks": None, "evidence": [], "reason": str(error)}
    template = choose_template(tokenizer)
    facts = Renderer(tokenizer, template).facts()
    looks, evidence = base_of(name, tokenizer).judgement()
    shown = {"name": template.name, "origin": facts.origin, "own": facts.own, "end_of_turn": list(facts.end_of_turn)}
    return {"template": shown, "looks": looks, "evidence": evidence, "reason": ""}


def _weights(name: str, origin: str) -> int:
    """Bytes of the weights on this disk; 0 where they are not (of ModelScope's nothing is known)."""
    if name.startswith(MODELSCOPE):
        return 0
    if origin in ("hub", "known shape"):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(name, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError):
            return 0
    else:
        folder = builtin.MODEL if name == builtin.NAME else Path(name).expanduser()
    return sum(file.stat().st_size for file in folder.glob(WEIGHTS))


def data(model: str, train: str | list[str], **settings: Any) -> dict[str, Any]:
    """The data report, and the first rows that were left out. settings: of the recipe's `data`, and OF_TRAIN."""
    of_train = {name: settings.pop(name) for name in OF_TRAIN if name in settings}
    prepared, report = look_at_data(model, {**settings, "train": train}, of_train, _Mute(), max(SAMPLES, EXAMPLES))
    rejected = [
        {"file": row.record.source.file, "row": row.record.source.row, "field": row.field, "problem": row.problem}
        for row in prepared.rejected[:REJECTED]
    ]
    return {**report, "rejected_rows": rejected}


def advise(model: str, data: str | list[str], gpu: str, task: str | None) -> dict[str, Any]:
    return advice(model, data, gpu, task, console=_Mute()).to_json()


def plan(recipe: dict[str, Any], gpu: str, changes: bool) -> dict[str, Any]:
    """recipe: without data.train a plan of samples that are taken for granted. changes: whether to look for them, too.

    notes: what to know of model and device. run_seconds (of all updates), tokens_per_second: [low, high] or None.
    """
    planned = _planned(json.dumps(recipe, sort_keys=True), gpu)
    question, found = planned.question, planned.plan
    seconds, pace = found.run_seconds(), found.tokens_per_second()
    return {
        **(planned.to_json() if changes else found.to_json()),
        "fits": found.verdict != "no",
        "notes": [note for note in (question.device.note, question.ways.reason) if note],
        "run_seconds": [seconds.low, seconds.high] if seconds else None,
        "tokens_per_second": [pace.low, pace.high] if pace else None,
    }


@functools.lru_cache(maxsize=1)
def _planned(recipe: str, gpu: str) -> Planned:
    """Kept for the same question asked once more with `changes`."""
    content = json.loads(recipe)
    data = content.get("data") or {}
    parsed = parse_recipe({**content, "data": {"train": "none", **data}})
    config = config_of(parsed.model.name, revision=parsed.model.revision)
    samples = samples_of(parsed, False, _Mute()) if data.get("train") else None
    question = question_of(parsed, config, _measured(find_device(gpu)), samples)
    return Planned(question, *settle(question))


def _measured(device: Device) -> Device:
    """This machine's CPU with its speeds."""
    if device.kind != "cpu" or device.free_bytes is None:
        return device
    rate, bandwidth = _speeds()
    return replace(device, matrix_rate=rate, bandwidth=bandwidth)


_speeds = functools.cache(measure_cpu)  # measured once


def exportable(run: str) -> dict[str, Any]:
    """`gguf`: why the run cannot become GGUF; None where it can, or where its base is not on this disk."""
    return {"gguf": export_note(RunFolder.open(run))}


WORK: dict[str, Callable[..., dict[str, Any]]] = {
    "model": model,
    "data": data,
    "advice": advise,
    "plan": plan,
    "exportable": exportable,
}


def main() -> None:
    sys.stdout.flush()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no reply
    gc.freeze()  # what the imports made stays
    gc.set_threshold(100_000, 50, 1000)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    while True:
        try:
            wait = CARD_SECONDS if torch.cuda.is_initialized() else IDLE_SECONDS
            number, _, request = requests.get(timeout=wait).partition(b" ")
        except queue.Empty:
            os._exit(0)
        replies.write(number + b" " + _reply(request) + b"\n")
        replies.flush()


def _read(lines: IO[bytes], requests: queue.SimpleQueue[bytes]) -> None:
    for line in lines:
        requests.put(line)
    os._exit(0)  # whatever is being worked on: nobody waits for it


def _reply(request: bytes) -> bytes:
    """A JSON object: `answer`, or `refused` (with the exit code), or `broken`: a fault of lorafit's own."""
    try:
        asked = json.loads(request)
        return json.dumps({"answer": WORK[asked["work"]](**asked["given"])}).encode()
    except LorafitError as error:
        return json.dumps({"refused": str(error), "code": error.exit_code}).encode()
    except Exception as error:  # noqa: BLE001  the next question may go well; this one is in the log
        traceback.print_exc()
        return json.dumps({"broken": f"{type(error).__name__}: {error}"}).encode()


if __name__ == "__main__":
    main()
