"""Rules that read the answers of the tuned model."""

from __future__ import annotations

from lorafit.observe.rules.before import answers_cut, too_few_updates
from lorafit.observe.rules.facts import Facts, Values
from lorafit.observe.rules.finding import Case

# Fewer answers are anecdotes.
LEAST_ANSWERS = 4
# Of the answers.
NEVER_ENDS_SHARE = 0.75
MEANINGLESS_SHARE = 0.5
# An answer that goes on is longer than its reference by this factor; a shorter one was cut by evaluate.max_new_tokens.
GOES_ON = 1.5
# Of the pieces of so many characters in a looping text, less than this share are different.
LOOP_CHARACTERS, LOOP_LENGTH, LOOP_SHARE = 4, 40, 0.25
# Words of the warnings that data.json holds (data/prepare.py).
NO_STOP, ASKED_OTHERWISE = "will not learn where to stop", "asked in a way that it was not trained for"


def end_of_turn_not_learnt(facts: Facts) -> Case | None:
    answers = _answers(facts)
    if len(answers) < LEAST_ANSWERS:
        return None
    endless = [
        (tuned, reference)
        for tuned, reference in answers
        if not tuned["ended"] and len(tuned["text"]) > GOES_ON * len(reference)
    ]
    if len(endless) < NEVER_ENDS_SHARE * len(answers):
        return None
    tuned, reference = endless[0]
    cause, remedy, setting = _why_endless(facts)
    return Case(
        "warning",
        f"{len(endless)} of {len(answers)} answers never end: the first was stopped at {len(tuned['text'])} "
        f"characters, its reference has {len(reference)}.",
        cause,
        remedy,
        setting,
    )


def _why_endless(facts: Facts) -> tuple[str, str, str | None]:
    if _warned(facts, NO_STOP):
        return (
            "The chat template ends an answer without a special token, so that there is no end to learn.",
            "Take a template that ends an answer with a token of its own.",
            "data.template=human-assistant",
        )
    if cut := facts.data.get("cut_within_answer"):
        return (
            f"{cut:,} samples were cut within the answer: their end was never seen.",
            "Let the samples be longer.",
            f"data.max_length={2 * facts.data['max_length']}",
        )
    epochs = facts.setting("train.epochs") or 3.0
    return (
        "The end-of-turn token comes once an answer and is learnt late: training was too short or too weak.",
        "Train longer; `lorafit resume` goes on from here.",
        f"train.epochs={2 * epochs:g}",
    )


def answers_mean_nothing(facts: Facts) -> Case | None:
    answers = _answers(facts)
    if len(answers) < LEAST_ANSWERS:
        return None
    empty = sum(not tuned["text"].strip() for tuned, _ in answers)
    loops = sum(_loops(tuned["text"]) for tuned, _ in answers)
    foreign = sum(
        tuned.get("token_f1") == 0 and bool(tuned["text"].strip()) and not _loops(tuned["text"]) for tuned, _ in answers
    )
    if empty + loops + foreign < MEANINGLESS_SHARE * len(answers):
        return None
    evidence = (
        f"Of {len(answers)} answers {empty} are empty, {loops} repeat themselves over and over, and {foreign} have no "
        "word in common with their reference."
    )
    if _warned(facts, ASKED_OTHERWISE):
        return Case(
            "fault",
            evidence,
            "The chat template asks for an answer with other tokens than those that stood before it in training.",
            "Take a template that asks as it trains.",
            "data.template=human-assistant",
        )
    cut = answers_cut(facts)
    if cut is not None and cut.severity == "fault":
        return Case("warning", evidence, f"Answers are cut in training: {cut.evidence}", cut.remedy, cut.setting)
    few = too_few_updates(facts)
    if few is not None:
        return Case("warning", evidence, f"Too few updates: {few.evidence}", few.remedy, few.setting)
    held = facts.held_out_losses
    if len(held) > 1 and held[-1][1] < 0.9 * held[0][1]:
        return Case(
            "warning",
            f"{evidence} And yet the held-out loss fell from {held[0][1]:.3f} to {held[-1][1]:.3f}.",
            "A model that predicts well and answers badly is asked in another way than it was trained: look for the "
            "template at inference, and for prompts of another kind among the held-out rows.",
            "Compare `template.jinja` of the run folder with the template that the answers were asked with.",
        )
    return Case(
        "warning",
        evidence,
        "The held-out loss hardly fell: the model has not learnt to answer, or has been spoilt by too long steps.",
        "Mend what the loss shows first.",
    )


def _loops(text: str) -> bool:
    if len(text) < LOOP_LENGTH:
        return False
    pieces = [text[i : i + LOOP_CHARACTERS] for i in range(len(text) - LOOP_CHARACTERS + 1)]
    return len(set(pieces)) < LOOP_SHARE * len(pieces)


def _answers(facts: Facts) -> list[tuple[Values, str]]:
    return [(line["tuned"], line["reference"]) for line in facts.samples if "tuned" in line and "reference" in line]


def _warned(facts: Facts, words: str) -> bool:
    return any(words in text for text in facts.data.get("warnings", ()))
