"""Texts to tokens, for languages with and without spaces between words.

Han, kana and Hangul are cut at every character unless words are asked for: there are no spaces to cut at, and what a
character is does not depend on a dictionary and its version.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from lorafit.errors import RecipeError
from lorafit.evaluate.metrics.packages import needed

Segment = Callable[[str], list[str]]  # a run of CJK characters to the words in it

_CJK_RUN = re.compile(
    r"[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff]+"
)
# What the COCO caption scorer drops after cutting; the brackets are missing there too, because it lower-cases first.
_CAPTION_DROPPED = frozenset(["''", "'", "`", "``", ".", "?", "!", ",", ":", "-", "--", "...", ";", '"'])
_CAPTION_TOKEN = re.compile(
    r"""
      (?:mr|mrs|ms|dr|st|no|vs|etc)\.(?=\s|$)            # an abbreviation keeps its dot
    | [^\W\d_]+(?=n['’]t\b) | n['’]t\b                   # do n't
    | ['’](?:s|re|ve|ll|d|m)\b                           # it 's
    | (?<!\w)-\w+(?:-\w+)* | -[$£€]\d+(?:[.,]\d+)*       # -25, -£25
    | \d+(?:[.,:/]\d+)*(?:-?\w+)*                        # 30.99, 20-25, 5of5
    | \w+(?:-\w+)*                                       # family-friendly
    | \.\.\. | -- | [^\w\s]
    """,
    re.VERBOSE | re.IGNORECASE,
)


def normalise(text: str) -> str:
    """Width, case and spaces evened out; punctuation stays."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def spaced(text: str, segment: Segment = list) -> str:
    """Spaces around every CJK character, or around every word that `segment` finds in a run of them."""
    return _CJK_RUN.sub(lambda run: f" {' '.join(segment(run[0]))} ", text)


def has_kana_or_hangul(text: str) -> bool:
    return re.search(r"[\u3040-\u30ff\uac00-\ud7af]", text) is not None


def words(text: str, segment: Segment = list) -> list[str]:
    """Words of the normalised text in order, each CJK character one word; punctuation dropped."""
    return spaced("".join(map(_lettered, normalise(text))), segment).split()


def _lettered(character: str) -> str:
    # Letters, marks and numbers make words. The marks are the vowels of Hindi or Thai, which `\w` would cut at.
    return character if unicodedata.category(character)[0] in "LMN" else " "


def caption_tokens(text: str, segment: Segment = list) -> list[str]:
    """Lower-cased tokens without punctuation, as the E2E scorer's ROUGE-L, CIDEr and METEOR see them.

    The scorer runs the Penn Treebank tokenizer of CoreNLP, in Java. This follows it where English text of the E2E kind
    needs it. The rare cases (-£25, 5of5, "no.") were chosen by the E2E scorer's CIDEr, not read from that tokenizer;
    `benchmarks/metrics.py` measures the difference.
    """
    tokens = _CAPTION_TOKEN.findall(spaced(unicodedata.normalize("NFC", text).lower(), segment))
    return [token for token in tokens if token not in _CAPTION_DROPPED and not _cjk_punctuation(token)]


def _cjk_punctuation(token: str) -> bool:
    return token >= "\u3000" and len(token) == 1 and unicodedata.category(token)[0] == "P"


def mteval_tokens(text: str, segment: Segment = list, cased: bool = True) -> list[str]:
    """Tokens as mteval-v13a cuts them (sacrebleu's `13a`); a text with CJK characters by sacrebleu's `zh` rules."""
    thirteen, chinese = _sacrebleu_tokenizers()
    cut = chinese if any(character >= "\u2e80" for character in text) else thirteen
    tokens: list[str] = cut(spaced(text, segment)).split()
    return tokens if cased else [token.lower() for token in tokens]


@lru_cache(maxsize=1)
def _sacrebleu_tokenizers() -> tuple[Any, Any]:
    thirteen = needed("sacrebleu.tokenizers.tokenizer_13a", "BLEU or NIST")
    chinese = needed("sacrebleu.tokenizers.tokenizer_zh", "BLEU or NIST")
    return thirteen.Tokenizer13a(), chinese.TokenizerZh()


def segmenter(language: str) -> Segment:
    """What cuts a run of CJK characters: "" into characters, "zh" by jieba, "ja" by Janome, "ko" at its spaces.

    Raises RecipeError for another language, DataError where the package is not installed.
    """
    if language == "":
        return list
    if language == "ko":
        return lambda run: [run]
    if language == "zh":
        jieba: Any = needed("jieba", "cutting Chinese into words", "words")
        jieba.setLogLevel("WARNING")
        return lambda run: list(jieba.cut(run))
    if language == "ja":
        janome: Any = needed("janome.tokenizer", "cutting Japanese into words", "words").Tokenizer()
        return lambda run: list(janome.tokenize(run, wakati=True))
    raise RecipeError(f"word_language is {language!r}; it may be zh, ja, ko or empty (characters).")
