"""Every metric in one table."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lorafit.errors import DataError, RecipeError
from lorafit.evaluate.metrics import bleu, cider, classes, meteor, nist, overlap, shape, structure
from lorafit.evaluate.metrics.measured import Measured
from lorafit.evaluate.metrics.texts import Texts


@dataclass(frozen=True, slots=True)
class Metric:
    """takes: what it needs beside the answers. better: which way is good, "" for neither. high: the most it can be,
    inf for no bound; the least is 0. package: what must be installed for it.
    """

    name: str
    measure: Callable[[Texts], Measured]
    takes: Literal["references", "labels", "ended", "schema", ""]
    better: Literal["higher", "lower", ""]
    high: float
    package: str = ""

    @property
    def is_share(self) -> bool:
        """Between 0 and 1, and so shown in per cent and its differences in points."""
        return self.high == 1


_INF = math.inf
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("exact_match", overlap.measure_exact_match, "references", "higher", 1),
        Metric("token_f1", overlap.measure_token_f1, "references", "higher", 1),
        Metric("bleu", bleu.measure_bleu, "references", "higher", 1, "sacrebleu"),
        Metric("chrf", bleu.measure_chrf, "references", "higher", 1, "sacrebleu"),
        Metric("rouge_1", overlap.measure_rouge_1, "references", "higher", 1),
        Metric("rouge_2", overlap.measure_rouge_2, "references", "higher", 1),
        Metric("rouge_l", overlap.measure_rouge_l, "references", "higher", 1),
        Metric("nist", nist.measure_nist, "references", "higher", _INF, "sacrebleu"),
        Metric("nist_pymteval", nist.measure_nist_pymteval, "references", "higher", _INF, "sacrebleu"),
        Metric("meteor", meteor.measure_meteor, "references", "higher", 1, "snowballstemmer"),
        Metric("cider", cider.measure_cider, "references", "higher", 10),
        Metric("bleu_e2e", bleu.measure_bleu_e2e, "references", "higher", 1, "sacrebleu"),
        Metric("rouge_l_e2e", overlap.measure_rouge_l_e2e, "references", "higher", 1),
        Metric("distinct_1", shape.measure_distinct_1, "", "higher", 1),
        Metric("distinct_2", shape.measure_distinct_2, "", "higher", 1),
        Metric("length", shape.measure_length, "", "", _INF),
        Metric("length_ratio", shape.measure_length_ratio, "references", "", _INF),
        Metric("stop_rate", shape.measure_stop_rate, "ended", "higher", 1),
        Metric("accuracy", classes.measure_accuracy, "labels", "higher", 1),
        Metric("macro_f1", classes.measure_macro_f1, "labels", "higher", 1),
        Metric("json_valid", structure.measure_json_valid, "", "higher", 1),
        Metric("json_schema", structure.measure_json_schema, "schema", "higher", 1, "jsonschema"),
    )
}
E2E = ("bleu_e2e", "nist", "meteor", "rouge_l_e2e", "cider")  # what the E2E scorer prints, in its order


def measure(names: Sequence[str], texts: Texts) -> dict[str, Measured]:
    """The metrics of these names on the texts, in the order asked.

    Raises RecipeError for a name that there is not, DataError where the texts lack what a metric takes or where its
    package is not installed.
    """
    measured = {}
    for metric in [named(name) for name in names]:
        if metric.takes in ("references", "labels"):
            texts.check_references(metric.name, most=1 if metric.takes == "labels" else None)
        if metric.takes == "ended" and texts.ended is None:
            raise DataError(f"{metric.name} needs to know which answers ended by themselves.")
        measured[metric.name] = metric.measure(texts)
    return measured


def named(name: str) -> Metric:
    """The metric of this name. Raises RecipeError with the nearest names."""
    if name in METRICS:
        return METRICS[name]
    near = difflib.get_close_matches(name.lower().replace("-", "_"), METRICS, n=3, cutoff=0.5)
    meant = f"; did you mean {' or '.join(near)}?" if near else "."
    raise RecipeError(f"There is no metric {name!r}{meant}\nThe metrics are {', '.join(METRICS)}.")
