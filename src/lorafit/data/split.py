"""Held-out rows by a hash of the prompt: the split is the same in every run and on every machine."""

from __future__ import annotations

import hashlib
import unicodedata

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


def prompt_number(conversation: Conversation) -> int:
    """64 bits of a hash of the prompt, or of a text that has none."""
    asked = conversation.answer if conversation.is_text else normalised_prompt(conversation)
    return int.from_bytes(hashlib.sha256(asked.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def is_held_out(conversation: Conversation, share: float) -> bool:
    """Whether the hash of its prompt falls into the first `share` of all hashes."""
    return prompt_number(conversation) / 2**64 < share
