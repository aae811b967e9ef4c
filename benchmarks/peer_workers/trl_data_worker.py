"""TRL's preparation of a data file, inside SFTTrainer: template, tokens, mask of the completion, packing."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

job = json.loads(Path(sys.argv[1]).read_text())
os.environ["HF_HOME"] = os.environ["HF_DATASETS_CACHE"] = job["scratch"]

import transformers  # noqa: E402
from datasets import load_dataset  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402

seconds: dict[str, float] = {}


class Timed(SFTTrainer):
    def _prepare_dataset(self, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        prepared = super()._prepare_dataset(*args, **kwargs)
        seconds["tokenise"] = time.perf_counter() - began + reading
        lengths = [
            sum(map(len, row)) if row and isinstance(row[0], list) else len(row) for row in prepared["input_ids"]
        ]
        report = {"samples": len(dataset), "tokens": sum(lengths), "rows": len(prepared), "seconds": seconds}
        Path(job["report"]).write_text(json.dumps(report))
        return prepared


tokenizer = transformers.AutoTokenizer.from_pretrained(job["tokenizer"])
# A model as small as can be: only the data is prepared here.
config = transformers.LlamaConfig(
    vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
)
model = transformers.AutoModelForCausalLM.from_config(config)
arguments = SFTConfig(
    output_dir=job["scratch"],
    max_length=job["max_length"],
    packing=True,
    dataset_num_proc=job["processes"],
    report_to="none",
    use_cpu=True,
    bf16=False,
    disable_tqdm=True,
)
started = time.perf_counter()
dataset = load_dataset("json", data_files=job["file"], split="train")
reading = time.perf_counter() - started
Timed(model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer)
