"""The search against brute force, the guess of tokens a pass against all of them, the batches, the changes."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig

from lorafit.adapters.settings import AdapterSettings
from lorafit.data.batches import iterate_batches
from lorafit.plan import fit as fit_module
from lorafit.plan.answer import PLAIN_SHARE
from lorafit.plan.clock import update_band
from lorafit.plan.devices import Device
from lorafit.plan.fit import (
    AIM,
    COMFORT,
    TIE,
    Choice,
    JobOf,
    assumed_batch,
    changes,
    grid,
    heaviest_rows,
    largest_pass,
    largest_within,
    search,
    typical_updates,
)
from lorafit.plan.simulate import Job, Trace, simulate, simulate_deep
from lorafit.records import Fit, Sample, Source

EXAMPLES, TOKENS = 4, 1024
# Wide and flat: sizes cost nothing on meta tensors, operations do.
CONFIG = LlamaConfig(
    hidden_size=2048, intermediate_size=5632, num_hidden_layers=1, num_attention_heads=16, vocab_size=16_000
)


@pytest.fixture(autouse=True)
def simulated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests ask for the same jobs again and again."""
    monkeypatch.setattr(fit_module, "simulate_deep", traced)


def traced(job: Job) -> Trace:
    sizes = tuple(tuple(len(row.token_ids) for row in batch.rows) for batch in job.updates)
    key = (job.kind, job.quantization, job.adapter.method, job.adapter.rank, job.optimizer, job.fit.recompute, sizes)
    if key not in KNOWN:
        KNOWN[key] = simulate_deep(job)
    return KNOWN[key]


KNOWN: dict[object, Trace] = {}


def card(size: float, kind: str = "cuda", known: bool = True) -> Device:
    """size: bytes."""
    speeds = (1e12, 1e14) if known else (None, None)
    return Device("a card", kind, int(size), *speeds, True, 0, "made up")


def job_on(kind: str = "cuda", method: str = "lora") -> JobOf:
    def job_of(choice: Choice) -> Job:
        batch = assumed_batch(EXAMPLES, choice.max_length or TOKENS, choice.tokens_per_pass)
        adapter = AdapterSettings(method=method, rank=choice.rank or 8)
        return Job(
            CONFIG,
            kind,
            torch.bfloat16,
            choice.quantization,
            choice.double_quantization,
            adapter,
            choice.optimizer,
            Fit(choice.tokens_per_pass, choice.recompute),
            (assumed_batch(1, choice.max_length or TOKENS, choice.tokens_per_pass), batch),
        )

    return job_of


def tokens_of(choice: Choice) -> int:
    return EXAMPLES * (choice.max_length or TOKENS)


START = Choice(tokens_per_pass=TOKENS)


# ---------------------------------------------------------------- batches


def test_an_assumed_batch_is_full_rows_of_which_nothing_is_shared() -> None:
    batch = assumed_batch(16, 100, 350)
    assert [len(row.token_ids) for row in batch.rows] == [300, 300]
    assert (batch.tokens, batch.supervised_tokens) == (600, 6 * 99)
    assert [len(row.token_ids) for row in assumed_batch(4, 100, 350).rows] == [300, 100]
    assert [len(row.token_ids) for row in assumed_batch(16, 100, 64).rows] == [100, 100]
    assert [len(row.token_ids) for row in assumed_batch(1, 100, 64).rows] == [100]


def samples(lengths: list[int]) -> list[Sample]:
    draw = np.random.default_rng(1)
    return [Sample(draw.integers(0, 1000, n), np.arange(n) > n // 3, Source("x", i)) for i, n in enumerate(lengths)]


def test_typical_updates_are_the_runs_own_first_and_heaviest() -> None:
    made = samples([int(n) for n in np.random.default_rng(0).integers(10, 90, 60)] + [200])
    fit = Fit(128)
    first, heaviest = typical_updates(made, 6, seed=3, fit=fit)
    own = [batch for _, batch in iterate_batches(made, 6, 11, 3, 128)]
    sizes = [[len(row.token_ids) for row in batch.rows] for batch in own]
    assert max(len(row.token_ids) for row in heaviest.rows) == max(map(max, sizes)) >= 200
    assert {tuple(row.token_ids.tolist()) for row in first.rows} <= {tuple(r.token_ids.tolist()) for r in own[0].rows}
    for batch in (first, heaviest):
        assert len(batch.rows) == 2
        assert batch.supervised_tokens == sum(int(row.weights.sum()) for row in batch.rows)


def test_the_heaviest_rows_have_the_largest_after_another_where_it_was_so() -> None:
    batch = next(batch for _, batch in iterate_batches(samples([30, 20, 90, 50, 60]), 5, 1, 0, 90))
    for rows in itertools.permutations(batch.rows):
        kept = heaviest_rows(replace(batch, rows=rows)).rows
        largest = max(len(row.token_ids) for row in rows)
        assert len(kept) == 2
        assert len(kept[1].token_ids) == largest or len(rows[0].token_ids) == largest
        assert largest in [len(row.token_ids) for row in kept]


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_two_rows_have_the_peak_of_all(kind: str) -> None:
    """But for a few kilobytes: what is kept by length (masks) is there for each length."""
    whole = next(batch for _, batch in iterate_batches(samples([60, 50, 40, 30, 20, 61]), 6, 1, 0, 64))
    few = heaviest_rows(whole)
    assert len(few.rows) == 2 < len(whole.rows)
    peaks = [simulate(replace(job_on(kind)(START), updates=(b, b))).peak.bytes for b in (few, whole)]
    assert peaks[0] == pytest.approx(peaks[1], rel=1e-4)


# ---------------------------------------------------------------- tokens a pass


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 50)), min_size=1, max_size=4),
    st.integers(1, 400_000),
    st.integers(1, 8),
    st.integers(1, 64),
)
def test_what_is_guessed_fits_and_is_near_the_most_that_does(
    lines: list[tuple[int, int]], budget: int, smallest: int, times: int
) -> None:
    def needed(tokens: int) -> int:
        asked.append(tokens)
        return max(base + slope * tokens for base, slope in lines)

    asked: list[int] = []
    smallest *= 64
    found = largest_within(needed, budget, smallest, smallest * times)
    assert len(asked) <= 4
    fits = [n for n in range(smallest, smallest * times + 1, 64) if needed(n) <= budget]
    if found is None:
        assert not fits
        return
    assert needed(found) <= budget and smallest <= found <= smallest * times
    if len(lines) == 1 and fits:  # affine: exact but for rounding, which leaves an eighth at most
        assert found >= 7 / 8 * max(fits) - 64


