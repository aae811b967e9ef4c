"""What the data report counts row by row, batch by batch, where the rows are tokenised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set

import numpy as np

from lorafit.data.probing import Facts
from lorafit.data.samples import Block
from lorafit.data.turns import CLOSED, OPENED
from lorafit.records import Conversation

UNSUPPORTED = "unsupported "  # stands before the names of `Facts.unsupported`


def count_rows(conversations: Sequence[Conversation], facts: Facts) -> Counter[str]:
    """How many of the rows are texts, have several answers, think (tags within an answer apart), have what the template
    does not show (`unsupported ...`)."""
    counted: Counter[str] = Counter()
    for row in conversations:
        if row.is_text:
            counted["texts"] += 1
            continue
        answers = [message for message in row.messages if message.role == "assistant"]
        counted["several_answers"] += len(answers) > 1
        counted["thinking"] += any(message.thinking for message in answers)
        counted["thinking_tags"] += any(OPENED in m.content or CLOSED in m.content for m in answers)
        counted.update(UNSUPPORTED + what for what in facts.unsupported(row))
    return counted


def endless(block: Block, ends: Set[int]) -> np.ndarray:
    """int64, the numbers of the samples in which a stretch that is trained on ends with none of the ids `ends`."""
    if not len(block.trained):
        return np.empty(0, np.int64)
    borders = np.cumsum(block.lengths)
    goes_on = np.append(block.trained[1:], False)
    goes_on[borders - 1] = False
    last = np.flatnonzero(block.trained & ~goes_on)
    unended = last[~np.isin(block.token_ids[last], list(ends))]
    return np.unique(np.searchsorted(borders, unended, side="right"))
