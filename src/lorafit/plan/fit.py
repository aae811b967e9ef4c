"""Which settings fit a device and train fastest there, and what a change of one of them would do.

Candidates are judged by shallow traces (`simulate_deep`). The best of them are then traced whole, on CUDA through the
replayed allocator with expandable segments and the card's memory as its limit, and only count as fitting when that
stays below PLAIN_SHARE of the memory: 8 % is more than a plan may be wrong by (5 % is reported as a fault).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from lorafit.data.batches import iterate_batches
from lorafit.data.pack import LEAST_SHARED, make_batch
from lorafit.errors import TrainingError
from lorafit.model.settings import Quantization
from lorafit.plan.allocator import CachingAllocator
from lorafit.plan.answer import PLAIN_SHARE, Verdict, budget_of, parts_needed, replay, verdict_of
from lorafit.plan.clock import Band, update_band, with_usual_speed
from lorafit.plan.devices import GIB, Device
from lorafit.plan.simulate import OPTIMIZER, Job, Trace, simulate_deep
from lorafit.records import Batch, Fit, Row, Sample, Source
from lorafit.train.optim import Name

TOKENS_A_SAMPLE, EXAMPLES_AN_UPDATE = 2048, 16  # what is assumed without data
LOOKED_AT = 64  # updates among which the one with the largest row is looked for
# A shallow trace has no allocator: 2 % are left for what that rounds up, before the replay says it.
AIM = PLAIN_SHARE - 0.02
# Times closer than this are a tie: NF4's dequantisation is under-costed by about as much.
TIE = 0.12
COMFORT = 0.15  # a tie goes to what leaves this share of the memory free
FINALISTS = 3
FASTER, WORTH_SAVING = 0.98, 0.005  # a change of less, in time or of the memory needed, is not worth a line
# From about so many tokens a pass on, weights are read and kernels launched seldom enough: more would not be faster.
ENOUGH = 4096
_RECOMPUTE = {  # least memory last
    "none": "nothing computed twice",
    "attention": "attention computed again in the backward",
    "every-2": "every second layer computed again in the backward",
    "layers": "every layer computed again in the backward",
    "offload": "every layer computed again, its input kept in the host's memory",
}
LEANER: tuple[Name, ...] = ("adamw", "adamw-8bit", "paged-adamw")
_SETTINGS = {
    "quantization": "model.quantization",
    "double_quantization": "model.double_quantization",
    "recompute": "train.recompute",
    "tokens_per_pass": "train.tokens_per_pass",
    "optimizer": "train.optimizer",
    "rank": "adapter.rank",
    "max_length": "data.max_length",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What a plan may change. rank and max_length change the result, and only do so where the user allows it; None
    leaves them as they are. The examples of an update are never touched."""

    quantization: Quantization = "none"
    double_quantization: bool = True
    recompute: str = "none"
    tokens_per_pass: int = TOKENS_A_SAMPLE
    optimizer: Name = "adamw"
    rank: int | None = None
    max_length: int | None = None

    def overrides(self, before: Choice) -> tuple[str, ...]:
        """What differs from `before`, as settings of a recipe: `train.recompute=layers`."""
        names = [field.name for field in fields(self)]
        return tuple(
            f"{_SETTINGS[name]}={str(getattr(self, name)).lower()}"
            for name in names
            if getattr(self, name) != getattr(before, name)
        )


