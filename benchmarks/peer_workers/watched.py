"""Has a trainer of the transformers kind (Trainer, TRL, Unsloth) report each update to the journal."""

from __future__ import annotations

import time
from typing import Any

from journal import Journal
from transformers import TrainerCallback


def trainer_arguments(journal: Journal) -> dict[str, Any]:
    """What every trainer is told: the updates, the examples' order, no files, no reports; then the peer's settings."""
    return {
        "output_dir": journal.job["scratch"],
        "max_steps": journal.job["updates"],
        "train_sampling_strategy": "sequential",
        "learning_rate": 2e-4,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        **journal.settings["arguments"],
    }


def watch(trainer: Any, journal: Journal) -> None:
    """Count, from the very batches that the trainer is about to use, documents and slots; note each update's end."""
    trained_step, seen = trainer.training_step, _Update()

    def training_step(model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        seen.slots += inputs["input_ids"].numel()
        seen.examples += [journal.place(document) for document in _documents(inputs)]
        loss = trained_step(model, inputs, *rest, **named)
        seen.loss += float(loss)
        return loss

    class Report(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            seen.ended = time.monotonic()

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "grad_norm" in logs:
                journal.update(seen.examples, seen.slots, seen.loss, float(logs["grad_norm"]), seen.ended)
                seen.__init__()  # type: ignore[misc]

    trainer.training_step = training_step
    trainer.add_callback(Report())


class _Update:
    def __init__(self) -> None:
        self.slots, self.loss, self.ended = 0, 0.0, 0.0
        self.examples: list[int] = []


def _documents(inputs: Any) -> list[list[int]]:
    """The documents of a batch: a padded row is one, a packed row begins a new one wherever positions begin again."""
    found: list[list[int]] = []
    for row, row_ids in enumerate(inputs["input_ids"]):
        ids = row_ids.tolist()
        positions = inputs["position_ids"][row].tolist() if "position_ids" in inputs else list(range(len(ids)))
        mask = inputs["attention_mask"][row].tolist() if "attention_mask" in inputs else [1] * len(ids)
        for token, position, kept in zip(ids, positions, mask, strict=True):
            if kept and position == 0:
                found.append([])
            if kept:
                found[-1].append(token)
    return found
