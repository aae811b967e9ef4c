"""lorafit's preparation of a data file: read, clean, render, tokenise into the cache; then pack an epoch."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

job = json.loads(Path(sys.argv[1]).read_text())
os.environ["LORAFIT_CACHE"] = job["scratch"]

import transformers  # noqa: E402

from lorafit.data.batches import count_updates, epoch_order, iterate_batches  # noqa: E402
from lorafit.data.pack import pack  # noqa: E402
from lorafit.data.prepare import prepare  # noqa: E402
from lorafit.data.template import Renderer, choose_template  # noqa: E402


def main() -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["tokenizer"])
    seconds = {}
    for what in ("tokenise", "again"):
        began = time.perf_counter()
        renderer = Renderer(tokenizer, choose_template(tokenizer))
        # TRL cuts without asking: neither is to stop at rows that are cut.
        more = {"processes": job["processes"], "cut_answers": 1.0}
        prepared = prepare(renderer, job["file"], 0.0, job["max_length"], bad_rows="drop", **more)
        seconds[what] = time.perf_counter() - began
    samples = prepared.training.samples
    lengths, batch, budget = samples.lengths, job["batch"], 4 * job["max_length"]
    began = time.perf_counter()
    order = epoch_order(len(samples), 0, 0)
    rows = sum(len(pack(lengths[order[i : i + batch]].tolist(), budget)) for i in range(0, len(order), batch))
    seconds["pack"] = time.perf_counter() - began
    # A run makes its rows while it trains, as TRL's collator does its batches: some of them stand for all.
    updates = min(count_updates(len(samples), batch, 1), job["updates"])
    began = time.perf_counter()
    for _ in iterate_batches(samples, batch, updates, 0, budget):
        pass
    seconds["rows"] = (time.perf_counter() - began) * len(samples) / (updates * batch)
    tokens = int(samples.lengths.sum())
    report = {"samples": len(samples), "tokens": tokens, "supervised": int(samples.supervised.sum())}
    Path(job["report"]).write_text(json.dumps({**report, "rows": rows, "seconds": seconds}))


if __name__ == "__main__":
    main()
