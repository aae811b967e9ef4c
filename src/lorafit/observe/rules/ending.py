"""Rules about how a run ended: by a fault that it named, or without a word."""

from __future__ import annotations

from lorafit.observe.rules.facts import Facts
from lorafit.observe.rules.finding import Case

# The heartbeat comes every 5 seconds; a suspended laptop or a busy disk may miss some.
SILENT_SECONDS = 60.0
# Of the memory that there was, in the last sample before the silence.
FREE_SHARE = 0.08
# A sample comes every few seconds: an older one says nothing about the end.
SAMPLE_SECONDS = 60.0


def run_failed(facts: Facts) -> Case | None:
    if facts.status.get("state") != "failed":
        return None
    message = " ".join(str(facts.status.get("message", "")).split())
    return Case(
        "fault",
        f"At update {_place(facts)} the run stopped by itself: {message}",
        "The message says what was wrong.",
        "Mend what it names; `lorafit resume` goes on from the newest checkpoint.",
    )


def run_killed(facts: Facts) -> Case | None:
    if not _silent(facts):
        return None
    return Case(
        "fault",
        f"The run is said to be {facts.status['state']}, at update {_place(facts)}, but its last sign of life is "
        f"{facts.silent_seconds:,.0f} seconds old.",
        "The process was killed, or the machine went down: it left no word.",
        "`lorafit resume` goes on from the newest checkpoint.",
    )


def killed_for_memory(facts: Facts) -> Case | None:
    if not _silent(facts) or not memory_was_out(facts):
        return None
    sample = facts.hardware[-1]
    available, resident = sample["available_bytes"], sample["resident_bytes"]
    tokens = facts.setting("train.tokens_per_pass")
    return Case(
        "fault",
        f"At update {_place(facts)} the run fell silent; its last sample has {resident / 2**30:.1f} GiB in use by it "
        f"and {available / 2**30:.2f} GiB left in the system.",
        "The system had no memory left and killed the process.",
        "Halve the tokens of a pass: the result stays the same. `lorafit resume` goes on.",
        f"train.tokens_per_pass={max(1, tokens // 2)}" if isinstance(tokens, int) else None,
    )


def memory_was_out(facts: Facts) -> bool:
    """Whether the system had hardly any memory left when the run last gave a sign of life."""
    if not facts.hardware:
        return False
    sample = facts.hardware[-1]
    available, resident = sample.get("available_bytes"), sample.get("resident_bytes")
    if available is None or not resident or available > FREE_SHARE * (available + resident):
        return False
    return bool(abs(sample.get("time", 0.0) - facts.status.get("heartbeat", 0.0)) <= SAMPLE_SECONDS)


def _silent(facts: Facts) -> bool:
    goes_on = facts.status.get("state") in ("queued", "planning", "running")
    return goes_on and facts.silent_seconds is not None and facts.silent_seconds > SILENT_SECONDS


def _place(facts: Facts) -> str:
    done, planned = facts.status.get("update", 0), facts.status.get("updates", 0)
    return f"{done} of {planned}" if planned else str(done)
