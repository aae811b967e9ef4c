"""Our metrics against the official E2E scorer's numbers, on its own example and on two outputs for the E2E dev set.

    python benchmarks/metrics.py [--shared ../shared]

The official numbers were made with tuetschek/e2e-metrics at 1b9c4d87 (mteval-v13a in Perl for BLEU and NIST; METEOR
1.5, ROUGE-L and CIDEr of the COCO caption scorer); they have four digits. Also times the metrics and their intervals.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from lorafit.evaluate.metrics import METRICS, Measured, Texts, compare, interval, measure, sentence

OURS = {
    "BLEU": "bleu_e2e", "NIST": "nist", "NIST_pymteval": "nist_pymteval", "METEOR": "meteor", "ROUGE_L": "rouge_l_e2e",
    "CIDEr": "cider",
}  # fmt: skip


def references(file: Path) -> list[list[str]]:
    """A reference a line, the references of one instance together, instances parted by empty lines."""
    groups = file.read_text(encoding="utf-8").split("\n\n")
    return [group.strip().splitlines() for group in groups if group.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared")
    folder = parser.parse_args().shared / "data/e2e/metric_fixture"
    if not folder.is_dir():
        print(f"{folder} is not there: the official numbers cannot be compared with.")
        return
    official = json.loads((folder / "official_scores.json").read_text(encoding="utf-8"))
    systems: list[dict[str, Measured]] = []
    print(f"{'':34}{'metric':16}{'official':>10}{'ours':>10}{'difference':>12}")
    for pair, scores in official.items():
        if pair == "note":
            continue
        said, wanted = (folder / f"{name}.txt" for name in pair.split(" vs "))
        texts = Texts(said.read_text(encoding="utf-8").splitlines(), references(wanted))
        start = time.perf_counter()
        systems.append(measure(list(OURS.values()), texts))
        seconds = time.perf_counter() - start
        for official_name, name in OURS.items():
            score = systems[-1][name].score
            figures = f"{scores[official_name]:10.4f}{score:10.4f}{score - scores[official_name]:+12.5f}"
            print(f"{pair:34}{official_name:16}{figures}")
        print(f"{'':34}{len(texts.answers)} answers, {seconds:.1f} s")
    print("\ndegraded output against the other, same prompts:")
    for name in OURS.values():
        base, other = systems[1][name], systems[2][name]
        start = time.perf_counter()
        estimate, difference = interval(base), compare(base, other)
        told = sentence(difference, METRICS[name])
        seconds = time.perf_counter() - start
        print(f"{name:16}{estimate.score:8.4f} ({estimate.low:.4f} to {estimate.high:.4f})  {told}  [{seconds:.1f} s]")


if __name__ == "__main__":
    main()
