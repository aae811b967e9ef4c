"""All rules in one table, and the two ways to apply it: to a run, and to a recipe before it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lorafit.observe.rules import answers, before, curves, ending, fitting, machine
from lorafit.observe.rules.facts import Facts
from lorafit.observe.rules.finding import Case, Finding


@dataclass(frozen=True, slots=True)
class Rule:
    """symptom: the id, and the page in docs/doctor. unless: symptoms that say the same with a nearer cause. before: the
    rule can be asked before a run too."""

    symptom: str
    title: str
    find: Callable[[Facts], Case | None]
    unless: tuple[str, ...] = ()
    before: bool = False


TOO_LONG_STEPS = ("loss-diverging", "learning-rate-too-high", "loss-oscillating")
NOTHING_LEARNT = (*TOO_LONG_STEPS, "learning-rate-too-low", "loss-flat")
# A symptom stands below those of its `unless`.
RULES = (
    Rule("run-failed", "The run stopped by itself", ending.run_failed),
    Rule("killed-for-memory", "The system killed the run for memory", ending.killed_for_memory),
    Rule("run-killed", "The run was killed", ending.run_killed, ("killed-for-memory",)),
    Rule("loss-diverging", "The loss rises", curves.loss_diverging),
    Rule("exploding-gradients", "Gradients explode", curves.exploding_gradients, ("loss-diverging",)),
    Rule(
        "learning-rate-too-high",
        "The learning rate is too high",
        fitting.learning_rate_too_high,
        ("loss-diverging",),
        before=True,
    ),
    Rule(
        "loss-oscillating",
        "The loss swings",
        curves.loss_oscillating,
        ("loss-diverging", "learning-rate-too-high"),
    ),
    Rule("learning-rate-too-low", "The learning rate is too low", fitting.learning_rate_too_low, TOO_LONG_STEPS, True),
    Rule("loss-flat", "The loss is flat", curves.loss_flat, (*TOO_LONG_STEPS, "learning-rate-too-low")),
    Rule("over-fitting", "The model learns its rows by heart", fitting.over_fitting, ("loss-diverging",)),
    Rule("too-few-updates", "Too few updates", before.too_few_updates, before=True),
    Rule(
        "under-fitting",
        "The run ended before the model had learnt",
        fitting.under_fitting,
        (*TOO_LONG_STEPS, "loss-flat", "learning-rate-too-low", "over-fitting", "too-few-updates"),
    ),
    Rule("batch-too-small", "The batch is too small", fitting.batch_too_small, (*TOO_LONG_STEPS, "loss-flat")),
    Rule("rank-too-small", "The rank is too small", before.rank_too_small, before=True),
    Rule("rank-too-large", "The rank is larger than the data can feed", before.rank_too_large, before=True),
    Rule("alpha-far-off", "alpha is far off", before.alpha_far_off, before=True),
    Rule("weight-decay-extreme", "The weight decay is extreme", before.weight_decay_extreme, before=True),
    Rule("targets-too-few", "The adapter is on too few layers", before.targets_too_few, before=True),
    Rule("targets-too-many", "Embeddings are tuned on few rows", before.targets_too_many, before=True),
    Rule("dropout-missing", "Dropout is missing on a small set", before.dropout_missing, before=True),
    Rule("answers-cut", "Answers are cut", before.answers_cut, before=True),
    Rule("end-of-turn-not-learnt", "Answers never end", answers.end_of_turn_not_learnt, NOTHING_LEARNT),
    Rule(
        "answers-mean-nothing", "Answers mean nothing", answers.answers_mean_nothing, (*NOTHING_LEARNT, "over-fitting")
    ),
    Rule("gpu-memory-nearly-full", "GPU memory is nearly full", machine.gpu_memory_nearly_full),
    Rule("memory-creeping", "Memory creeps up", machine.memory_creeping),
    Rule("throughput-falling", "The run slows down", machine.throughput_falling),
    Rule("waiting-for-data", "The device waits for data", machine.waiting_for_data),
)


def examine(facts: Facts) -> list[Finding]:
    """What the rules find in a run, in the order of the table."""
    return _apply(RULES, facts)


def before_a_run(
    recipe: Mapping[str, Any],
    data: Mapping[str, Any],
    planned: int,
    trained: int | None = None,
    parameters: int | None = None,
) -> list[Finding]:
    """What can be said without training. recipe: nested, settled; data: the content of data.json; planned: updates;
    trained, parameters: counts of weights, where they are known."""
    facts = Facts(recipe=recipe, data=data, planned=planned, trained=trained, parameters=parameters)
    return _apply([rule for rule in RULES if rule.before], facts)


def _apply(rules: tuple[Rule, ...] | list[Rule], facts: Facts) -> list[Finding]:
    found: dict[str, Finding] = {}
    for rule in rules:
        if not found.keys() & set(rule.unless) and (case := rule.find(facts)):
            found[rule.symptom] = Finding(rule.symptom, rule.title, **asdict(case))
    return list(found.values())
