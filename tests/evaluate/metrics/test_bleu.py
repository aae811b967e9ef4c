"""BLEU and chrF, from sums, equal sacrebleu's own scores of the whole set."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu

from lorafit.evaluate.metrics import Texts, measure
from lorafit.evaluate.metrics.bleu import bleu_of

ANSWERS = ["The cat sat on the mat.", "Dogs, and only dogs, bark at 1,000 cars", "", "Yes"]
REFERENCES = [
    ["A cat sat on the mat.", "The cat was on the mat."],
    ["Dogs and dogs only bark at 1,000 cars!"],
    ["Nothing to see here"],
    ["Yes", "No", "yes indeed, it is so"],
]
CHINESE = ["我爱北京天安门，真的。", "今天天气很好"]
CHINESE_REFERENCES = [["我爱北京的天安门。"], ["今天的天气很好 OK"]]


def streams(references: list[list[str]]) -> list[list[str | None]]:
    most = max(map(len, references))
    return [[each[place] if place < len(each) else None for each in references] for place in range(most)]


@pytest.mark.parametrize("rows", [slice(0, 4), slice(0, 1), slice(1, 2)])
def test_equal_to_sacrebleu(rows: slice) -> None:
    answers, references = ANSWERS[rows], REFERENCES[rows]
    measured = measure(["bleu", "bleu_e2e", "chrf"], Texts(answers, references))
    cased = sacrebleu.corpus_bleu(answers, streams(references)).score
    lower = sacrebleu.corpus_bleu(answers, streams(references), lowercase=True).score
    assert measured["bleu"].score == pytest.approx(cased / 100, abs=1e-12)
    assert measured["bleu_e2e"].score == pytest.approx(lower / 100, abs=1e-12)
    assert measured["chrf"].score == pytest.approx(sacrebleu.corpus_chrf(answers, streams(references)).score / 100)


def test_chinese_as_sacrebleu_cuts_it() -> None:
    measured = measure(["bleu"], Texts(CHINESE, CHINESE_REFERENCES))
    expected = sacrebleu.corpus_bleu(CHINESE, streams(CHINESE_REFERENCES), tokenize="zh").score
    assert expected > 10
    assert measured["bleu"].score == pytest.approx(expected / 100)
    assert measured["bleu"].note == ""


def test_japanese_is_cut_into_characters_and_this_is_said() -> None:
    measured = measure(["bleu"], Texts(["東京に住む"], [["東京で住む"]]))["bleu"]
    # 4 of 5 characters and 2 of 4 pairs; of threes and fours none, which count a half of 3 and a quarter of 2.
    assert measured.score == pytest.approx((4 / 5 * 2 / 4 * 0.5 / 3 * 0.25 / 2) ** 0.25)
    assert "characters" in measured.note


def test_each_sample_is_scored_as_a_sentence() -> None:
    measured = measure(["bleu", "chrf"], Texts(ANSWERS, REFERENCES))
    for row, (answer, references) in enumerate(zip(ANSWERS, REFERENCES, strict=True)):
        sentence = sacrebleu.sentence_bleu(answer, references).score
        assert measured["bleu"].samples[row] == pytest.approx(sentence / 100)
        assert measured["chrf"].samples[row] == pytest.approx(sacrebleu.sentence_chrf(answer, references).score / 100)
    assert measured["bleu"].samples[3] == pytest.approx(1)


def test_without_a_match_smoothing_does_not_help() -> None:
    # Length, reference length, matches and n-grams of orders 1 to 4.
    assert bleu_of(np.array([5.0, 5, 0, 0, 0, 0, 5, 4, 3, 2])) == 0
    # One match of each order but the last, which counts a half: brevity exp(1 - 6/5).
    expected = np.exp(1 - 6 / 5) * (1 / 5 * 1 / 4 * 1 / 3 * 0.5 / 2) ** 0.25
    assert bleu_of(np.array([5.0, 6, 1, 1, 1, 0, 5, 4, 3, 2])) == pytest.approx(expected)
