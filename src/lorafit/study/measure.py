"""A finished run at inference, measured in a process of its own: `python -m lorafit.study.measure runs/NAME`.

Writes inference.json into the run folder:

    prompts, tokens     how many were answered, with how many tokens each
    memory              bytes of tensors at the peak of an answer, weights and cache included, with the adapter apart
    unmerged, merged    {median, p95}: seconds a token after the first, one prompt at a time. Merged is the plain model
                        that `lorafit export` writes, in the run's dtype and never quantised; a fully fine-tuned model
                        is one, and has no `unmerged`.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from lorafit import hardware
from lorafit.adapters.save import load_trained
from lorafit.errors import LorafitError
from lorafit.infer.generate import generation_settings
from lorafit.model.hub import find_model
from lorafit.model.load import load_base, longest_sequence
from lorafit.opened import Opened, open_run
from lorafit.plan.measure import measured_on_cpu
from lorafit.plan.meta import held_constants
from lorafit.recipe import load_recipe
from lorafit.records import Message
from lorafit.run import write_json
from lorafit.study.figures import INFERENCE

PROMPTS, TOKENS = 4, 32


def measure_inference(path: Path, remote_code: bool = False) -> dict[str, Any]:
    """Measure a run and write inference.json; returns what is written. Raises what `open_run` raises."""
    found, prompts, full = _as_trained(path, remote_code)
    gc.collect()  # from here on that model is gone
    if not full:
        found["merged"] = summary(token_seconds(_merged(path, remote_code), prompts, found["tokens"]))
    write_json(path / INFERENCE, found)
    return found


def _as_trained(path: Path, remote_code: bool) -> tuple[dict[str, Any], list[list[int]], bool]:
    """(figures, prompts, whether every weight was trained)."""
    opened = open_run(path, remote_code=remote_code)
    full = opened.recipe.adapter.method == "none"
    prompts, tokens = _prompts(opened)
    seconds = token_seconds(opened.model, prompts, tokens)
    memory = _peak(opened.model, prompts[0], tokens, opened.base.hardware.device)
    found = {"prompts": len(prompts), "tokens": tokens, "memory": memory}
    return {**found, "merged" if full else "unmerged": summary(seconds)}, prompts, full


def _merged(path: Path, remote_code: bool) -> Any:
    """The plain model with the adapter folded in; its speed is the exported one's, whatever the base was kept in."""
    recipe = load_recipe(path / "recipe.yaml")
    chosen = hardware.choose(recipe.model.device, recipe.model.dtype)
    folder = find_model(recipe.model.name, recipe.model.revision, remote_code)
    plain = load_base(folder, chosen, "none", remote_code=remote_code)
    return load_trained(plain, recipe.adapter, path / "adapter").merge_and_unload().eval()


def _peak(model: Any, prompt: Sequence[int], tokens: int, device: torch.device) -> int | None:
    """Bytes of tensors; None where no allocator can be asked."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        _generate(model, prompt, tokens, _Clock(device))
        return torch.cuda.max_memory_allocated(device)
    if device.type != "cpu":
        return None
    with measured_on_cpu((*model.parameters(), *model.buffers(), *held_constants(model))) as measured:
        _generate(model, prompt, tokens, _Clock(device))
    return measured.peak


def token_seconds(model: Any, prompts: Sequence[Sequence[int]], tokens: int) -> list[float]:
    """The seconds of every token but each answer's first, which reads the prompt; greedy, one prompt at a time."""
    device = next(model.parameters()).device
    _generate(model, prompts[0], tokens, _Clock(device))  # to warm up
    seconds: list[float] = []
    for prompt in prompts:
        clock = _Clock(device)
        _generate(model, prompt, tokens, clock)
        seconds += [later - earlier for earlier, later in pairwise(clock.times)]
    return seconds


def _generate(model: Any, prompt: Sequence[int], tokens: int, clock: _Clock) -> None:
    settings = generation_settings((), None, tokens)
    settings.min_new_tokens = tokens
    ids = torch.tensor([prompt], device=next(model.parameters()).device)
    with torch.no_grad():
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=settings,
            stopping_criteria=StoppingCriteriaList([clock]),
        )


def summary(seconds: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(seconds), "p95": float(np.percentile(seconds, 95))}


class _Clock(StoppingCriteria):  # type: ignore[misc, unused-ignore]
    """Never stops; notes when each token was there."""

    def __init__(self, device: torch.device) -> None:
        self.times: list[float] = []
        self._device = device

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.times.append(time.perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def _prompts(opened: Opened) -> tuple[list[list[int]], int]:
    """The prompts that the run put aside, as token ids, with room for an answer; and the answer's tokens."""
    longest = longest_sequence(opened.model)
    tokens = TOKENS if longest is None else min(TOKENS, longest // 2)
    room = None if longest is None else longest - tokens
    lines = (opened.run.self_check / "prompts.jsonl").read_text(encoding="utf-8").splitlines()[:PROMPTS]
    turns = [[Message(**turn) for turn in json.loads(line)] for line in lines]
    # Raw text has no prompt: it begins with any token.
    ids = [opened.renderer.prompt_ids(messages) if messages else [0] for messages in turns]
    return [prompt[:room] for prompt in ids], tokens


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure a run at inference.")
    parser.add_argument("run_folder", type=Path)
    parser.add_argument("--trust-remote-code", action="store_true")
    args = parser.parse_args()
    try:
        measure_inference(args.run_folder, args.trust_remote_code)
    except LorafitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
