"""Does llama.cpp answer from a GGUF file as transformers did from the model it was made of?

The reference is the model in float32, with its greedy answers. llama.cpp follows the same token ids and says at each
place what it thinks likely. Beside the answers two things are compared that a right file can still be used wrongly
with: how llama.cpp tokenises the prompts' texts, and how it renders a dialogue by the file's own template.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lorafit.errors import SelfCheckFailed
from lorafit.export.answers import greedy_continuations, next_token_logits
from lorafit.export.gguf.engine import Heard, ask_llama_cpp
from lorafit.export.gguf.formats import FORMATS, Format
from lorafit.export.gguf.pretokenizers import PROBES

# Of each place the reference's five likeliest tokens are compared: the far tail says little and differs much.
LIKELY = 5
# A wrong weight moves likely tokens by several nats, rounding by less.
WRONG_WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Reference:
    """What the model said. spans: token ids of prompt and answer, and the length of the prompt; logits: float32 [answer
    tokens, V] of each; texts: the prompts as text, with their token ids (no begin-of-text added); dialogues: turns and
    how they are rendered, ready to be answered; begin: the begin-of-text token as text; tied: whether the head is the
    embedding, None if not known."""

    spans: Sequence[tuple[Sequence[int], int]]
    logits: Sequence[Tensor]
    texts: Sequence[tuple[str, Sequence[int]]] = ()
    dialogues: Sequence[tuple[Sequence[Mapping[str, str]], str]] = ()
    begin: str = ""
    tied: bool | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of a file, as `--to gguf` reports them. broken: differing tokens where the reference's two best were
    further apart than the format's margin; first_broken: the prompt of the first; difference: the largest of a likely
    token's log-probability (nats); perplexities of the reference's answers."""

    format: str
    prompts: int
    tokens: int
    equal: int
    broken: int
    first_broken: int | None
    difference: float
    worst_prompt: int
    reference_perplexity: float
    perplexity: float
    remarks: tuple[str, ...] = ()

    @property
    def perplexity_change(self) -> float:
        return self.perplexity / self.reference_perplexity - 1

    @property
    def holds(self) -> bool:
        limit = FORMATS[self.format]
        return (
            self.broken <= limit.broken * self.tokens
            and self.difference <= limit.log_prob
            and abs(self.perplexity_change) <= limit.perplexity
        )

    def sentence(self) -> str:
        return (
            f"{self.equal} of {self.tokens} greedy tokens on {self.prompts} prompts are the same in llama.cpp "
            f"({self.format}; largest difference of a likely token's log-probability {self.difference:.1e}, perplexity "
            f"{self.reference_perplexity:.4g} → {self.perplexity:.4g})"
        )


@torch.no_grad()
def reference_of(
    model: Any, prompts: Sequence[Sequence[int]], stop_ids: Sequence[int], answer_tokens: int = 32, **more: Any
) -> Reference:
    """The reference that a float32 model gives on prompts of token ids; `more` are Reference's texts and the like."""
    answers = greedy_continuations(model, prompts, answer_tokens, stop_ids)
    spans = [(answer, len(prompt)) for answer, prompt in zip(answers, prompts, strict=True)]
    tied = bool(model.config.tie_word_embeddings)
    return Reference(spans, [next_token_logits(model, *span) for span in spans], tied=tied, **more)


def check_gguf(file: Path, form: str, reference: Reference, tokenizer: Any, adapter: Path | None = None) -> Comparison:
    """Open `file` with llama.cpp in a fresh process and compare it with the reference.

    Raises SelfCheckFailed, with the first differing prompt and the likely cause, when it answers otherwise than the
    format's rounding explains; ExportError where llama.cpp is not installed.
    """
    texts = [text for text, _ in reference.texts]
    heard = ask_llama_cpp(
        file, reference.spans, [*texts, *PROBES], [turns for turns, _ in reference.dialogues], adapter
    )
    _check_texts(reference, heard)
    _check_dialogues(reference, heard)
    wanted = tokenizer(list(PROBES), add_special_tokens=False).input_ids
    otherwise = sum(one != other for one, other in zip(heard.tokens[len(texts) :], wanted, strict=True))
    remark = f"llama.cpp tokenises {otherwise} of {len(PROBES)} unusual texts otherwise than transformers"
    found = compare(form, reference, heard, (remark,) if otherwise else ())
    if not found.holds:
        raise SelfCheckFailed(_fault(file, found, FORMATS[form], reference, tokenizer))
    return found


