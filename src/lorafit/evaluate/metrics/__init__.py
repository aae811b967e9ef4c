"""Scores of generated text: one table of metrics, intervals, and a test whether a difference is real.

texts = Texts(answers, references)
measured = measure(["bleu", "rouge_l"], texts)
interval(measured["bleu"])                             # score, low, high
sentence(compare(base["bleu"], tuned["bleu"]), METRICS["bleu"])
"""

from lorafit.evaluate.metrics.measured import Measured, mean_of, ratio_of
from lorafit.evaluate.metrics.sentence import sentence
from lorafit.evaluate.metrics.significance import Difference, Estimate, compare, interval
from lorafit.evaluate.metrics.table import E2E, METRICS, Metric, checked, measure, named
from lorafit.evaluate.metrics.texts import Texts

__all__ = [
    "E2E",
    "METRICS",
    "Difference",
    "Estimate",
    "Measured",
    "Metric",
    "Texts",
    "checked",
    "compare",
    "interval",
    "mean_of",
    "measure",
    "named",
    "ratio_of",
    "sentence",
]
