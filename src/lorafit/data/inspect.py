"""The data report: data.json, and samples as stretches that are trained on or not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lorafit.data.figures import bits_a_token, languages
from lorafit.data.prepare import Prepared
from lorafit.data.problems import Problem
from lorafit.data.samples import Samples
from lorafit.data.template import Renderer
from lorafit.records import Sample

EXAMPLES = 5
LEAST_TOKENS = 16  # of a sample that may be the strangest: the mean over fewer says little
SHOWN_BEGIN, SHOWN_END = 1500, 700  # characters of a longer stretch

_TUNED = re.compile(r"(?:^|[-_.])(?:instruct|chat|it|sft|dpo|rlhf|assistant)(?:[-_.]|$)", re.IGNORECASE)
_BASE = re.compile(r"(?:^|[-_.])(?:base|pt)(?:[-_.]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Base:
    """What is known of a base without its weights.

    own_template: whether its tokenizer brings one, which ends turns with `end_of_turn`; stops: the tokens at which its
    generation config stops.
    """

    name: str
    own_template: bool
    end_of_turn: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()

    def judgement(self) -> tuple[str, list[str]]:
        """(instruction-tuned, perhaps instruction-tuned or a plain base; the evidence in words)."""
        folder = re.split(r"[/\\]", self.name.rstrip("/\\"))[-1]
        stops = [token for token in self.stops if token in self.end_of_turn]
        evidence = [f"its tokenizer brings {'a' if self.own_template else 'no'} chat template"]
        if tuned := _TUNED.search(folder):
            evidence.append(f"its name says {tuned.group().strip('-_.')}")
        if base := _BASE.search(folder):
            evidence.append(f"its name says {base.group().strip('-_.')}")
        if stops:
            evidence.append(f"its generation config stops at {' '.join(stops)}, as its chat template does")
        if base and not tuned:
            return "a plain base", evidence
        if tuned or stops:
            return "instruction-tuned", evidence
        return ("perhaps instruction-tuned" if self.own_template else "a plain base"), evidence

    def problem(self, renderer: Renderer) -> Problem | None:
        """Whether it is trained with another template than it knows."""
        looks, evidence = self.judgement()
        if looks != "instruction-tuned" or renderer.facts().own:
            return None
        said = f"The base looks instruction-tuned ({'; '.join(evidence)}), and the data is rendered with"
        if self.own_template:
            return Problem(
                "warning",
                f"{said} {renderer.template.name}: what it learnt for its own template counts for less.",
                "data.template=auto",
            )
        return Problem(
            "warning", f"{said} {renderer.template.name}, which it may not know.", "data.template=FILE.jinja"
        )


def data_report(
    prepared: Prepared, renderer: Renderer, problems: Sequence[Problem], count: int = EXAMPLES
) -> dict[str, Any]:
    """data.json: the summary of prepared data, and what can be told from its samples. count: samples to show."""
    samples = prepared.training.samples
    return {
        **prepared.summary,
        "problems": [problem.to_json() for problem in problems],
        "template_facts": {**asdict(renderer.facts()), "end_of_turn": list(renderer.facts().end_of_turn)},
        "languages": languages(renderer, samples),
        "examples": list(examples(renderer, samples, count)),
    }


def examples(renderer: Renderer, samples: Samples, count: int) -> Iterator[dict[str, Any]]:
    """`count` samples: the first, the longest, the strangest, the most uniform, the one with the shortest answer, and
    others evenly spaced; each with why it is shown."""
    shown: set[int] = set()
    for place, why in _chosen(samples, count):
        if place in shown or len(shown) == count:
            continue
        shown.add(place)
        sample = samples[place]
        yield {
            "file": sample.source.file,
            "row": sample.source.row,
            "why": why,
            "tokens": len(sample),
            "supervised_tokens": sample.supervised_tokens,
            "stretches": [[_clipped(text), trained] for text, trained in stretches(renderer, sample)],
        }


def _chosen(samples: Samples, count: int) -> Iterator[tuple[int, str]]:
    yield 0, "the first"
    yield int(samples.lengths.argmax()), "the longest"
    bits = bits_a_token(samples)
    usual = float(np.median(bits))
    of_size = samples.lengths >= LEAST_TOKENS
    if of_size.any():
        strange = int(np.where(of_size, bits, -np.inf).argmax())
        uniform = int(np.where(of_size, bits, np.inf).argmin())
        yield strange, f"the strangest: the rarest tokens, {bits[strange]:.1f} bits each (median {usual:.1f})"
        yield uniform, f"the most uniform: the commonest tokens, {bits[uniform]:.1f} bits each (median {usual:.1f})"
    yield int(samples.supervised.argmin()), "the shortest answer"
    # Twice as many as are wanted, as some of them may be shown already.
    for place in np.linspace(0, len(samples) - 1, 2 * count).astype(int).tolist():
        yield place, "one of the others"


def _clipped(text: str) -> str:
    left_out = len(text) - SHOWN_BEGIN - SHOWN_END
    if left_out <= 0:
        return text
    return f"{text[:SHOWN_BEGIN]} […{left_out:,} characters left out…] {text[-SHOWN_END:]}"


def stretches(renderer: Renderer, sample: Sample) -> Iterator[tuple[str, bool]]:
    """(text, trained) of a sample in order, decoded from the very tokens that are trained on.

    A character that is cut into several tokens stays whole: a stretch ends where the mask changes.
    """
    start, shown = 0, ""
    for end in range(1, len(sample) + 1):
        if end == len(sample) or sample.trained[end] != sample.trained[start]:
            # Decoded from the beginning: some tokenizers drop the space that the first token of a text brings.
            text = renderer.decode(sample.token_ids[:end])
            yield text[len(shown) :], bool(sample.trained[start])
            start, shown = end, text
