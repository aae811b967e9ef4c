"""Repairs of extracted text: words cut at line ends, glyphs that stand twice, white space."""

from __future__ import annotations

import re
from collections import Counter

# U+00AD is the soft hyphen; U+FFFE is how PDFium marks a hyphen at a line end.
HYPHENS = "-‐\u00ad\ufffe"
_CUT_WORD = re.compile(rf"([^\W\d_]+)[{HYPHENS}]$")
_WORD = re.compile(r"\w+(?:-\w+)*")
# Scripts written without spaces: kana, hanzi, their punctuation, full-width forms.
_UNSPACED = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
_LEAST_PART = 4  # letters: the parts of "with-out" and "in-formation" are words, too
_LEAST_DOUBLED = 4  # characters: a Chinese word may be AABB, and so may a rhyme scheme


def words_of(text: str) -> Counter[str]:
    """How often each word occurs, in small letters; hyphenated words whole, the parts of words cut at line ends not."""
    return Counter(_WORD.findall(re.sub(rf"\w+[{HYPHENS}]\s*\n\s*\w+", " ", text.lower())))


def join_lines(first: str, second: str, words: Counter[str]) -> str:
    """Two lines of one paragraph as one; a word cut at the line end is whole again.

    A hyphen goes where a small letter follows, unless `words` (of the document) has the hyphenated word more often, or
    has both parts as words and never the whole.
    """
    cut, rest = _CUT_WORD.search(first), re.match(r"[^\W_]+", second)
    if cut and rest:
        hyphenated, whole = f"{cut[1]}-{rest[0]}".lower(), f"{cut[1]}{rest[0]}".lower()
        parts = min(words[cut[1].lower()], words[rest[0].lower()]) and min(len(cut[1]), len(rest[0])) >= _LEAST_PART
        stays = not rest[0][0].islower() or words[hyphenated] > words[whole] or (parts and not words[whole])
        return f"{first[:-1]}{'-' if stays else ''}{second}"
    if first and second and is_unspaced(first[-1]) and is_unspaced(second[0]):
        return first + second
    return f"{first} {second}".strip()


def is_unspaced(character: str) -> bool:
    """Whether a character is of a script that puts no spaces between words, and so none at line ends."""
    return _UNSPACED.match(character) is not None


def join_hyphenated(text: str) -> str:
    """Plain text in which words cut at line ends are whole, on the line they begin in; lines stay lines otherwise."""
    words, lines = words_of(text), text.split("\n")
    for number, line in enumerate(lines[:-1]):
        line = lines[number].rstrip()
        following = lines[number + 1].split(maxsplit=1)
        if following and _CUT_WORD.search(line) and following[0][0].isalnum():
            lines[number] = join_lines(line, following[0], words)
            lines[number + 1] = following[1] if len(following) > 1 else ""
    return "\n".join(lines)


def halve_doubled(text: str) -> str:
    """Lines and words in which every character stands twice to four times ("HHeelllloo") with each character once."""
    return "\n".join(_halved_line(line) for line in text.split("\n"))


def _halved_line(line: str) -> str:
    whole = _once(line.strip())
    if whole is not None:
        return whole
    # A bold beginning of a line: only letters, since a number may well be 11223344.
    return re.sub(r"[^\W\d_]{8,}", lambda word: _once(word[0]) or word[0], line)


def _once(text: str) -> str | None:
    """The text with each character once, None where it is not repeated throughout."""
    if text[:1] != text[1:2]:  # true of nearly every line
        return None
    words = text.split()
    for times in (4, 3, 2):
        once = [word[::times] for word in words]
        letters = [character for word in once for character in word if character.isalpha()]
        # Three different letters: "hahaha" written twice is what it is.
        if len(letters) < _LEAST_DOUBLED or len(set(letters)) < 3:
            continue
        if all(word == "".join(c * times for c in single) for word, single in zip(words, once, strict=True)):
            return " ".join(once)
    return None


def tidy(text: str) -> str:
    """Line ends as one newline, no white space at line ends, no more than one empty line, no control characters."""
    text = re.sub(r"\r\n?|\x0b|\x0c|\u2028|\u2029", "\n", text)
    text = re.sub(r"[\x00-\x08\x0e-\x1f\x7f\ufffe\ufeff]", "", text)
    text = re.sub(r"[ \t\u00a0\u3000]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n").rstrip()
