"""Tokens to text while they come: no half characters, and nothing that a stop text may begin in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

HALF = "\ufffd"
LONGEST_CHARACTER = 4  # tokens: UTF-8 has no more bytes


class Text:
    """The text of one answer. decode: ids to text, special tokens left out.

    A token may be a part of a character, and how it is written may depend on the one before it. So a piece is what the
    tokens since the last finished piece add to that piece, as soon as it does not end in the middle of a character.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: tuple[str, ...] = ()) -> None:
        self.decode, self.stop = decode, stop
        self.text = ""
        self.stopped = False
        self._ids: list[int] = []
        self._before = self._done = 0  # the last finished piece is made of the tokens from `_before` to `_done`
        self._given = 0

    def push(self, token: int) -> str:
        """Take a token; returns what may be shown now."""
        self.add(token)
        end = len(self._ids)
        piece = self._piece(end)
        if piece.endswith(HALF):
            sure = self._beyond_broken()
            if sure is None:
                return ""
            end, piece = sure, self._piece(sure)
        return self._grown(piece, end)

    def add(self, token: int) -> None:
        """Take a token that nobody waits for: all is decoded once, at the end."""
        self._ids.append(token)

    def end(self) -> str:
        """What was kept back; half a character at the end is dropped."""
        if not self.stopped:
            self._grown(self._piece(len(self._ids)).rstrip(HALF), len(self._ids))
        rest, self._given = self.text[self._given :], len(self.text)
        return rest

    def _piece(self, end: int) -> str:
        """What the unfinished tokens up to `end` add to the last finished piece."""
        return self.decode(self._ids[self._before : end])[len(self.decode(self._ids[self._before : self._done])) :]

    def _beyond_broken(self) -> int | None:
        """Up to where the unfinished tokens are bytes that can become no character any more; None: all still may.

        A place within a character is none where the parts are written as the whole is.
        """
        if len(self._ids) - self._done <= LONGEST_CHARACTER:
            return None
        whole = self.decode(self._ids[self._before :])
        places = range(len(self._ids) - LONGEST_CHARACTER + 1, len(self._ids))
        return next(
            (i for i in places if self.decode(self._ids[self._before : i]) + self.decode(self._ids[i:]) == whole), None
        )

    def _grown(self, piece: str, end: int) -> str:
        if not piece:
            return ""  # a special token alone, or the beginning of a character
        self._before, self._done = self._done, end
        look_from = max(0, len(self.text) - max(map(len, self.stop), default=0))
        self.text += piece
        found = [place for place in (self.text.find(stop, look_from) for stop in self.stop) if place >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True
        sure = len(self.text) if found else len(self.text) - self._possible()
        shown, self._given = self.text[self._given : sure], max(self._given, sure)
        return shown

    def _possible(self) -> int:
        """How many characters at the end may be the beginning of a stop text."""
        lengths = range(min(len(self.text), max(map(len, self.stop), default=1) - 1), 0, -1)
        return next((n for n in lengths if any(stop.startswith(self.text[-n:]) for stop in self.stop)), 0)
