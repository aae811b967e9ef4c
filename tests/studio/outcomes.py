"""Runs with what training and evaluation left behind, for the tests of the screens that show it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from lorafit.run import RunFolder, write_json
from lorafit.studio.workspace import Workspace

# (prompt, reference, what the base answers, its token F1, what the tuned model answers, its token F1)
ROWS = (
    ("Capital of France?", "Paris", "London", 0.0, "Paris", 1.0),
    ("2 + 2?", "4", "4", 1.0, "five", 0.0),
    ("天空是什么颜色？", "蓝色", "<b>红</b>", 0.0, "蓝色", 1.0),
    ('Say "hi"', "hi", "hi", 1.0, "hi", 1.0),
)


def metric(name: str, base: float, tuned: float, real: bool, **values: Any) -> dict[str, Any]:
    """A row of scores.json or evaluation.json; intervals of 0.1 on both sides."""

    def score(value: float) -> dict[str, Any]:
        return {"score": value, "low": value - 0.1, "high": value + 0.1, "note": ""}

    moved = tuned - base
    difference = {
        "value": moved, "low": moved - 0.1, "high": moved + 0.1, "samples": 40, "needed": 900.0, "is_real": real,
        "sentence": "",
    }  # fmt: skip
    return {
        "name": name, "better": "higher", "share": True, "high": 1.0,
        "scores": {"base": score(base), "tuned": score(tuned)}, "differences": {"tuned": difference}, **values,
    }  # fmt: skip


def add_outcome(
    workspace: Workspace,
    name: str,
    losses: Mapping[int, float],
    rows: Sequence[tuple[str, str, str, float, str, float]] = ROWS,
    tuned: float = 0.75,
    **settings: Any,
) -> RunFolder:
    """A finished run. losses: update to held-out loss; rows: of samples.jsonl; tuned: its token F1."""
    run = RunFolder.create(workspace.runs / name)
    recipe = {"name": name, "model": {"name": "builtin"}, "data": {"train": "builtin"}, "adapter": settings}
    run.recipe.write_text(yaml.safe_dump(recipe, allow_unicode=True))
    write_json(run.status, {"state": "finished", "pid": 1, "heartbeat": time.time(), "update": 3, "updates": 3})
    lines: list[dict[str, Any]] = [{"update": at, "held_out_loss": loss} for at, loss in losses.items() if at == 0]
    for n, speed in ((1, 10.0), (2, 100.0), (3, 300.0)):
        used = {"tokens_per_second": speed, "peak_memory_bytes": n * 1000, "elapsed_seconds": n * 2.0}
        lines.append({"update": n, "loss": 2.0, **used})
        lines += [{"update": at, "held_out_loss": loss} for at, loss in losses.items() if at == n]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.evaluation.mkdir()
    write_json(
        run.evaluation / "scores.json",
        {"prompts": len(rows), "metrics": [metric("token_f1", 0.5, tuned, real=tuned > 0.7)]},
    )
    with (run.evaluation / "samples.jsonl").open("w", encoding="utf-8") as file:
        for prompt, reference, base, base_score, answer, score in rows:
            line = {
                "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}],
                "reference": reference,
                "base": {"text": base, "ended": True, "token_f1": base_score},
                "tuned": {"text": answer, "ended": False, "token_f1": score},
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return run
