"""Held-out rows by a hash of the prompt: the split is the same in every run and on every machine."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

from lorafit.records import Conversation


def normalised_prompt(conversation: Conversation) -> str:
    """What is asked first, with case, width and spaces evened out.

    Only the turns before the first answer count, so that two answers to one question, and the earlier and later turns
    of one dialogue, hash alike.
    """
    asked = []
    for message in conversation.messages:
        if message.role == "assistant":
            break
        asked.append(" ".join(unicodedata.normalize("NFKC", message.content).casefold().split()))
    return "\n".join(asked)


def split_held_out(
    conversations: Iterable[Conversation], share: float
) -> tuple[list[Conversation], list[Conversation]]:
    """(training, held-out): a conversation is held out when the hash of its prompt falls into the first `share`."""
    training: list[Conversation] = []
    held_out: list[Conversation] = []
    for conversation in conversations:
        digest = hashlib.sha256(normalised_prompt(conversation).encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        (held_out if place < share else training).append(conversation)
    return training, held_out
