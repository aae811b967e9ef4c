"""Does an exported folder answer like what was trained, when its users' own engine opens it?

The reference is what the run kept when training ended. The engine follows the same token ids in a fresh process and
says at each place what it thinks likely; compared are also how the folder's template and tokenizer render the prompts,
and at which tokens an answer ends.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lorafit.errors import SelfCheckFailed
from lorafit.export.reference import Prompt, Reference

Engine = Literal["transformers", "onnxruntime"]
WORKER = Path(__file__).with_name("worker.py")
SECONDS = 6 * 3600
# Relative difference of hidden states below which they count as the model's own.
SAME_HIDDEN = 0.05


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a format may differ by. margin: a token may differ where the reference's two best logits are closer; broken:
    the share of tokens that may differ beyond it; logit: the largest difference of a likely token's logit; perplexity:
    relative."""

    margin: float
    broken: float
    logit: float
    perplexity: float


# From exact to coarse. A run and its export both round, each in its own order; measured in docs/export.md.
TOLERANCES = {
    "float32": Tolerance(1e-3, 0.0, 5e-3, 1e-3),
    "float16": Tolerance(0.05, 0.0, 0.15, 0.01),
    "bfloat16": Tolerance(0.3, 0.0, 0.8, 0.03),
    "int8": Tolerance(1.0, 0.02, 3.0, 0.1),
    "nf4": Tolerance(1.5, 0.05, 8.0, 0.25),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of an export. broken: differing tokens where the reference's two best logits were further apart than
    the format's margin; difference: the largest of a likely token's logit; perplexities of the reference's answers;
    worst: number of the prompt that differs first or most."""

    engine: Engine
    format: str
    prompts: int
    tokens: int
    equal: int
    broken: int
    difference: float
    reference_perplexity: float
    perplexity: float
    worst: int

    @property
    def perplexity_change(self) -> float:
        return self.perplexity / self.reference_perplexity - 1

    @property
    def holds(self) -> bool:
        limit = TOLERANCES[self.format]
        return (
            self.broken <= limit.broken * self.tokens
            and self.difference <= limit.logit
            and abs(self.perplexity_change) <= limit.perplexity
        )

    def sentence(self) -> str:
        return (
            f"{self.equal} of {self.tokens} greedy tokens on {self.prompts} prompts are the same "
            f"(largest logit difference {self.difference:.1e}, perplexity {self.perplexity_change:+.2%})"
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "perplexity_change": self.perplexity_change, "within_tolerance": self.holds}


def check_export(
    folder: Path,
    form: str,
    reference: Reference,
    engine: Engine = "transformers",
    device: str = "cpu",
    remote_code: bool = False,
    must_hold: bool = True,
) -> Comparison:
    """Have `engine` open `folder`, stored in `form` (a key of TOLERANCES), and compare it with the reference.

    must_hold: whether it fails where only the numbers are further off than the format allows.

    Raises SelfCheckFailed, with the first prompt that differs and the likely cause.
    """
    request = {
        "engine": engine,
        "folder": str(folder),
        "device": device,
        "remote_code": remote_code,
        "prompts": [
            {"ids": one.ids, "answer": one.answer, "likely": one.likely, "turns": one.turns}
            for one in reference.prompts
        ],
    }
    said = ask_fresh_process(request)
    _check_surroundings(said, reference)
    coarser = max(form, reference.format, key=list(TOLERANCES).index)
    found = compare(engine, coarser, reference, said)
    if must_hold and not found.holds:
        raise SelfCheckFailed(
            f"The export does not answer like the tuned model: {found.sentence()}. The prompt that differs first is "
            f"number {found.worst + 1}, {_short(reference.prompts[found.worst].text)}. Likely cause: "
            f"{_cause(form, found, reference, said)}. The export was not kept."
        )
    return found


def ask_fresh_process(request: dict[str, Any]) -> dict[str, Any]:
    """The answer of worker.py to `request`. Raises SelfCheckFailed, with its last words, when it gives none."""
    with tempfile.TemporaryDirectory(prefix="lorafit-check-") as folder:
        answer = Path(folder) / "answer.json"
        try:
            done = subprocess.run(
                [sys.executable, "-P", str(WORKER), str(answer)],
                input=json.dumps(request),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SelfCheckFailed(f"{request['engine']} did not finish with the export within {SECONDS} s.") from None
        if done.returncode != 0 or not answer.is_file():
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise SelfCheckFailed(
                f"{request['engine']} cannot run the export: {' / '.join(lines[-2:]) or 'it said nothing'}. "
                "The export was not kept."
            )
        content: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return content


def compare(engine: Engine, form: str, reference: Reference, said: dict[str, Any]) -> Comparison:
    """Compare what an engine said along the reference's answers with the reference, within the tolerance of `form`.

    As long as the engine's best token is the reference's, it would have written the same; the first difference is a
    real one unless the reference's two best were a near tie.
    """
    tokens = equal = broken = worst = 0
    first: int | None = None
    difference = ours = theirs = 0.0
    for number, (prompt, heard) in enumerate(zip(reference.prompts, said["prompts"], strict=True)):
        for place, wanted in enumerate(prompt.logits):
            found = heard["logits"][place]
            largest = max(_distance(one, other) for one, other in zip(wanted, found, strict=True))
            if largest > difference:
                difference, worst = largest, number
            best, second = wanted[1], wanted[2]
            same = heard["best"][place] == prompt.likely[place][1] and not math.isnan(found[0])
            tokens, equal = tokens + 1, equal + same
            if not same and best - second > TOLERANCES[form].margin:
                broken, first = broken + 1, number if first is None else first
            ours += prompt.totals[place] - wanted[0]
            theirs += heard["totals"][place] - found[0]
    return Comparison(
        engine,
        form,
        len(reference.prompts),
        tokens,
        equal,
        broken,
        difference,
        math.exp(ours / tokens),
        _exponential(theirs / tokens),
        worst if first is None else first,
    )


def _distance(one: float, other: float) -> float:
    return abs(one - other) if math.isfinite(other) else math.inf


def _exponential(value: float) -> float:
    return math.exp(min(value, 700.0)) if not math.isnan(value) else math.inf


def _check_surroundings(said: dict[str, Any], reference: Reference) -> None:
    """What the folder says besides its weights: that they are all there, how it asks, and how its answers end."""
    if absent := said["absent"]:
        cause = "a tied head that the files and config.json see differently" if "lm_head.weight" in absent else ""
        raise SelfCheckFailed(
            f"The export lacks {', '.join(absent[:4])}, which would be drawn at random. Likely cause: "
            f"{cause or 'weights that were left out or renamed'}. The export was not kept."
        )
    for number, (prompt, heard) in enumerate(zip(reference.prompts, said["prompts"], strict=True)):
        if prompt.turns is not None:
            _check_rendering(number + 1, prompt, heard)
    if missing := sorted(set(reference.stop_ids) - set(said["eos"])):
        raise SelfCheckFailed(
            f"Answers of the export end at the tokens {said['eos']}; the model was trained to end them with "
            f"{missing}, too. Likely cause: special tokens (eos_token_id in generation_config.json). "
            "The export was not kept."
        )


def _check_rendering(number: int, prompt: Prompt, heard: dict[str, Any]) -> None:
    if heard["text"] != prompt.text:
        raise SelfCheckFailed(
            f"The export asks prompt {number} as {_short(heard['text'])}; the model was trained with "
            f"{_short(prompt.text)}. Likely cause: the chat template. The export was not kept."
        )
    if heard["ids"] != prompt.ids:
        raise SelfCheckFailed(
            f"The export's tokenizer reads prompt {number}, {_short(prompt.text)}, as {heard['ids'][:8]}..., not "
            f"{prompt.ids[:8]}.... Likely cause: special tokens, or another tokenizer. The export was not kept."
        )


def _cause(form: str, found: Comparison, reference: Reference, said: dict[str, Any]) -> str:
    if not math.isfinite(found.difference):
        finer = "bfloat16 or float32" if form == "float16" else "float32"
        return f"precision ({form} cannot hold this model's numbers, which become infinite; {finer} can)"
    if said["tied"] not in (None, reference.tied):
        return (
            f"a tied head (the model's is {'' if reference.tied else 'not '}its embedding, the export's the opposite)"
        )
    if _same_hidden(reference, said):
        return "the head (what comes before it is right): a tied head that was untied, or one that was left out"
    if form in ("int8", "nf4", "float16"):
        return f"precision ({form} rounds this model too much; a finer format keeps more of it)"
    return "weights that are not those that were trained: another base, or a layer that was left out"


def _same_hidden(reference: Reference, said: dict[str, Any]) -> bool:
    if any(heard["hidden"] is None for heard in said["prompts"]):
        return False
    ours = [state for prompt in reference.prompts for state in prompt.hidden]
    theirs = [state for heard in said["prompts"] for state in heard["hidden"]]
    return all(math.dist(one, other) <= SAME_HIDDEN * math.hypot(*one) for one, other in zip(ours, theirs, strict=True))


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:50]}...{text[-25:]}")