JobOf = Callable[[Choice], Job]
TokensOf = Callable[[Choice], int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A choice and what is expected of it.

    needed, budget: bytes, the context included; peak: bytes of tensors. seconds: of an update, None where the device's
    speed is unknown; pace: seconds a token, to compare by (at a usual speed where the device's is unknown). why: what
    speaks against it. replayed: whether it was traced whole.
    """

    choice: Choice
    needed: int
    budget: int
    peak: int
    optimizer_bytes: int
    seconds: Band | None
    pace: float
    verdict: Verdict
    why: str
    replayed: bool = False

    @property
    def fits(self) -> bool:
        return self.verdict == "yes"

    @property
    def margin(self) -> float:
        """The share of the memory that is left."""
        return 1 - self.needed / self.budget


@dataclass(frozen=True, slots=True)
class Change:
    """A change of settings. saved: bytes, negative when it costs memory. time: of an update, as a ratio to before;
    None when it cannot be said. fits: whether the run then fits plainly."""

    sentence: str
    overrides: tuple[str, ...]
    saved: int
    time: float | None
    fits: bool


Progress = Callable[[int, int, Candidate], None]


def assumed_batch(samples: int, tokens: int, tokens_per_pass: int) -> Batch:
    """The rows that make the peak of an update of `samples` examples of `tokens` tokens, all trained, nothing shared.

    For a plan without data; two rows at most (see `heaviest_rows`).
    """
    draw = np.random.default_rng(0)
    trained = np.arange(tokens) > 0
    made = [
        Sample(draw.integers(0, 256, tokens), trained, Source("assumed", i + 1))
        for i in range(min(samples, 2 * max(1, tokens_per_pass // tokens)))
    ]
    return heaviest_rows(make_batch(made, tokens_per_pass, least_shared=None))


def typical_updates(
    samples: Sequence[Sample], batch_size: int, seed: int, fit: Fit, packed: bool = True
) -> tuple[Batch, Batch]:
    """Of the first updates that a run would do: the first, and the one with the largest row; see `heaviest_rows`."""
    updates = min(LOOKED_AT, math.ceil(len(samples) / batch_size))
    least = LEAST_SHARED if fit.share_prefixes else None
    batches = [
        batch for _, batch in iterate_batches(samples, batch_size, updates, seed, fit.tokens_per_pass, packed, least)
    ]
    heaviest = max(batches, key=lambda batch: max(map(_size, batch.rows)))
    return heaviest_rows(batches[0]), heaviest_rows(heaviest)


def heaviest_rows(batch: Batch) -> Batch:
    """A batch cut to the two rows that make its peak: the largest one, and one before it, whose gradients stand.

    Where the largest is the first, it stays so, and the largest of the others follows.
    """
    if len(batch.rows) <= 2:
        return batch
    largest = max(range(len(batch.rows)), key=lambda i: (_size(batch.rows[i]), i))
    before, after = batch.rows[:largest], batch.rows[largest + 1 :]
    heaviest = batch.rows[largest]
    rows = (max(before, key=_size), heaviest) if before else (heaviest, max(after, key=_size))
    return Batch(
        rows=rows,
        supervised_tokens=round(sum(float(row.weights.sum()) for row in rows)),
        tokens=round(batch.tokens * sum(map(_size, rows)) / batch.computed_tokens),
    )


def largest_within(needed_of: Callable[[int], int], budget: float, smallest: int, largest: int) -> int | None:
    """The most tokens a pass, from `smallest` to `largest`, whose `needed_of` (bytes) is within the budget.

    Memory grows affinely with the tokens, or from some size on faster (another operation makes the peak). So two small
    sizes say where to look, and what is found there is checked; the line between a size that fits and one that does not
    lies above the curve, so where it meets the budget, it fits. None when `smallest` does not.
    """
    fitting, bytes_fitting = smallest, needed_of(smallest)
    if bytes_fitting > budget:
        return None
    beyond = min(2 * smallest, largest)
    while fitting < beyond:
        needed = needed_of(beyond)
        growth = (needed - bytes_fitting) / (beyond - fitting)
        if needed > budget:
            between = _rounded(fitting + (budget - bytes_fitting) / growth)
            return between if between > fitting and needed_of(between) <= budget else fitting
        fitting, bytes_fitting, before = beyond, needed, fitting
        reached = largest if growth <= 0 else min(largest, _rounded(fitting + (budget - needed) / growth))
        if before > smallest or reached <= fitting:  # two sizes and one guess
            break
        beyond = reached
    return fitting


def largest_pass(
    job_of: JobOf, choice: Choice, device: Device, tokens_of: TokensOf, largest: int | None = None
) -> Candidate | None:
    """The choice with the most tokens a pass that fit by shallow traces, from its own on, up to `largest` (a whole
    update when None); None when its own do not."""
    judge = _Judge(job_of, device, tokens_of)
    found = judge.largest(choice, largest or tokens_of(choice))
    return found if found is not None and found.fits else None


def grid(
    start: Choice,
    kind: str,
    full: bool,
    free_base: bool = True,
    ranks: Sequence[int] = (),
    lengths: Sequence[int] = (),
) -> tuple[Choice, ...]:
    """What a search goes through on a device of `kind`: all that this device has, the user's rank and length first.

    full: full fine-tuning, whose base cannot be quantised. free_base: whether it may be. ranks, lengths: other ones
    that the user allows, largest first. 8 bits are tried only where asked for: NF4 is smaller, and 16 bits are faster.
    """
    bases: list[Quantization] = [start.quantization]
    if free_base and not full:
        bases = list(dict.fromkeys(["none", start.quantization, "nf4"]))
    leaner = LEANER if start.optimizer == "adamw" and kind == "cuda" else (start.optimizer,)
    return tuple(
        replace(_shortened(start, length), quantization=base, recompute=policy, optimizer=optimizer, rank=rank)
        for length in (start.max_length, *lengths)
        for rank in (start.rank, *(() if full else ranks))
        for base in bases
        for policy in _policies(kind)
        for optimizer in leaner
    )


def search(
    job_of: JobOf,
    choices: Sequence[Choice],
    device: Device,
    tokens_of: TokensOf,
    largest: int | None = None,
    progress: Progress | None = None,
) -> tuple[Candidate, ...]:
    """Every candidate, the best first: those that fit by pace, then the tight ones, then the rest by memory.

    choices: as `grid` gives them; each is tried with its own tokens a pass, and with more, up to `largest` (a whole
    update when None). tokens_of: tokens of a whole update. Passed over is what cannot win: a leaner optimizer where a
    plainer one fits, more recomputation where less leaves room for `largest` or ENOUGH tokens, and other ranks and
    lengths where the user's own fit. progress(done, all, candidate) is called for each choice that was tried.

    A tie (TIE) goes to the less quantised base, then to what leaves COMFORT, then to the faster. The first three are
    traced whole (see above), so that a first candidate that `fits` was `replayed`.
    """
    judge = _Judge(job_of, device, tokens_of)
    while True:
        tried = len(judge.seen)
        _try_all(judge, choices, largest, progress)
        order = _accepted(judge)
        # Where the replay took back what had seemed to fit, what was passed over for it has its turn.
        if not order or order[0].fits or len(judge.seen) == tried:
            return order


def _try_all(judge: _Judge, choices: Sequence[Choice], largest: int | None, progress: Progress | None) -> None:
    ample: set[tuple[Quantization, int | None, int | None]] = set()
    group = None
    for done, choice in enumerate(choices, 1):
        before, group = group, (choice.rank, choice.max_length)
        if before not in (None, group) and any(c.fits for c in _accepted(judge)[:1]):
            break
        most = largest or judge.tokens_of(choice)
        if (choice.quantization, *group) in ample or not judge.may_help(choice):
            continue
        tried = len(judge.seen)
        found = judge.largest(choice, most)
        if found is None:
            continue
        if found.fits and found.margin >= COMFORT and found.choice.tokens_per_pass >= min(most, ENOUGH):
            ample.add((choice.quantization, *group))
        if progress is not None and len(judge.seen) > tried:
            progress(done, len(choices), found)


def changes(job_of: JobOf, choice: Choice, device: Device, tokens_of: TokensOf, limit: int = 3) -> tuple[Change, ...]:
    """The changes of one setting that help most, one for each setting, by shallow traces.

    Where the choice does not fit plainly: what makes it fit, at the least time; then what saves most. Where it fits:
    what is faster and still fits; then what saves most for its time. A shorter length, which drops text, comes last.
    """
    judge = _Judge(job_of, device, tokens_of)
    before = judge.tried(choice)
    if before is None:
        return ()

    def tried(sentence: str, changed: Choice) -> Change | None:
        after = judge.tried(changed)
        if after is None:
            return None
        ratio = after.pace * tokens_of(changed) / (before.pace * tokens_of(choice))
        time = ratio if math.isfinite(ratio) else None
        saved = before.needed - after.needed
        faster = time is not None and time < FASTER and before.fits and after.fits
        worth_a_line = faster or saved > WORTH_SAVING * before.needed
        return Change(sentence, changed.overrides(choice), saved, time, after.fits) if worth_a_line else None

    found: list[Change] = []
    for variations in _variations(choice, job_of(choice), before.fits):
        for sentence, changed in variations:
            one = tried(sentence, changed)
            found += [one] if one else []
            if one and one.fits:  # the first of a setting that fits is its best
                break
        if sum(one.fits for one in found) >= limit:
            break

    def usefulness(change: Change) -> tuple[bool, bool, float]:
        time = math.inf if change.time is None else change.time
        shortens = any(setting.startswith(_SETTINGS["max_length"]) for setting in change.overrides)
        if before.fits:
            slower = time >= FASTER
            return shortens, slower, -change.saved / max(time, 1.0) if slower else time
        return not change.fits, shortens, time if change.fits else -change.saved

    best: dict[str, Change] = {}
    for change in sorted(found, key=usefulness):
        best.setdefault(change.overrides[-1].split("=")[0], change)
    return tuple(best.values())[:limit]


class _Judge:
    """Tries choices by shallow traces, each once. seen: those tried, of several that give the same rows the first."""

    def __init__(self, job_of: JobOf, device: Device, tokens_of: TokensOf) -> None:
        self.job_of, self.device, self.tokens_of = job_of, device, tokens_of
        self.seen: dict[Choice, Candidate] = {}
        self._same: dict[Choice | tuple[Choice, Hashable], Choice] = {}

    def tried(self, choice: Choice) -> Candidate | None:
        """None where the model has not what the recompute policy wants."""
        if choice not in self._same:
            job = self.job_of(choice)
            first = self._same.setdefault((replace(choice, tokens_per_pass=0), _rows(job)), choice)
            if first is choice:
                try:
                    trace = simulate_deep(_lightened(job))
                except TrainingError:
                    return None
                self.seen[choice] = self._judged(choice, job, trace, None)
            self._same[choice] = first
        return self.seen[self._same[choice]]

    def replayed(self, choice: Choice) -> Candidate:
        """Judged anew, by the whole trace."""
        job = self.job_of(choice)
        trace, allocator = replay(job, self.device)
        self.seen[choice] = replace(self._judged(choice, job, trace, allocator), replayed=True)
        return self.seen[choice]

    def largest(self, choice: Choice, most: int) -> Candidate | None:
        """With the most tokens a pass that leave the margin, else with its own; None where it cannot be tried."""
        if self.tried(choice) is None:
            return None

        def needed(tokens: int) -> int:
            candidate = self.tried(replace(choice, tokens_per_pass=tokens))
            assert candidate is not None  # it was, with fewer
            return candidate.needed

        smallest = choice.tokens_per_pass
        most_fitting = largest_within(needed, AIM * budget_of(self.device), smallest, max(smallest, most))
        return self.tried(replace(choice, tokens_per_pass=most_fitting or smallest))

    def may_help(self, choice: Choice) -> bool:
        """Whether a leaner optimizer than those tried with these settings could make it fit."""
        plainer = LEANER[: LEANER.index(choice.optimizer)] if choice.optimizer in LEANER else ()
        tried = [self.seen.get(replace(choice, optimizer=name)) for name in plainer]
        return all(c is None or (not c.fits and c.needed - c.optimizer_bytes <= AIM * c.budget) for c in tried)

    def _judged(self, choice: Choice, job: Job, trace: Trace, allocator: CachingAllocator | None) -> Candidate:
        budget = budget_of(self.device)
        parts = parts_needed(trace, allocator, self.device)
        needed = sum(parts.values())
        failed = allocator is not None and allocator.failure is not None
        verdict = verdict_of(parts, budget, failed)
        whole = f"needs {needed / GIB:.1f} GiB of {budget / GIB:.1f}"
        why = {"yes": "", "tight": f"{whole}: too close to be sure", "no": whole}[verdict]
        tokens = self.tokens_of(choice)
        usual = update_band(trace, job, with_usual_speed(self.device), tokens)
        return Candidate(
            choice=choice,
            needed=needed,
            budget=budget,
            peak=trace.peak.bytes,
            optimizer_bytes=trace.peak.parts.get(OPTIMIZER, 0),
            seconds=update_band(trace, job, self.device, tokens),
            pace=usual.middle / tokens if usual else math.inf,
            verdict=verdict,
            why=why,
        )


def _accepted(judge: _Judge) -> tuple[Candidate, ...]:
    """In order, the first ones traced whole; what then no longer fits falls back."""
    while True:
        order = _ordered(list(judge.seen.values()))
        waiting = [c for c in order[:FINALISTS] if c.fits and not c.replayed]
        if not waiting:
            return order
        judge.replayed(waiting[0].choice)


def _ordered(candidates: list[Candidate]) -> tuple[Candidate, ...]:
    fitting = sorted((c for c in candidates if c.fits), key=lambda c: c.pace)
    others = sorted((c for c in candidates if not c.fits), key=lambda c: (c.verdict == "no", c.needed))
    ties = [c for c in fitting if c.pace <= fitting[0].pace * (1 + TIE)]
    quantised = {"none": 0, "int8": 1, "nf4": 2}
    ties.sort(key=lambda c: (quantised[c.choice.quantization], -min(c.margin, COMFORT), c.pace))
    return (*ties, *fitting[len(ties) :], *others)


def _variations(choice: Choice, job: Job, fits: bool) -> Iterator[list[tuple[str, Choice]]]:
    """Changes of one setting that this device and method have, with a sentence for each: by setting, best first.

    fits: whether the choice does: then what may be faster comes first, else what costs the least time. What cannot help
    is not there; nor are 8 bits, as NF4 is smaller.
    """
    full = job.adapter.method == "none"
    policies = _policies(job.kind)
    at = policies.index(choice.recompute) if choice.recompute in policies else 0
    lighter, heavier = policies[:at], policies[at + 1 :]
    if fits:  # all layers save the most for their time
        heavier = tuple(policy for policy in heavier if policy == "layers")
    tried = (*lighter, *heavier) if fits else heavier
    yield [(_RECOMPUTE[policy], replace(choice, recompute=policy)) for policy in tried]
    if choice.quantization == "none" and not full:
        yield [("the base in 4 bits (QLoRA)", replace(choice, quantization="nf4"))]
    tokens = choice.tokens_per_pass
    sizes = [(2 * tokens, "twice")] if fits and tokens < ENOUGH else []
    sizes += [(tokens // 2, "half of")] if tokens > 1 else []
    yield [(f"{words} the tokens in a pass ({n:,})", replace(choice, tokens_per_pass=n)) for n, words in sizes]
    if job.kind == "cuda" and choice.optimizer in ("adam", "adamw"):
        yield [("the optimizer's state in 8 bits", replace(choice, optimizer="adamw-8bit"))]
    longest = max(int(row.position_ids.max()) + 1 for batch in job.updates for row in batch.rows)
    if longest > 1:
        yield [(f"texts of {longest // 2:,} tokens at most", _shortened(choice, longest // 2))]


def _shortened(choice: Choice, length: int | None) -> Choice:
    """With shorter texts; a pass need then not be longer than they are."""
    tokens = choice.tokens_per_pass if length is None else min(choice.tokens_per_pass, length)
    return replace(choice, max_length=length, tokens_per_pass=tokens)


def _policies(kind: str) -> tuple[str, ...]:
    """The recompute policies of a device, least memory last."""
    return tuple(policy for policy in _RECOMPUTE if policy != "offload" or kind == "cuda")


def _rows(job: Job) -> Hashable:
    """What of the job's rows decides memory and time."""
    return tuple(tuple((row.layout, len(row.predict)) for row in batch.rows) for batch in job.updates)


def _lightened(job: Job) -> Job:
    """The job with one row in the first update, which is there to bring the optimizer's state."""
    first, *rest = job.updates
    light = Batch(first.rows[:1], round(float(first.rows[0].weights.sum())), _size(first.rows[0]))
    return replace(job, updates=(light, *rest))


def _size(row: Row) -> int:
    return len(row.token_ids)


def _rounded(tokens: float) -> int:
    """Down to three binary digits and a bit: sizes that a person would write, and kernels like."""
    step = max(64, 1 << max(0, int(tokens).bit_length() - 4))
    return int(tokens) // step * step
