"""NIST by hand and against a slow reference that works on the whole set at once."""

from __future__ import annotations

import math

import pytest

from lorafit.evaluate.metrics import Texts, measure

ANSWERS = ["the cat cat sat on a mat", "a dog barks", ""]
REFERENCES = [["the cat sat on the mat", "a cat sat"], ["the dog barks at a cat"], ["a dog"]]


def slow_nist(padded: bool) -> float:
    references = [[text.split() for text in texts] for texts in REFERENCES]
    everything = [words for texts in references for words in texts]

    def occurrences(ngram: list[str]) -> int:
        if not ngram:
            return sum(map(len, everything))
        size = len(ngram)
        return sum(words[i : i + size] == ngram for words in everything for i in range(len(words) - size + 1))

    total = 0.0
    for order in range(1, 6):
        information, count = 0.0, 0
        for answer, texts in zip(ANSWERS, references, strict=True):
            words, used = answer.split(), []
            for start in range(len(words) - order + 1):
                ngram = words[start : start + order]
                count += 1
                used.append(ngram)
                most = max(sum(t[i : i + order] == ngram for i in range(len(t))) for t in texts)
                if used.count(ngram) <= most:
                    information += math.log2(occurrences(ngram[:-1]) / occurrences(ngram))
        total += information / count if count else 0
    wanted = sum(sum(map(len, texts)) / (2 if padded else len(texts)) for texts in references)
    ratio = min(1.0, sum(len(answer.split()) for answer in ANSWERS) / wanted)
    return total * math.exp(-math.log(2) * (math.log(ratio) / math.log(1.5)) ** 2)


def test_both_variants_equal_the_slow_reference() -> None:
    measured = measure(["nist", "nist_pymteval"], Texts(ANSWERS, REFERENCES))
    assert measured["nist"].score == pytest.approx(slow_nist(padded=True))
    assert measured["nist_pymteval"].score == pytest.approx(slow_nist(padded=False))
    assert measured["nist"].score > measured["nist_pymteval"].score  # 8.5 words wanted against 12.5; 10 were said


def test_one_word_by_hand() -> None:
    # Of 4 words in the references "fox" is one: log2(4) bits over 1 word; two thirds of 1.5 words wanted halve it.
    measured = measure(["nist"], Texts(["Fox", "red"], [["a fox"], ["big dog"]]))
    assert measured["nist"].samples[0] == pytest.approx(2 * math.exp(-math.log(2) * (math.log(2) / math.log(1.5)) ** 2))


def test_nothing_said() -> None:
    assert measure(["nist"], Texts([""], [["a fox"]]))["nist"].score == 0
