"""Before and after: the same held-out prompts answered by the base, the base with examples, and the tuned model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from lorafit.data.template import Renderer
from lorafit.evaluate.metrics.measured import mean_of
from lorafit.evaluate.metrics.overlap import exact_match, token_f1
from lorafit.evaluate.metrics.significance import interval
from lorafit.infer.generate import Answer, answer_prompts
from lorafit.model.load import longest_sequence
from lorafit.records import Conversation, Message
from lorafit.run import write_json, write_text

SCORES: dict[str, Callable[[str, str], float]] = {"exact_match": exact_match, "token_f1": token_f1}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Answers of each speaker (`base`, `base + 3 shots`, `tuned`) to each prompt, and their scores.

    scores[speaker][score] is (mean, low, high), a 95 % bootstrap interval over the prompts.
    """

    prompts: tuple[Conversation, ...]
    answers: Mapping[str, tuple[Answer, ...]]
    scores: Mapping[str, Mapping[str, tuple[float, float, float]]]

    def save(self, folder: Path) -> None:
        """Write samples.jsonl, a prompt a line, and scores.json."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for number, conversation in enumerate(self.prompts):
            line: dict[str, Any] = {
                "prompt": [{"role": m.role, "content": m.content} for m in conversation.prompt],
                "reference": conversation.answer,
            }
            for speaker, answers in self.answers.items():
                answer = answers[number]
                scored = {name: measure(answer.text, conversation.answer) for name, measure in SCORES.items()}
                line[speaker] = {"text": answer.text, "ended": answer.ended, **scored}
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        write_text(folder / "samples.jsonl", "".join(lines))
        scores = {
            speaker: {name: dict(zip(("mean", "low", "high"), values, strict=True)) for name, values in named.items()}
            for speaker, named in self.scores.items()
        }
        write_json(folder / "scores.json", {"prompts": len(self.prompts), "scores": scores})


def base_answers(
    model: Any,
    renderer: Renderer,
    prompts: Sequence[Conversation],
    shots: Sequence[Conversation],
    max_new_tokens: int,
    advance: Callable[[int], None] = lambda done: None,
) -> dict[str, tuple[Answer, ...]]:
    """What the base says, and what it says with examples before the prompt. To be asked before training: some
    adapters (PiSSA, trained biases) change the base's own weights."""
    asked = [renderer.prompt_ids(c.prompt, c.tools) for c in prompts]
    answers = {"base": tuple(answer_prompts(model, renderer, asked, max_new_tokens, advance))}
    if shots:
        longest = longest_sequence(model)
        room = None if longest is None else longest - max_new_tokens
        asked = [few_shot_prompt(renderer, shots, c.prompt, room, c.tools) for c in prompts]
        answers[f"base + {len(shots)} shots"] = tuple(answer_prompts(model, renderer, asked, max_new_tokens, advance))
    return answers


def tuned_answers(
    model: Any,
    renderer: Renderer,
    prompts: Sequence[Conversation],
    max_new_tokens: int,
    advance: Callable[[int], None] = lambda done: None,
) -> dict[str, tuple[Answer, ...]]:
    asked = [renderer.prompt_ids(c.prompt, c.tools) for c in prompts]
    return {"tuned": tuple(answer_prompts(model, renderer, asked, max_new_tokens, advance))}


def score(prompts: Sequence[Conversation], answers: Mapping[str, tuple[Answer, ...]]) -> Comparison:
    """Score each speaker's answers against the references."""
    scores: dict[str, dict[str, tuple[float, float, float]]] = {}
    for speaker, given in answers.items():
        scores[speaker] = {}
        for name, measure in SCORES.items():
            values = [measure(answer.text, c.answer) for answer, c in zip(given, prompts, strict=True)]
            estimate = interval(mean_of(values))
            scores[speaker][name] = (estimate.score, estimate.low, estimate.high)
    return Comparison(tuple(prompts), answers, scores)


def few_shot_prompt(
    renderer: Renderer,
    shots: Sequence[Conversation],
    prompt: Sequence[Message],
    room: int | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
) -> list[int]:
    """The prompt with examples before it, as earlier turns; as many as fit into `room` tokens.

    In a plain template the end-of-text token after each example is left out: to a base model it says that what comes
    next has nothing to do with what was before, which would make the examples useless.
    """
    messages = [m for shot in shots for m in shot.messages if m.role != "system"]
    messages += [m for m in prompt if m.role != "system"]
    ids: list[int] = renderer.prompt_ids(
        messages, tools, without=renderer.tokenizer.eos_token if renderer.template.stops else ""
    )
    if shots and room is not None and len(ids) > room:
        return few_shot_prompt(renderer, shots[1:], prompt, room, tools)
    return ids


def comparison_tables(comparison: Comparison, shown: int = 6) -> Iterator[Table]:
    """The answers of the first prompts side by side, then the scores of all, for the terminal."""
    speakers = list(comparison.answers)
    table = Table(title="held-out prompts", show_lines=True, title_justify="left")
    for column in ("prompt", "reference", *speakers):
        table.add_column(column, overflow="fold", ratio=1)
    for number, conversation in enumerate(comparison.prompts[:shown]):
        asked = next(m.content for m in reversed(conversation.prompt) if m.role == "user")
        cells = [Text(_short(asked)), Text(_short(conversation.answer))]
        for speaker in speakers:
            answer = comparison.answers[speaker][number].text
            right = exact_match(answer, conversation.answer) == 1
            cells.append(Text(_short(answer) or "(nothing)", style="green" if right else ""))
        table.add_row(*cells)
    yield table
    count = len(comparison.prompts)
    scores = Table(title=f"scores on {count} held-out prompts (95 % interval)", title_justify="left")
    scores.add_column("")
    for name in SCORES:
        scores.add_column(name.replace("_", " "), justify="right")
    for speaker, named in comparison.scores.items():
        figures = [f"{mean:.1%} ({low:.0%} to {high:.0%})" for mean, low, high in named.values()]
        scores.add_row(speaker, *figures)
    yield scores


def _short(text: str, characters: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= characters else text[: characters - 1] + "…"
