"""Classification by generation: the answer is a label. The labels are those of the references."""

from __future__ import annotations

import numpy as np

from lorafit.errors import DataError
from lorafit.evaluate.metrics.measured import Array, Measured, divided, mean_of
from lorafit.evaluate.metrics.texts import Texts
from lorafit.evaluate.metrics.tokens import normalise

MOST_LABELS = 1000


def measure_accuracy(texts: Texts) -> Measured:
    """Share of answers that are the wanted label; case, width and spaces evened out."""
    answers, wanted = _labels(texts, "accuracy")
    return mean_of([float(answer == label) for answer, label in zip(answers, wanted, strict=True)], _one_class(wanted))


def measure_macro_f1(texts: Texts) -> Measured:
    """Mean over labels of the F1 of each. An answer that is no label is wrong for the label that was wanted."""
    answers, wanted = _labels(texts, "macro_f1")
    labels = {label: number for number, label in enumerate(dict.fromkeys(wanted))}
    if len(labels) > MOST_LABELS:
        raise DataError(f"macro_f1: the references have {len(labels):,} different labels; these are texts, not labels.")
    sums = np.zeros((len(answers), 3, len(labels)))  # right, said, wanted
    for row, (answer, label) in enumerate(zip(answers, wanted, strict=True)):
        sums[row, 2, labels[label]] = 1
        if answer in labels:
            sums[row, 1, labels[answer]] = 1
            sums[row, 0, labels[answer]] = answer == label
    flat = sums.reshape(len(answers), -1)
    return Measured(flat, macro_f1_of, sums[:, 0].sum(axis=1), note=_one_class(wanted))


def macro_f1_of(sums: Array) -> Array:
    """Macro-F1 of sums [..., 3 * labels]: right, said and wanted of each label; labels that nobody wanted left out."""
    right, said, wanted = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    each = divided(2 * right, said + wanted)
    return divided(each.sum(axis=-1), (wanted > 0).sum(axis=-1).astype(np.float64))


def _labels(texts: Texts, metric: str) -> tuple[list[str], list[str]]:
    texts.check_references(metric, most=1)
    return [normalise(answer) for answer in texts.answers], [normalise(wanted[0]) for wanted in texts.references]


def _one_class(wanted: list[str]) -> str:
    return "All references are one class: this score cannot tell a good answer from a constant one." * (
        len(set(wanted)) == 1
    )
