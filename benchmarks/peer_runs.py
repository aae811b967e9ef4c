"""A worker in a process of its own: what every worker is given (a model and examples in files), how it is run, what it
is held against. The workers are in peer_workers/, which tell what they did through its journal.py.

Letters of shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
import work
from tokenizers import Tokenizer, models, pre_tokenizers

WORKERS = Path(__file__).parent / "peer_workers"
ALONE = {  # nothing is fetched and nothing reported
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "WANDB_MODE": "disabled",
    "TOKENIZERS_PARALLELISM": "false",
}
Example = dict[str, list[int]]


def write_model(shape: str, folder: Path) -> int:
    """The random model in bfloat16 and a tokenizer of made-up words, w0, w1, ..., to a folder.

    Returns the parameters of the linear layers and the head.
    """
    model = work.random_model(shape)
    model.save_pretrained(folder)
    words = {f"w{i}": i for i in range(work.vocabulary(shape))}
    made = Tokenizer(models.WordLevel({**words, "<eos>": len(words), "<pad>": len(words) + 1}, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<eos>", pad_token="<pad>", model_max_length=2048
    ).save_pretrained(folder)
    return work.linear_parameters(model)


def examples(shape: str, count: int, shared: Path) -> list[Example]:
    """input_ids and labels (-100 where the token is not trained), `count` of them: all different, one answer each."""
    found: dict[tuple[int, ...], Example] = {}
    for sample in work.samples(shared, work.vocabulary(shape), count + count // 4 + 8):
        begin = len(sample) - sample.supervised_tokens
        if sample.trained[begin:].all():
            ids = sample.token_ids.tolist()
            found.setdefault(tuple(ids), {"input_ids": ids, "labels": [-100] * begin + ids[begin:]})
    if len(found) < count:
        raise SystemExit(f"only {len(found)} examples of one question and answer were found, {count} are needed.")
    return list(found.values())[:count]


@dataclass(frozen=True, slots=True)
class Ran:
    """What one process gave. first: the first update, which warms up; rates (useful tokens a second) and padding (its
    share): of each update after it; first_seconds: from the command to its end; peak: resident bytes."""

    first: dict[str, Any]
    rates: list[float]
    padding: list[float]
    first_seconds: float
    peak: int


def run_worker(
    python: Path,
    worker: str,
    settings: Mapping[str, Any],
    folder: Path,
    updates: int,
    limit: int,
    variables: Mapping[str, str],
) -> Ran:
    """One process of a worker on folder/model and folder/work.json: an update to warm up and then `updates`.

    limit: seconds. Raises RuntimeError with the reason when it gives no figures.
    """
    scratch = Path(tempfile.mkdtemp(prefix=f"{worker}-", dir=folder))
    report, job = scratch / "report.jsonl", scratch / "job.json"
    given = {
        "model": str(folder / "model"), "work": str(folder / "work.json"), "report": str(report),
        "scratch": str(scratch), "updates": updates + 1, "batch": work.BATCH, "longest": work.LONGEST,
        "settings": settings,
    }  # fmt: skip
    job.write_text(json.dumps(given))
    command = [python, WORKERS / f"{worker}.py", job]
    with (scratch / "log.txt").open("w") as log:
        began = time.monotonic()
        try:
            ended = subprocess.run(
                command, cwd=scratch, env=os.environ | ALONE | variables, stdout=log, stderr=log, timeout=limit
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"given up after {limit} s") from None
    if ended.returncode:
        last = (scratch / "log.txt").read_text().strip().splitlines()[-1:] or ["it said nothing"]
        raise RuntimeError(f"exit {ended.returncode}: {last[0][:300]}")
    *done, end = [json.loads(line) for line in report.read_text().splitlines()]
    if len(done) != updates + 1:
        raise RuntimeError(f"{len(done)} updates, not {updates + 1}")
    if not all(update["gradient_norm"] > 0 for update in done):
        raise RuntimeError("a gradient of zero")
    lengths = [len(example["input_ids"]) for example in json.loads((folder / "work.json").read_text())]
    tokens = [sum(lengths[i] for i in update["examples"]) for update in done]
    return Ran(
        first=done[0],
        rates=[n / (b["at"] - a["at"]) for n, (a, b) in zip(tokens[1:], itertools.pairwise(done), strict=True)],
        padding=[1 - n / update["slots"] for n, update in zip(tokens[1:], done[1:], strict=True)],
        first_seconds=done[0]["at"] - began,
        peak=end["peak"],
    )


class Reference:
    """The base's loss on examples, one a pass, in float32 from the same bfloat16 (or, of them, NF4) weights.

    An adapter starts at zero, so this is every peer's first loss, whatever its adapter is drawn from.
    """

    def __init__(self, folder: Path, nf4: bool) -> None:
        self._work: list[Example] = json.loads((folder / "work.json").read_text())
        self._sums: dict[int, tuple[float, int]] = {}
        config = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
        self._model = transformers.AutoModelForCausalLM.from_pretrained(
            folder / "model", dtype=torch.float32, device_map="cpu", quantization_config=config if nf4 else None
        ).train()  # bitsandbytes repacks 4-bit weights in evaluation mode; there is no dropout to switch off

    def loss(self, chosen: list[int], mean_of_means: bool) -> float:
        """Nats a supervised token: over all of the chosen examples alike, or the mean of each one's own mean."""
        sums = [self._sum(i) for i in chosen]
        if mean_of_means:
            return sum(nats / count for nats, count in sums) / len(sums)
        return sum(nats for nats, _ in sums) / sum(count for _, count in sums)

    @torch.no_grad()
    def _sum(self, index: int) -> tuple[float, int]:
        if index not in self._sums:
            ids_T = torch.tensor(self._work[index]["input_ids"])
            targets = torch.tensor(self._work[index]["labels"])[1:]
            logits_TV = self._model(input_ids=ids_T[None], use_cache=False).logits[0, :-1]
            nats = torch.nn.functional.cross_entropy(logits_TV, targets, reduction="sum", ignore_index=-100)
            self._sums[index] = nats.item(), int((targets != -100).sum())
        return self._sums[index]
