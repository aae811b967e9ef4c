"""CIDEr against vectors that are written out in full."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lorafit.evaluate.metrics import Texts, measure

ANSWERS = ["a cat sat on the mat", "the dog barks", "", "fox"]
REFERENCES = [
    ["a cat sat on a mat", "the cat sat"],
    ["the dog barks at the cat"],
    ["no answer was given here"],
    ["a fox", "the red fox runs away from the dog"],
]


def slow_cider(answer: str, wanted: list[str]) -> float:
    vocabulary = sorted({word for text in itertools.chain(ANSWERS, *REFERENCES) for word in text.split()})
    total = 0.0
    for order in range(1, 5):
        space = list(itertools.product(vocabulary, repeat=order)) if order < 3 else grams_seen(order)

        def counts(text: str, space: list[tuple[str, ...]] = space, order: int = order) -> np.ndarray:
            found = [tuple(text.split()[i : i + order]) for i in range(len(text.split()) - order + 1)]
            return np.array([found.count(ngram) for ngram in space], dtype=float)

        prompts = np.sum([np.max([counts(text) for text in texts], axis=0) > 0 for texts in REFERENCES], axis=0)
        weights = np.log(len(REFERENCES) / np.maximum(prompts, 1))
        said = counts(answer) * weights
        for text in wanted:
            vector = counts(text) * weights
            norms = np.linalg.norm(said) * np.linalg.norm(vector)
            shorter = max(0, len(answer.split()) - 1) - max(0, len(text.split()) - 1)
            if norms:
                total += np.minimum(said, vector) @ vector / norms * np.exp(-(shorter**2) / 72)
    return float(10 * total / 4 / len(wanted))


def grams_seen(order: int) -> list[tuple[str, ...]]:
    texts = [text.split() for text in itertools.chain(ANSWERS, *REFERENCES)]
    return sorted({tuple(words[i : i + order]) for words in texts for i in range(len(words) - order + 1)})


def test_equal_to_the_vectors() -> None:
    measured = measure(["cider"], Texts(ANSWERS, REFERENCES))["cider"]
    expected = [slow_cider(answer, wanted) for answer, wanted in zip(ANSWERS, REFERENCES, strict=True)]
    assert measured.samples.tolist() == pytest.approx(expected)
    assert measured.score == pytest.approx(sum(expected) / 4)
    assert expected[0] > 1 and expected[2] == 0


def test_the_same_text_is_ten() -> None:
    texts = ["one red fox runs fast", "two blue dogs sleep now"]
    assert measure(["cider"], Texts(texts, [[text] for text in texts]))["cider"].score == pytest.approx(10)


def test_one_prompt_cannot_be_scored_and_this_is_said() -> None:
    measured = measure(["cider"], Texts(["a b"], [["a b"]]))["cider"]
    assert measured.score == 0
    assert "single prompt" in measured.note
