"""lorafit itself, a whole `finetune` from a recipe; `settings`: overrides of the recipe, as {section: {key: value}}.

The examples go in as text that the model's made-up tokenizer turns into the same tokens: a word a token.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from journal import Journal

from lorafit.data.batches import epoch_order
from lorafit.observe.console import Console
from lorafit.pipeline import finetune
from lorafit.recipe import parse_recipe
from lorafit.records import Event

TEMPLATE = "{% for message in messages %}{{ message.content }} {% endfor %}"
SEED = 0


class Watch(Console):
    """Shows nothing; reports each update."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(quiet=True)
        self._journal = journal

    def __call__(self, event: Event) -> None:
        if event.kind != "update":
            return
        values, batch = event.values, self._journal.job["batch"]
        examples = range((values["update"] - 1) * batch, values["update"] * batch)
        expected = sum(len(self._journal.examples[i]["input_ids"]) for i in examples)
        if values["tokens"] != expected:
            raise ValueError(f"update {values['update']} had {values['tokens']} tokens, not {expected}")
        # No padding: the slots are the tokens.
        self._journal.update(examples, expected, values["loss"], values["gradient_norm"])


def write_data(journal: Journal, folder: Path) -> Path:
    """The examples as conversations, placed so that lorafit's own shuffling gives them in the order of the work."""
    rows: list[str] = [""] * len(journal.examples)
    for example, place in zip(journal.examples, epoch_order(len(rows), SEED, 0), strict=True):
        begin = example["labels"].count(-100)
        words = [f"w{token}" for token in example["input_ids"]]
        question = {"role": "user", "content": " ".join(words[:begin])}
        answer = {"role": "assistant", "content": " ".join(words[begin:])}
        rows[place] = json.dumps({"messages": [question, answer]})
    path = folder / "work.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return path


def recipe_values(journal: Journal, folder: Path) -> dict[str, Any]:
    (folder / "template.jinja").write_text(TEMPLATE)
    values: dict[str, Any] = {
        "name": "run",
        "output": str(folder),
        "model": {"name": journal.job["model"], "device": "cpu", "dtype": "bfloat16"},
        "data": {
            "train": str(write_data(journal, folder)),
            "held_out": 0.0,
            "max_length": journal.job["longest"],
            "template": str(folder / "template.jinja"),
        },
        "adapter": {"rank": 16, "alpha": 32, "dropout": 0.0},
        "train": {"batch_size": journal.job["batch"], "epochs": 1, "learning_rate": 2e-4, "seed": SEED},
        "evaluate": {"prompts": 0},
        "observe": {"console": False},
    }
    for section, settings in journal.settings.items():
        values[section] |= settings
    return values


if __name__ == "__main__":
    journal = Journal()
    folder = Path(journal.job["scratch"])
    finetune(parse_recipe(recipe_values(journal, folder)), console=Watch(journal))
    journal.end()