def compare(form: str, reference: Reference, heard: Heard, remarks: tuple[str, ...] = ()) -> Comparison:
    """Compare what llama.cpp thinks likely along the reference's answers with the reference."""
    tokens = equal = broken = worst_prompt = 0
    first_broken: int | None = None
    difference = ours = theirs = 0.0
    pairs = zip(reference.spans, reference.logits, heard.steps, strict=True)
    for number, ((ids, start), logits, steps) in enumerate(pairs):
        for wanted, step, token in zip(logits.log_softmax(-1), steps, ids[start:], strict=True):
            likely = dict(step)
            least = step[-1][1]
            best = wanted.topk(LIKELY)
            largest = max(
                abs(one - likely.get(place, least))
                for one, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            )
            if largest > difference:
                difference, worst_prompt = largest, number
            same = step[0][0] == int(best.indices[0])
            clear = float(best.values[0] - best.values[1]) > FORMATS[form].margin
            tokens, equal = tokens + 1, equal + same
            if not same and clear:
                broken += 1
                first_broken = number if first_broken is None else first_broken
            ours, theirs = ours - float(wanted[token]), theirs - likely.get(token, least)
    count = max(tokens, 1)
    return Comparison(
        form,
        len(reference.spans),
        tokens,
        equal,
        broken,
        first_broken,
        difference,
        worst_prompt,
        math.exp(ours / count),
        math.exp(theirs / count),
        remarks,
    )


def _check_texts(reference: Reference, heard: Heard) -> None:
    for (text, wanted), found in zip(reference.texts, heard.tokens, strict=False):
        if list(wanted) != found:
            place = next(
                (n for n, (one, other) in enumerate(zip(wanted, found, strict=False)) if one != other),
                min(len(wanted), len(found)),
            )
            raise SelfCheckFailed(
                f"llama.cpp tokenises the prompt {_short(text)} otherwise than transformers, from token {place} on: "
                f"{found[place : place + 5]}, not {list(wanted[place : place + 5])}. Likely cause: special tokens that "
                "the file does not know as such, or another pre-tokenizer. The file was not kept."
            )


def _check_dialogues(reference: Reference, heard: Heard) -> None:
    for (turns, wanted), found in zip(reference.dialogues, heard.rendered, strict=True):
        # llama.cpp takes the begin-of-text token off where it adds it to the tokens.
        if wanted.removeprefix(reference.begin) != found.removeprefix(reference.begin):
            raise SelfCheckFailed(
                f"llama.cpp asks {_short(str(turns[-1]['content']))} as {_short(found)}; the model was trained with "
                f"{_short(wanted)}. Likely cause: the chat template is not in the file, or llama.cpp reads it "
                "otherwise. The file was not kept."
            )


def _fault(file: Path, found: Comparison, limit: Format, reference: Reference, tokenizer: Any) -> str:
    number, differs = found.first_broken, "The first prompt that differs"
    if number is None:
        number, differs = found.worst_prompt, "The prompt that differs most"
    ids, start = reference.spans[number]
    prompt = tokenizer.decode(ids[:start])
    return (
        f"The GGUF file does not answer like the model: {found.sentence()}. {differs} is number {number + 1}, "
        f"{_short(prompt)}. Likely cause: {_cause(file, found, limit, reference)}. The file was not kept."
    )


def _cause(file: Path, found: Comparison, limit: Format, reference: Reference) -> str:
    from gguf import GGUFReader

    tied = all(tensor.name != "output.weight" for tensor in GGUFReader(file).tensors)
    wrong = found.difference > max(WRONG_WEIGHT, limit.log_prob) or limit.name in ("f32", "f16", "bf16")
    if wrong and reference.tied not in (None, tied):
        return f"a tied head (the model's is {'' if reference.tied else 'not '}its embedding, the file's the opposite)"
    if wrong:
        return (
            "weights that llama.cpp reads otherwise (the rotary order of q and k or its scaling, the offset of a norm)"
        )
    more = "bf16 or f32" if limit.type == "Q8_0" else "q8_0 or bf16"
    return f"precision ({limit.name} rounds this model too much; {more} keep more of it)"


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:50]}...{text[-25:]}")
