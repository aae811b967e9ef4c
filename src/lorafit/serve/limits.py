"""How much one request may ask for, and how many may wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """queue: choices that wait beside those that run; seconds: from a request's arrival to its end; the others are of
    one request, `choices` over all its prompts."""

    running: int = 64
    queue: int = 256
    seconds: float = 600.0
    body_bytes: int = 1 << 20
    choices: int = 16
    tokens: int = 4096
    stops: int = 16
    stop_characters: int = 256
    body_seconds: float = 30.0
