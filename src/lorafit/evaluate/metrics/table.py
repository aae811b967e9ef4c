"""Every metric in one table."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lorafit.errors import DataError, RecipeError
from lorafit.evaluate.metrics import bleu, cider, classes, meteor, nist, overlap, own, shape, structure
from lorafit.evaluate.metrics.measured import Measured, Scale
from lorafit.evaluate.metrics.texts import Texts


@dataclass(frozen=True, slots=True)
class Metric(Scale):
    """takes: what it needs beside the answers. package: what must be installed for it. whole: its score can be had only
    of all answers at once, and not from the sums over parts of them.
    """

    measure: Callable[[Texts], Measured]
    takes: Literal["references", "labels", "ended", "schema", ""]
    package: str = ""
    whole: bool = False


_INF = math.inf
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("exact_match", "higher", 1, overlap.measure_exact_match, "references"),
        Metric("token_f1", "higher", 1, overlap.measure_token_f1, "references"),
        Metric("bleu", "higher", 1, bleu.measure_bleu, "references", "sacrebleu"),
        Metric("chrf", "higher", 1, bleu.measure_chrf, "references", "sacrebleu"),
        Metric("rouge_1", "higher", 1, overlap.measure_rouge_1, "references"),
        Metric("rouge_2", "higher", 1, overlap.measure_rouge_2, "references"),
        Metric("rouge_l", "higher", 1, overlap.measure_rouge_l, "references"),
        Metric("nist", "higher", _INF, nist.measure_nist, "references", "sacrebleu", whole=True),
        Metric("nist_pymteval", "higher", _INF, nist.measure_nist_pymteval, "references", "sacrebleu", whole=True),
        Metric("meteor", "higher", 1, meteor.measure_meteor, "references", "snowballstemmer"),
        Metric("cider", "higher", 10, cider.measure_cider, "references", whole=True),
        Metric("bleu_e2e", "higher", 1, bleu.measure_bleu_e2e, "references", "sacrebleu"),
        Metric("rouge_l_e2e", "higher", 1, overlap.measure_rouge_l_e2e, "references"),
        Metric("distinct_1", "higher", 1, shape.measure_distinct_1, "", whole=True),
        Metric("distinct_2", "higher", 1, shape.measure_distinct_2, "", whole=True),
        Metric("length", "", _INF, shape.measure_length, ""),
        Metric("length_ratio", "", _INF, shape.measure_length_ratio, "references"),
        Metric("stop_rate", "higher", 1, shape.measure_stop_rate, "ended"),
        Metric("accuracy", "higher", 1, classes.measure_accuracy, "labels"),
        Metric("macro_f1", "higher", 1, classes.measure_macro_f1, "labels", whole=True),
        Metric("json_valid", "higher", 1, structure.measure_json_valid, ""),
        Metric("json_schema", "higher", 1, structure.measure_json_schema, "schema", "jsonschema"),
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


def checked(names: Sequence[str], schema: bool = False) -> list[Metric]:
    """The metrics of these names, tried on one answer: so that nothing is missing when a million are there.

    schema: whether there is a JSON Schema. Raises as `measure` does.
    """
    metrics = [named(name) for name in names]
    texts = Texts(["a"], [["a"]], [True], {} if schema else None)
    for metric in metrics:
        if metric.takes == "schema" and not schema:
            raise DataError(f"{metric.name} needs a JSON Schema (--schema FILE).")
        if metric.package:
            metric.measure(texts)
    return metrics


def named(name: str) -> Metric:
    """The metric of this name; FILE.py:FUNCTION or MODULE:FUNCTION is the user's own (own.py).

    Raises RecipeError with the nearest names, DataError for a function that is not there.
    """
    if name in METRICS:
        return METRICS[name]
    if ":" in name:
        mine = own.load(name)
        return Metric(name, mine.scale.better, mine.scale.high, mine.measure, "")
    near = difflib.get_close_matches(name.lower().replace("-", "_"), METRICS, n=3, cutoff=0.5)
    meant = f"; did you mean {' or '.join(near)}?" if near else "."
    raise RecipeError(f"There is no metric {name!r}{meant}\nThe metrics are {', '.join(METRICS)}.")
