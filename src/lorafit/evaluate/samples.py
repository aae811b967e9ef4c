"""Before and after: the same held-out prompts answered by the base, the base with examples, and the tuned model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from lorafit.data.template import Renderer
from lorafit.evaluate.metrics import Measured, Texts, measure, named
from lorafit.evaluate.metrics.overlap import exact_match
from lorafit.evaluate.question import Question
from lorafit.evaluate.summary import estimate, metric_rows
from lorafit.infer.generate import Answer, answer_prompts
from lorafit.model.load import longest_sequence
from lorafit.records import Conversation, Message
from lorafit.run import write_json, write_text


@dataclass(frozen=True, slots=True)
class Comparison:
    """Answers of each speaker (`base`, `base + 3 shots`, `tuned`) to each question, and their scores by metric."""

    questions: tuple[Question, ...]
    answers: Mapping[str, tuple[Answer, ...]]
    measured: Mapping[str, Mapping[str, Measured]]

    def save(self, folder: Path) -> None:
        """Write samples.jsonl, a prompt a line, and scores.json."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for place, question in enumerate(self.questions):
            line: dict[str, Any] = {
                "prompt": [{"role": m.role, "content": m.content} for m in question.messages],
                "reference": question.references[0],
            }
            for speaker, answers in self.answers.items():
                scored = {name: float(one.samples[place]) for name, one in self.measured[speaker].items()}
                line[speaker] = {**asdict(answers[place]), **scored}
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        write_text(folder / "samples.jsonl", "".join(lines))
        metrics = [named(name) for name in next(iter(self.measured.values()))]
        content = {
            "prompts": len(self.questions),
            "scores": {
                speaker: {name: _interval(one) for name, one in scored.items()}
                for speaker, scored in self.measured.items()
            },
            "metrics": metric_rows(metrics, self.measured),
        }
        write_json(folder / "scores.json", content)


def _interval(measured: Measured) -> dict[str, Any]:
    found = estimate(measured)
    return {"mean": found["score"], "low": found["low"], "high": found["high"]}


def base_answers(
    model: Any,
    renderer: Renderer,
    questions: Sequence[Question],
    shots: Sequence[Conversation],
    max_new_tokens: int,
    advance: Callable[[int], None] = lambda done: None,
) -> dict[str, tuple[Answer, ...]]:
    """What the base says, and what it says with examples before the prompt. To be asked before training: some
    adapters (PiSSA, trained biases) change the base's own weights."""
    asked = [renderer.prompt_ids(q.messages, q.tools) for q in questions]
    answers = {"base": tuple(answer_prompts(model, renderer, asked, max_new_tokens, advance))}
    if shots:
        longest = longest_sequence(model)
        room = None if longest is None else longest - max_new_tokens
        asked = [few_shot_prompt(renderer, shots, q.messages, room, q.tools) for q in questions]
        answers[f"base + {len(shots)} shots"] = tuple(answer_prompts(model, renderer, asked, max_new_tokens, advance))
    return answers


def tuned_answers(
    model: Any,
    renderer: Renderer,
    questions: Sequence[Question],
    max_new_tokens: int,
    advance: Callable[[int], None] = lambda done: None,
) -> dict[str, tuple[Answer, ...]]:
    asked = [renderer.prompt_ids(q.messages, q.tools) for q in questions]
    return {"tuned": tuple(answer_prompts(model, renderer, asked, max_new_tokens, advance))}


def score(
    questions: Sequence[Question], answers: Mapping[str, tuple[Answer, ...]], metrics: Sequence[str]
) -> Comparison:
    """Score each speaker's answers against the references. Raises DataError where they lack what a metric takes."""
    references = [question.references for question in questions]
    measured = {
        speaker: measure(metrics, Texts([one.text for one in given], references, [one.ended for one in given]))
        for speaker, given in answers.items()
    }
    return Comparison(tuple(questions), answers, measured)


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
    for place, question in enumerate(comparison.questions[:shown]):
        cells = [Text(_short(question.asked)), Text(_short(question.references[0]))]
        for speaker in speakers:
            answer = comparison.answers[speaker][place].text
            right = any(exact_match(answer, reference) == 1 for reference in question.references)
            cells.append(Text(_short(answer) or "(nothing)", style="green" if right else ""))
        table.add_row(*cells)
    yield table
    names = list(next(iter(comparison.measured.values())))
    count = len(comparison.questions)
    scores = Table(title=f"scores on {count} held-out prompts (95 % interval)", title_justify="left")
    scores.add_column("")
    for name in names:
        scores.add_column(name.replace("_", " "), justify="right")
    for speaker, measured in comparison.measured.items():
        scores.add_row(speaker, *(_figure(name, measured[name]) for name in names))
    yield scores


def _figure(name: str, measured: Measured) -> str:
    found, share = estimate(measured), named(name).is_share
    score, low, high = found["score"], found["low"], found["high"]
    text = f"{score:.1%}" if share else f"{score:.2f}"
    if low is None:
        return text
    return f"{text} ({low:.0%} to {high:.0%})" if share else f"{text} ({low:.2f} to {high:.2f})"


def _short(text: str, characters: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= characters else text[: characters - 1] + "…"
