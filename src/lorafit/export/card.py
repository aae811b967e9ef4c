"""The model card of an export: what it is, what it was made of, how good it is, and how its check came out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lorafit.run import RunFolder

LIBRARIES = {
    "merged": "transformers",
    "quantized": "transformers",
    "onnx": "onnx",
    "gguf": "gguf",
    "gguf-adapter": "gguf",
}
USES = {
    "transformers": (
        "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("{folder}")\n'
        'model = AutoModelForCausalLM.from_pretrained("{folder}", dtype="auto")\n'
        'turns = [{{"role": "user", "content": "..."}}]\n'
        "inputs = tokenizer.apply_chat_template(\n"
        '    turns, add_generation_prompt=True, return_tensors="pt", return_dict=True\n)\n'
        "answer = model.generate(**inputs, max_new_tokens=128)\n"
        'print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))\n```'
    ),
    "onnx": (
        "`model.onnx` runs in ONNX Runtime. `input_ids`, `attention_mask`, `position_ids` and `past_key_values.N.key` "
        "and `.value` (of length 0 at first) lead to `logits`, `present.N.key` and `.value`. The chat template is in "
        "`chat_template.jinja`, the tokens that end an answer in `generation_config.json`."
    ),
    "gguf": "`ollama create NAME -f Modelfile`, or `llama-cli -m FILE.gguf` (an adapter: `-m BASE --lora FILE.gguf`).",
}


@dataclass(frozen=True, slots=True)
class Card:
    """What the card says that the run folder does not. kind: merged, quantized, onnx or gguf; form: format or dtype;
    base: the base's name; recipe: as JSON has it; checks: (of what, sentence); figures: of the self-check, by name."""

    kind: str
    form: str
    name: str
    base: str
    recipe: Mapping[str, Any]
    checks: Sequence[tuple[str, str]]
    remarks: Sequence[str] = ()
    license: str = "unknown"
    figures: Mapping[str, Any] = field(default_factory=dict)


def model_card(card: Card, run: RunFolder) -> str:
    """README.md: the header that model hubs read, then the facts of the run, as far as its folder has them."""
    library = LIBRARIES[card.kind]
    header = {
        "base_model": card.base,
        "library_name": library,
        "license": card.license,
        "pipeline_tag": "text-generation",
        "tags": ["lorafit", _method(card.recipe).lower().replace(" ", "-"), card.kind, card.form],
    }
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---",
        f"# {card.name}",
        f"{card.base}, tuned with lorafit ({_method(card.recipe)}). This folder: {card.kind}, {card.form}.",
        "## Use",
        USES[library].format(folder=card.name),
        "## Training",
        _table(("", ""), _training(card)),
        "## Data",
        _table(("", ""), _data(_json(run.data))),
        *_scores(run),
        "## Self-check",
        "The folder was opened by the engine that will use it, in a fresh process, and asked the held-out prompts that "
        "the tuned model had answered when training ended.",
        "\n".join(f"- {what}: {sentence}" for what, sentence in card.checks),
        _table(("figure", ""), _figures(card.figures)),
        *("\n".join(f"- {remark}" for remark in card.remarks),) * bool(card.remarks),
        "## Environment",
        _table(("", ""), _environment(_json(run.environment))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _method(recipe: Mapping[str, Any]) -> str:
    if recipe["adapter"]["method"] == "none":
        return "full fine-tuning"
    return {"none": "LoRA", "nf4": "QLoRA", "int8": "LoRA on 8 bits"}[recipe["model"]["quantization"]]


def _training(card: Card) -> Iterator[tuple[str, object]]:
    recipe = card.recipe
    adapter, train = recipe["adapter"], recipe["train"]
    yield "base", card.base
    if recipe["model"]["quantization"] != "none":
        yield "base kept in", recipe["model"]["quantization"]
    yield "computed in", recipe["model"]["dtype"]
    if adapter["method"] == "lora":
        yield "adapter", f"{adapter['variant']}, rank {adapter['rank']}, alpha {adapter['alpha']:g}"
        yield "targets", adapter["targets"]
    for name in ("optimizer", "learning_rate", "epochs", "max_updates", "batch_size", "seed"):
        if train.get(name) is not None:
            yield name.replace("_", " "), train[name]


def _data(data: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for source, found in data.get("sources", {}).items():
        yield Path(source).name, f"{found['samples']:,} samples, {found['tokens']:,} tokens"
    for part, count in data.get("kept", {}).items():
        yield f"{part.replace('_', '-')} conversations", f"{count:,}"
    for name in ("template", "rejected"):
        if name in data:
            yield name, data[name]
    for warning in data.get("warnings", ()):
        yield "warning", warning


def _environment(environment: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield from environment.get("packages", {}).items()
    if "python" in environment:
        yield "python", environment["python"]
    for gpu in environment.get("gpus", ()):
        yield "GPU", gpu


def _scores(run: RunFolder) -> Iterator[str]:
    """A table for each evaluation there is: that of the run itself, then those made with `lorafit evaluate`."""
    own = _json(run.evaluation / "scores.json")
    if own.get("metrics"):
        yield f"## Scores on {own.get('prompts')} held-out prompts"
        yield _score_table(own["metrics"])
    for file in sorted(run.evaluation.glob("*/evaluation.json")):
        content = _json(file)
        for part in content.get("parts", ()):
            if part.get("metrics"):
                yield f"## Scores on {part.get('name')} ({part.get('questions')} questions)"
                yield _score_table(part["metrics"])


def _score_table(metrics: Sequence[Mapping[str, Any]]) -> str:
    speakers = list(dict.fromkeys(speaker for metric in metrics for speaker in metric["scores"]))
    rows = [(metric["name"], *(_score(metric["scores"].get(speaker)) for speaker in speakers)) for metric in metrics]
    return _table(("95 % intervals", *speakers), rows)


def _score(found: Mapping[str, Any] | None) -> str:
    if not found or found.get("score") is None:
        return ""
    if found.get("low") is None:
        return f"{found['score']:.3f}"
    return f"{found['score']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _figures(figures: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in figures.items():
        if value is not None:
            yield name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else value


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [[_cell(value) for value in row] for row in rows]
    if not lines:
        return ""
    ruler = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in ([*head], ruler, *lines))


def _cell(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return " ".join(text.replace("|", "\\|").split())


def _json(path: Path) -> dict[str, Any]:
    """What the run folder has not, the card does not say."""
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
