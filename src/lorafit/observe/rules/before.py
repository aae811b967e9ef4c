"""Rules that need no training: the recipe against the data and the size of the base."""

from __future__ import annotations

import math
import re
from typing import Any

from lorafit.observe.rules.facts import Facts
from lorafit.observe.rules.finding import Case
from lorafit.observe.rules.fitting import over_fitting

# Adam moves a weight by about the learning rate an update, and B starts at zero: 40 updates of 2e-4 make 0.008 at most,
# less than common weights of a base (0.02). LIMA (arXiv 2305.11206) took 470 updates on 1,000 rows.
FEW_UPDATES = 40
ENOUGH_UPDATES = 60
SMALLEST_BATCH = 4
MOST_EPOCHS = 10
# Bits that a weight can hold (Allen-Zhu & Li, arXiv 2404.05405), and what a supervised token brings: LoRA Without
# Regret (Thinking Machines, 2025) counts about one bit a token. Four times too little is beyond the doubt in both.
BITS_A_WEIGHT, BITS_A_TOKEN, RANK_SHORT = 2.0, 1.0, 4.0
# More weights a supervised token than this, above a rank that nobody needs to save on. LIMA's 1,000 rows (750,000
# tokens) with rank 64 on every linear layer of 7B (160 M) are some 200.
WEIGHTS_A_TOKEN, FREE_RANK, LEAST_RANK = 1000, 16, 4
# alpha/rank is 1 or 2 in common recipes; QLoRA has 16/64 = 0.25. rsLoRA (arXiv 2312.03732) divides by sqrt(rank).
SCALES = (0.1, 16.0)
USUAL_SCALE = 2.0
# Weights shrink by learning rate x weight decay an update: half of all that was learnt gone over a run is too much.
DECAYED_SHARE = 0.5
USUAL_DECAY = 0.01
# Layers that make query, key and value at once: one name, but three projections.
FUSED = {"c_attn", "qkv_proj", "query_key_value", "qkv", "Wqkv", "W_pack", "in_proj", "attn_qkv"}
EMBEDDINGS = re.compile(r"embed|lm_head|\bwte\b|\bwpe\b|\bshared\b")
# Below so many rows full fine-tuning trains every word's embedding on a handful of uses at best.
FULL_ROWS, FULL_PARAMETERS = 1000, 100e6
SMALL_ROWS, SMALL_EPOCHS = 200, 3
# Of the samples; a single outlier in a thousand does not teach the model to stop early.
CUT_SHARE, CUT_MOSTLY = 0.01, 0.2


def too_few_updates(facts: Facts) -> Case | None:
    planned, rows, batch = facts.planned, facts.rows, facts.setting("train.batch_size")
    epochs = facts.setting("train.epochs")
    if planned is None or rows is None or not batch or not epochs or planned >= FEW_UPDATES:
        return None
    capped = facts.setting("train.max_updates")
    if capped and capped <= planned:
        evidence, setting = (
            f"train.max_updates={capped} stops the run after {planned} updates.",
            "train.max_updates=null",
        )
    else:
        evidence = f"{rows:,} rows × {epochs:g} epochs / {batch} = {planned} updates."
        setting = _more_updates(rows, epochs, batch)
    return Case(
        "warning",
        f"{evidence} Fewer than {FEW_UPDATES} hardly change a model.",
        "Each update moves the weights by about the learning rate, so that so few cannot move them far.",
        "Make more updates of the same rows: smaller batches first, then more epochs.",
        setting,
    )


def _more_updates(rows: int, epochs: float, batch: int) -> str:
    smaller = batch
    while smaller > SMALLEST_BATCH and rows * epochs / smaller < ENOUGH_UPDATES:
        smaller //= 2
    if smaller < batch and rows * epochs / smaller >= ENOUGH_UPDATES:
        return f"train.batch_size={smaller}"
    twice = math.ceil(2 * epochs)
    return f"train.epochs={min(max(MOST_EPOCHS, twice), max(math.ceil(ENOUGH_UPDATES * batch / rows), twice))}"


def rank_too_small(facts: Facts) -> Case | None:
    rank, tokens = facts.setting("adapter.rank"), facts.supervised_tokens
    if facts.is_full or not rank or not tokens or not facts.trained:
        return None
    holds, brings = BITS_A_WEIGHT * facts.trained, BITS_A_TOKEN * tokens
    if brings < RANK_SHORT * holds:
        return None
    wanted = 2 ** math.ceil(math.log2(rank * brings / holds))
    return Case(
        "note",
        f"Rank {rank} makes {facts.trained:,} weights, which hold some {holds:,.0f} bits; {tokens:,} supervised tokens "
        f"bring some {brings:,.0f}.",
        "The adapter cannot take up what is in the data; what is rare in it is lost first.",
        "Raise the rank (with alpha, so that alpha/rank stays).",
        f"adapter.rank={wanted}",
    )


def rank_too_large(facts: Facts) -> Case | None:
    rank, tokens = facts.setting("adapter.rank"), facts.supervised_tokens
    if facts.is_full or not rank or rank <= FREE_RANK or not tokens or not facts.trained:
        return None
    share = facts.trained / tokens
    if share < WEIGHTS_A_TOKEN:
        return None
    fed = 2 ** int(math.log2(max(LEAST_RANK, rank * WEIGHTS_A_TOKEN / share)))
    return Case(
        "note",
        f"Rank {rank} makes {facts.trained:,} weights for {tokens:,} supervised tokens: {share:,.0f} weights a token.",
        "So few rows cannot feed so many weights: they are learnt by heart, and memory and time are spent for nothing.",
        "Lower the rank (with alpha, so that alpha/rank stays), or bring more rows.",
        f"adapter.rank={min(fed, FREE_RANK)}",
    )


