"""lm-evaluation-harness' HFLM, loaded once: answers a line of JSON on its input with one on its output.

Arguments: model folder, batch size ("auto" for its own choice), threads. A line asks for answers ({texts, new, stop})
or for log-likelihoods ({pairs}); the reply has `found` and `seconds`, which are those of HFLM alone.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

folder, batch, threads = sys.argv[1:]
torch.set_num_threads(int(threads))


def instances(job: dict[str, Any]) -> list[Instance]:
    if "pairs" in job:
        return [Instance("loglikelihood", {}, tuple(pair), i) for i, pair in enumerate(job["pairs"])]
    settings = {"until": job["stop"], "max_gen_toks": job["new"], "do_sample": False}
    return [Instance("generate_until", {}, (text, settings), i) for i, text in enumerate(job["texts"])]


def done(model: HFLM, job: dict[str, Any]) -> dict[str, Any]:
    asked = instances(job)
    began = time.perf_counter()
    if "pairs" in job:
        found: list[Any] = [logprob for logprob, _ in model.loglikelihood(asked, disable_tqdm=True)]
    else:
        found = model.generate_until(asked, disable_tqdm=True)
    return {"seconds": time.perf_counter() - began, "found": found}


def main() -> None:
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # the harness says this and that
        size = batch if batch == "auto" else int(batch)
        model = HFLM(pretrained=folder, dtype="float32", device="cpu", batch_size=size)
        for line in sys.stdin:
            print(json.dumps(done(model, json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