def test_the_largest_pass_is_the_true_one() -> None:
    job_of = job_on()
    sizes = [TOKENS * n for n in range(1, EXAMPLES + 1)]
    peaks = {n: traced(job_of(replace(START, tokens_per_pass=n))).peak.bytes for n in sizes}
    for least in (1, 2, 4):
        budget = peaks[TOKENS * least] / AIM + 1
        found = largest_pass(job_of, START, card(budget), tokens_of)
        assert found is not None and peaks[found.choice.tokens_per_pass // TOKENS * TOKENS] <= AIM * budget
        true = max(n for n in sizes if peaks[n] <= AIM * budget)
        assert found.choice.tokens_per_pass >= true * 7 / 8, "but for rounding"
    assert largest_pass(job_of, START, card(peaks[TOKENS]), tokens_of) is None


# ---------------------------------------------------------------- the search


CHOICES = [
    choice
    for choice in grid(START, "cuda", full=False)
    if choice.optimizer == "adamw" and choice.recompute in ("none", "layers")
]


@functools.cache
def by_brute_force() -> dict[Choice, tuple[int, float]]:
    """(bytes, seconds a token) of every choice at every number of tokens a pass."""
    found = {}
    for choice in CHOICES:
        for passes in (1, 2, 4):
            tried = replace(choice, tokens_per_pass=TOKENS * passes)
            job = job_on()(tried)
            trace = traced(job)
            seconds = update_band(trace, job, card(1), tokens_of(tried))
            assert seconds is not None
            found[tried] = trace.peak.bytes, seconds.middle / tokens_of(tried)
    return found


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_the_winner_is_the_fastest_of_those_that_fit(share: float) -> None:
    """share: how far the memory reaches from the leanest choice to the one that needs most."""
    every = by_brute_force()
    needs = [needed for needed, _ in every.values()]
    budget = (min(needs) + share * (max(needs) - min(needs))) / AIM
    winner, *others = search(job_on(), CHOICES, card(budget), tokens_of)
    assert winner.fits and winner.replayed and winner.needed <= PLAIN_SHARE * winner.budget
    fitting = {choice: pace for choice, (needed, pace) in every.items() if needed <= AIM * budget}
    fastest = min(fitting.values())
    assert winner.pace <= fastest * (1 + TIE)
    if winner.choice.quantization == "nf4":  # the base is only quantised where that is worth more than a tie
        assert not [c for c, pace in fitting.items() if c.quantization == "none" and pace <= fastest * (1 + TIE)]
    assert all(c.needed <= PLAIN_SHARE * c.budget for c in (winner, *others) if c.fits)
    assert all(c.why for c in others if not c.fits)
    assert all(c.replayed for c in (winner, *others)[:3] if c.fits)


def test_memory_decides_what_is_given_up() -> None:
    least = min(needed for needed, _ in by_brute_force().values())
    ample, scarce, none = (
        search(job_on(), CHOICES, card(size), tokens_of) for size in (64e9, 1.3 * least, 0.9 * least)
    )
    assert (ample[0].choice.quantization, ample[0].choice.recompute) == ("none", "none")
    assert ample[0].margin > COMFORT and scarce[0].fits
    assert scarce[0].choice != ample[0].choice and scarce[0].pace > ample[0].pace
    assert not any(c.fits for c in none) and all(c.why for c in none)
    assert [c.needed for c in none] == sorted(c.needed for c in none)


def test_rank_and_length_are_given_up_last_and_only_where_allowed() -> None:
    start = replace(START, quantization="nf4")
    allowed = [c for c in grid(start, "cuda", False, ranks=[2], lengths=[256]) if c.optimizer == "adamw"]
    allowed = [c for c in allowed if (c.quantization, c.recompute) == ("nf4", "none")]
    assert {c.rank for c in allowed} == {None, 2} and {c.max_length for c in allowed} == {None, 256}
    roomy = search(job_on(), allowed, card(64e9), tokens_of)
    assert {(c.choice.rank, c.choice.max_length) for c in roomy} == {(None, None)}
    least = min(c.needed for c in roomy)
    strict, narrow = (search(job_on(), choices, card(least), tokens_of) for choices in (allowed[:1], allowed))
    assert not strict[0].fits
    assert narrow[0].fits and (narrow[0].choice.rank, narrow[0].choice.max_length) != (None, None)


def test_a_leaner_optimizer_is_for_what_does_not_fit_otherwise() -> None:
    job_of = job_on(method="none")
    choices = [c for c in grid(START, "cuda", full=True) if c.recompute == "layers"]
    assert [c.optimizer for c in choices] == ["adamw", "adamw-8bit", "paged-adamw"]
    need = traced(job_of(choices[0])).peak.bytes
    plain, scarce = (search(job_of, choices, card(size), tokens_of, TOKENS) for size in (2 * need, need))
    assert {c.choice.optimizer for c in plain} == {"adamw"} and plain[0].fits
    assert scarce[0].fits and scarce[0].choice.optimizer != "adamw"


def test_what_a_device_or_method_has_not_is_never_proposed() -> None:
    for kind in ("cpu", "mps"):
        assert {c.optimizer for c in grid(START, kind, False)} == {"adamw"}
        assert "offload" not in {c.recompute for c in grid(START, kind, False)}
    found = changes(job_on("cpu"), START, card(1e8, "cpu"), tokens_of, limit=99)
    assert found and not any("optimizer" in text or "offload" in text for c in found for text in c.overrides)
    assert {c.quantization for c in grid(START, "cuda", full=True)} == {"none"}
    assert {c.quantization for c in grid(START, "cuda", False, free_base=False)} == {"none"}
    full = changes(job_on(method="none"), START, card(1e8), tokens_of, limit=99)
    assert not any("quantization" in text for c in full for text in c.overrides)
    assert any("optimizer" in text for c in full for text in c.overrides)


def test_the_examples_of_an_update_are_no_choice() -> None:
    other = Choice("nf4", False, "layers", 1, "adamw-8bit", 1, 1)
    assert sorted(text.split("=")[0] for text in other.overrides(START)) == [
        "adapter.rank",
        "data.max_length",
        "model.double_quantization",
        "model.quantization",
        "train.optimizer",
        "train.recompute",
        "train.tokens_per_pass",
    ]


def test_without_speeds_the_order_stands_and_no_time_is_told() -> None:
    found = search(job_on(), CHOICES, card(64e9, known=False), tokens_of)
    told = search(job_on(), CHOICES, card(64e9), tokens_of)
    assert all(c.seconds is None for c in found) and all(c.seconds for c in told)
    assert found[0].choice == told[0].choice


def test_progress_is_told_for_each_choice_that_is_tried() -> None:
    told: list[tuple[int, int]] = []
    least = min(needed for needed, _ in by_brute_force().values())
    search(job_on(), CHOICES, card(least), tokens_of, progress=lambda done, of, candidate: told.append((done, of)))
    assert told == [(i + 1, len(CHOICES)) for i in range(len(CHOICES))]


# ---------------------------------------------------------------- changes


def test_changes_make_it_fit_and_say_truly_what_they_do() -> None:
    job_of = job_on()
    start = replace(START, tokens_per_pass=4 * TOKENS)
    before = traced(job_of(start)).peak.bytes
    found = changes(job_of, start, card(before), tokens_of, limit=99)
    settings = [change.overrides[-1].split("=")[0] for change in found]
    assert len(set(settings)) == len(settings), "one for each setting"
    assert found[0].fits and found[0].time == min(
        c.time for c in found if c.fits and c.time and "max_length" not in c.overrides[-1]
    )
    by_setting = dict(zip(settings, found, strict=True))
    half = by_setting["train.tokens_per_pass"]
    assert half.overrides == (f"train.tokens_per_pass={2 * TOKENS}",)
    after = traced(job_of(replace(start, tokens_per_pass=2 * TOKENS))).peak.bytes
    assert half.saved == pytest.approx(before - after, abs=2048)
    assert by_setting["data.max_length"].overrides == ("train.tokens_per_pass=512", "data.max_length=512")
    assert by_setting["model.quantization"].overrides == ("model.quantization=nf4",)


def test_where_it_fits_the_faster_come_first() -> None:
    found = changes(job_on(), replace(START, recompute="layers"), card(64e9), tokens_of)
    assert len(found) <= 3
    assert found[0].time is not None and found[0].time < 1 and found[0].fits
    settings = [change.overrides for change in found]
    assert ("train.recompute=none",) in settings
