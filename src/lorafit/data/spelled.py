"""Special tokens that are spelled in the data: they stay text, and never become the special token.

A tokenizer finds its special tokens by their spelling, wherever it stands. So that `<|im_end|>` typed by a user does
not end his turn, such a spelling is hidden from the template behind a placeholder (one private-use character), and a
text with placeholders is encoded by a copy of the tokenizer whose special tokens are spelled with private-use
characters, too: there the template's own are found, and those of the data are text like any other. The copy differs in
nothing else, so a text is encoded as by a tokenizer that had never heard of these spellings.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from lorafit.errors import DataError

# Both lie in the last plane of private-use characters, which next to nothing uses; there is room for 4,096 tokens each.
PLACEHOLDERS, SPELLINGS = 0x10E000, 0x10F000


class SpelledTokens:
    """Hides special tokens that are spelled in texts, and encodes the texts that hold hidden ones.

    `texts` are the special tokens; `spoken` those of them that a model writes in its answers (thinking marks), which
    stay as they are there.
    """

    def __init__(self, tokenizer: Any, texts: Iterable[str], spoken: Iterable[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._texts = sorted(set(texts), key=len, reverse=True)  # the longest first: one may begin with another
        spoken = set(spoken)
        self._any = _one_of(self._texts)
        self._any_in_answers = _one_of([text for text in self._texts if text not in spoken])
        self._beginnings = tuple({text[:2] for text in self._texts})
        self._placeholders = {text: chr(PLACEHOLDERS + number) for number, text in enumerate(self._texts)}
        self._spelled = {placeholder: text for text, placeholder in self._placeholders.items()}

    def found_in(self, text: str) -> bool:
        """Whether a special token is spelled in a text."""
        # Most texts hold not even the beginning of one, which is quicker to see.
        return any(beginning in text for beginning in self._beginnings) and self._any.search(text) is not None

    def hide(self, text: str, answer: bool = False) -> str:
        """The text with a placeholder for each special token that is spelled in it.

        Raises DataError when the text holds characters that placeholders are made of.
        """
        if text and ord(max(text)) >= PLACEHOLDERS:
            raise DataError(
                f"special tokens are spelled next to private-use characters above U+{PLACEHOLDERS:X}, "
                "which lorafit needs to keep such spellings apart.\nTake these characters out of the row."
            )
        pattern = self._any_in_answers if answer else self._any
        return pattern.sub(lambda found: self._placeholders[found.group()], text)

    def hide_within(self, value: Any) -> Any:
        """The same for every text in a JSON value (tools, the arguments of a call)."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {self.hide_within(key): self.hide_within(item) for key, item in value.items()}
        return [self.hide_within(item) for item in value] if isinstance(value, list | tuple) else value

    def show(self, text: str) -> str:
        """The text with the spellings in place of their placeholders."""
        return text.translate({ord(placeholder): spelled for placeholder, spelled in self._spelled.items()})

    def encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Token ids [T] of a text with placeholders, and where each stands in it [T, 2]."""
        written, begins, ends, last = [], [], [], 0
        for found in self._either.finditer(text):
            start, end = found.span()
            new = self._written[found.group()]
            written += [text[last:start], new]
            begins += [*range(last, start), *[start] * len(new)]
            ends += [*range(last + 1, start + 1), *[end] * len(new)]
            last = end
        written.append(text[last:])
        begins += range(last, len(text) + 1)
        ends += range(last + 1, len(text) + 1)
        encoding = self._renamed.encode("".join(written), add_special_tokens=False)
        offsets = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        starts = np.asarray(begins)[offsets[:, 0]]
        stops = np.asarray(ends)[np.maximum(offsets[:, 1] - 1, 0)]
        # A token that stands for no character (a space that the tokenizer adds) stays so.
        stops = np.where(offsets[:, 0] == offsets[:, 1], starts, stops)
        return np.asarray(encoding.ids, dtype=np.int64), np.stack([starts, stops], axis=1)

    @functools.cached_property
    def _respelled(self) -> dict[str, str]:
        return {text: chr(SPELLINGS + number) for number, text in enumerate(self._texts)}

    @functools.cached_property
    def _written(self) -> dict[str, str]:
        return {**self._respelled, **self._spelled}

    @functools.cached_property
    def _either(self) -> re.Pattern[str]:
        return _one_of([*self._texts, *self._spelled])

    @functools.cached_property
    def _renamed(self) -> Any:
        """The copy of the tokenizer. Raises DataError when it does not have the same ids."""
        from tokenizers import Tokenizer

        new = self._respelled
        content = json.loads(self._tokenizer.backend_tokenizer.to_str())
        content["truncation"] = content["padding"] = None
        for token in content["added_tokens"]:
            token["content"] = new.get(token["content"], token["content"])
        model = content["model"]
        if isinstance(model["vocab"], dict):
            model["vocab"] = {new.get(piece, piece): number for piece, number in model["vocab"].items()}
        else:
            model["vocab"] = [[new.get(piece, piece), score] for piece, score in model["vocab"]]
        if model.get("unk_token") in new:
            model["unk_token"] = new[model["unk_token"]]
        if "merges" in model:
            pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
            model["merges"] = [pair for pair in pairs if "".join(pair) not in new]
        renamed = Tokenizer.from_str(json.dumps(content))
        same = self._tokenizer.backend_tokenizer
        if any(renamed.token_to_id(spelling) != same.token_to_id(text) for text, spelling in new.items()):
            raise DataError(
                f"{type(self._tokenizer).__name__} cannot tell special tokens that are spelled in the data from real "
                "ones.\nTake such spellings out of the data."
            )
        return renamed


def _one_of(texts: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, texts)) or "(?!)")


def texts_within(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts_within(key)
            yield from texts_within(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_within(item)
