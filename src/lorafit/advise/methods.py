"""Which way of training fits the device, and what it costs there: asked of the planner, for each base and method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lorafit.advise.look import Base
from lorafit.plan.answer import Verdict, budget_of, parts_needed, verdict_of
from lorafit.plan.clock import Band, with_usual_speed
from lorafit.plan.devices import Device, measure_cpu
from lorafit.plan.fit import TIE, Choice, largest_pass
from lorafit.plan.known_shapes import FULL_NAMES
from lorafit.plan.settle import Question, settle
from lorafit.plan.shapes import config_of
from lorafit.plan.simulate import simulate_deep
from lorafit.recipe import Recipe
from lorafit.records import Sample

SHOWN = {"lora": "LoRA on 16 bits", "int8": "LoRA on 8 bits", "qlora": "QLoRA (4 bits)", "full": "full fine-tuning"}
# Less quantised first: a tie in time goes to what comes first.
ADAPTERS = ("lora", "int8", "qlora")
LEAST_RANK, LEAST_LENGTH = 4, 64


@dataclass(frozen=True, slots=True)
class Method:
    """One method on one base, as planned. needed, budget: bytes; seconds: of an update, None where the device's speed
    is unknown; pace: the same at a usual speed, to compare by, None where even that cannot be said."""

    model: str
    name: str
    verdict: Verdict
    needed: int
    budget: int
    trained: int
    tokens: int
    seconds: Band | None
    pace: float | None
    recompute: str
    tokens_per_pass: int
    chosen: bool = False

    @property
    def shown(self) -> str:
        return SHOWN[self.name]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def question_of(base: Base, recipe: Recipe, samples: Sequence[Sample], device: Device) -> Question:
    """What the planner is asked. The device's speed is a usual one where its own is unknown: to compare by."""
    return Question(
        base.shown,
        base.config.config,
        recipe.model,
        recipe.adapter,
        recipe.train,
        with_usual_speed(device),
        samples,
        recipe.data.max_length,
        base.config.remote_code,
    )


def plan_methods(base: Base, recipes: dict[str, Recipe], samples: Sequence[Sample], device: Device) -> list[Method]:
    """Each method as planned. recipes: by method; samples: bounded to their max_length."""
    timed = device.bandwidth is not None and device.matrix_rate is not None
    return [
        _planned(base.name, name, question_of(base, recipe, samples, device), timed) for name, recipe in recipes.items()
    ]


def _planned(model: str, name: str, question: Question, timed: bool) -> Method:
    """What cannot fit even when everything is computed again is not searched further."""
    device = question.device
    leanest = replace(
        question.start(),
        recompute="offload" if device.kind == "cuda" else "layers",
        tokens_per_pass=question.fewest_tokens(),
    )
    trace = simulate_deep(question.job_of(leanest))
    parts, budget = parts_needed(trace, None, device), budget_of(device)
    if verdict_of(parts, budget, failed=False) == "no":
        needed, tokens = sum(parts.values()), question.tokens_of(leanest)
        return Method(model, name, "no", needed, budget, trace.trained, tokens, None, None, leanest.recompute,
                      leanest.tokens_per_pass)  # fmt: skip
    choice, plan = settle(question)
    band = plan.update_seconds
    return Method(
        model=model,
        name=name,
        verdict=plan.verdict,
        needed=plan.needed,
        budget=plan.budget,
        trained=plan.trained,
        tokens=plan.tokens,
        seconds=band if timed else None,
        pace=band.middle if band else None,
        recompute=choice.recompute,
        tokens_per_pass=choice.tokens_per_pass,
    )


def best_adapter(methods: Sequence[Method]) -> Method | None:
    """Of the adapters that fit plainly the fastest; a tie goes to the least quantised, as the planner has it. Where
    none fits plainly the tight one that needs least; None where none fits."""
    adapters = [method for method in methods if method.name in ADAPTERS]
    fitting = [method for method in adapters if method.verdict == "yes"]
    if not fitting:
        tight = [method for method in adapters if method.verdict == "tight"]
        return min(tight, key=lambda method: method.needed, default=None)
    fastest = min((method.pace for method in fitting if method.pace is not None), default=None)
    ties = [
        method
        for method in fitting
        if fastest is None or (method.pace is not None and method.pace <= fastest * (1 + TIE))
    ]
    return min(ties, key=lambda method: ADAPTERS.index(method.name))


def with_speed(device: Device) -> Device:
    """This machine's CPU with its speeds, measured now; any other device as it is."""
    if device.kind != "cpu" or device.free_bytes is None:
        return device
    rate, bandwidth = measure_cpu()
    return replace(device, matrix_rate=rate, bandwidth=bandwidth)


# ---------------------------------------------------------------- where nothing fits


def nearest(base: Base, recipe: Recipe, samples: Sequence[Sample], device: Device) -> list[str]:
    """What would fit, each in a sentence: shorter samples or a smaller rank on a 4-bit base, or a smaller model.

    recipe: of QLoRA; what it found is by shallow traces, as `lorafit plan --fit` begins.
    """
    question = question_of(base, recipe, samples, device)
    found = [_shorter(question, recipe.data.max_length), _smaller(base, recipe, samples, device)]
    return [sentence for sentence in found if sentence]


def _shorter(question: Question, longest: int) -> str:
    rank = question.adapter.rank
    for smaller in dict.fromkeys((rank, min(rank, LEAST_RANK))):
        length = longest
        while length >= min(LEAST_LENGTH, longest):
            if _fits(question, smaller, length):
                settings = [f"data.max_length={length}"] * (length != longest)
                settings += [f"adapter.rank={smaller}"] * (smaller != rank)
                return f"{SHOWN['qlora']} fits with {' '.join(settings) or 'every layer computed again'}"
            length //= 2
    return ""


def _fits(question: Question, rank: int, length: int) -> bool:
    start = replace(question.start(), recompute="layers", rank=rank, max_length=length)
    tokens = min(question.fewest_tokens(), length)
    choice: Choice = replace(start, tokens_per_pass=tokens)
    return largest_pass(question.job_of, choice, question.device, question.tokens_of, tokens) is not None


def _smaller(base: Base, recipe: Recipe, samples: Sequence[Sample], device: Device) -> str:
    """The largest known model that is smaller and fits in 4 bits; of the same maker if there is one."""
    owner = base.name.partition("/")[0] if "/" in base.name else ""
    sizes = {}
    for name, (shape, _) in FULL_NAMES.items():
        # The attention and the gated feed-forward part: near enough to put shapes in order.
        layer = 2 * shape.width * shape.head_dim * (shape.heads + shape.kv_heads) + 3 * shape.width * shape.feed_forward
        if "/" in name and shape.layers * layer < 0.9 * base.parameters:
            sizes[name] = shape.layers * layer
    order = sorted(sizes, key=lambda name: (name.partition("/")[0] != owner, -sizes[name]))
    within = [
        name for name in order if sizes[name] / 2 < 0.8 * budget_of(device)
    ]  # half a byte a weight, and something beside
    for name in within[:3]:
        config = config_of(name)
        question = question_of(replace(base, config=config), recipe, samples, device)
        if _fits(question, recipe.adapter.rank, recipe.data.max_length):
            return f"{name} fits with {SHOWN['qlora']}"
    return ""
