"""Accuracy and macro-F1 by hand."""

from __future__ import annotations

import pytest

from lorafit.errors import DataError
from lorafit.evaluate.metrics import Texts, interval, measure


def test_by_hand() -> None:
    answers = ["Positive", " positive", "negative", "I do not know", "中性"]
    wanted = [["positive"], ["negative"], ["negative"], ["positive"], ["中性"]]
    measured = measure(["accuracy", "macro_f1"], Texts(answers, wanted))
    assert measured["accuracy"].score == pytest.approx(3 / 5)
    # positive: 1 right, 2 said, 2 wanted; negative: 1 right, 1 said, 2 wanted; 中性: all right.
    assert measured["macro_f1"].score == pytest.approx((2 / 4 + 2 / 3 + 1) / 3)
    assert measured["macro_f1"].samples.tolist() == [1, 0, 1, 0, 1]
    assert measured["macro_f1"].note == ""


def test_one_class_only_is_said() -> None:
    measured = measure(["accuracy", "macro_f1"], Texts(["yes", "no"], [["yes"], ["yes"]]))
    assert measured["macro_f1"].score == pytest.approx(2 / 3)
    assert all("one class" in each.note for each in measured.values())


def test_a_label_that_is_not_drawn_does_not_count_against_it() -> None:
    # All right: every draw is 1, also one without the rare label.
    labels = ["a"] * 20 + ["b"]
    estimate = interval(measure(["macro_f1"], Texts(labels, [[label] for label in labels]))["macro_f1"])
    assert (estimate.low, estimate.high) == (1, 1)


def test_two_labels_for_one_answer_are_refused() -> None:
    with pytest.raises(DataError, match="macro_f1 takes 1 reference for each answer: answer 2 has more"):
        measure(["macro_f1"], Texts(["a", "b"], [["a"], ["a", "b"]]))


def test_texts_are_not_labels() -> None:
    texts = [f"a text of its own, number {number}" for number in range(1001)]
    with pytest.raises(DataError, match="1,001 different labels"):
        measure(["macro_f1"], Texts(texts, [[text] for text in texts]))