def alpha_far_off(facts: Facts) -> Case | None:
    rank, alpha = facts.setting("adapter.rank"), facts.setting("adapter.alpha")
    if facts.is_full or not rank or not alpha:
        return None
    root = facts.setting("adapter.variant") == "rslora"
    below = math.sqrt(rank) if root else rank
    scale, name = alpha / below, "alpha/sqrt(rank)" if root else "alpha/rank"
    if SCALES[0] <= scale <= SCALES[1]:
        return None
    low = scale < SCALES[0]
    return Case(
        "warning",
        f"{name} is {alpha:g}/{below:.3g} = {scale:.3g}; 1 or 2 is usual.",
        "The adapter's output is multiplied by this: "
        + ("what it learns hardly reaches the model." if low else "every step counts many times over."),
        f"Set alpha so that {name} is {USUAL_SCALE:g}.",
        f"adapter.alpha={round(USUAL_SCALE * below):g}",
    )


def weight_decay_extreme(facts: Facts) -> Case | None:
    decay, rate = facts.setting("train.weight_decay"), facts.learning_rate
    if not decay or rate is None or not facts.planned or facts.setting("train.optimizer") in ("adam", "sgd"):
        return None
    # The mean of a cosine or a line to zero is half the peak.
    spent = rate * facts.planned * (1.0 if facts.setting("train.schedule") == "constant" else 0.5)
    gone = 1 - math.exp(-decay * spent)
    if gone < DECAYED_SHARE:
        return None
    return Case(
        "warning",
        f"train.weight_decay is {decay:g}: over {facts.planned} updates at a peak rate of {rate:g} it takes {gone:.0%} "
        "of every trained weight.",
        "The decay pulls the weights back to zero as fast as the data moves them"
        + (", the base's own with them." if facts.is_full else "."),
        "Lower it; an adapter needs none or little.",
        f"train.weight_decay={USUAL_DECAY}",
    )


def targets_too_few(facts: Facts) -> Case | None:
    names = _target_names(facts)
    if facts.is_full or len(names) != 1 or names & FUSED:
        return None
    return Case(
        "warning",
        f"The adapter is only on {names.pop()}.",
        "One kind of layer cannot make up for the others: with the same number of weights, adapters on every linear "
        "layer learn more (QLoRA, arXiv 2305.14314, figure 2; LoRA Without Regret, 2025).",
        "Put the adapter on every linear layer; with a lower rank it need not cost more.",
        "adapter.targets=all-linear",
    )


def targets_too_many(facts: Facts) -> Case | None:
    named = sorted(name for name in _target_names(facts) if EMBEDDINGS.search(name))
    if named and not facts.is_full:
        return Case(
            "warning",
            f"adapter.targets names {', '.join(named)}.",
            "Embeddings and the output head hold a row a word: a small set moves the rows of its own words and leaves "
            "the others behind. They are no targets here.",
            "Leave them out.",
            "adapter.targets=all-linear",
        )
    if facts.is_full and (facts.parameters or 0) >= FULL_PARAMETERS and 0 < (facts.rows or 0) < FULL_ROWS:
        return Case(
            "warning",
            f"Full fine-tuning of {facts.parameters:,} weights, embeddings included, on {facts.rows:,} rows.",
            "So few rows use few of the words: their embeddings move, the others stay behind, and the base forgets.",
            "Train an adapter.",
            "adapter.method=lora",
        )
    return None


def _target_names(facts: Facts) -> set[str]:
    """The layers by their own names; none for a preset or a regular expression, of which nothing is known here."""
    targets: Any = facts.setting("adapter.targets")
    if targets in (None, "all-linear", "attention", "attention-qv"):
        return set()
    entries = [targets] if isinstance(targets, str) else targets
    if not all(re.fullmatch(r"[\w.]+", entry) for entry in entries):
        return set()
    return {entry.rpartition(".")[2] for entry in entries}


def dropout_missing(facts: Facts) -> Case | None:
    """Where held-out rows say that nothing is learnt by heart, none is missed."""
    rows, epochs = facts.rows, facts.setting("train.epochs")
    if facts.is_full or facts.setting("adapter.dropout") != 0 or not rows or not epochs:
        return None
    if rows >= SMALL_ROWS or epochs < SMALL_EPOCHS or facts.setting("train.max_updates"):
        return None
    if facts.updates and not over_fitting(facts):
        return None
    return Case(
        "note",
        f"{rows:,} rows are seen {epochs:g} times each, without dropout.",
        "Rows that come again and again the same are learnt by heart.",
        "Drop a share of the adapter's inputs (QLoRA takes 0.1 for models up to 13B).",
        "adapter.dropout=0.1",
    )


def answers_cut(facts: Facts) -> Case | None:
    cut, length = facts.data.get("cut_within_answer"), facts.data.get("max_length")
    samples = (facts.rows or 0) + facts.data.get("held_out_rows", {}).get("samples", 0)
    if not cut or not samples or not length or cut < CUT_SHARE * samples:
        return None
    bounded = length < (facts.setting("data.max_length") or length)
    return Case(
        "fault" if cut > CUT_MOSTLY * samples else "warning",
        f"{cut:,} of {samples:,} samples are cut within the answer, at {length:,} tokens.",
        "These samples do not show how an answer ends: the model learns to go on.",
        f"The model itself takes no more than {length:,} tokens: leave these samples out."
        if bounded
        else "Let the samples be longer; `lorafit data` shows their lengths.",
        "data.too_long=drop" if bounded else f"data.max_length={2 * length}",
    )
