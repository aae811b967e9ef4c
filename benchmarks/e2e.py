"""lorafit beside plain transformers + PEFT on real input: the same rows, rendering, order, start and schedule.

    python benchmarks/e2e.py [--shared ../shared] [--output FOLDER]

The job: the 260K-parameter `stories260K` learns to write E2E restaurant sentences (2,416 random training rows, LoRA of
rank 16 on every linear layer, 16 examples an update, learning rate 5e-3, 151 updates), measured on 200 dev pairs.
The plain loop takes one example at a time, as a tutorial would write it, with transformers' own loss.
Prints the mean held-out token loss of both before and after, for LoRA also the largest difference along the way, and
for QLoRA the distance from LoRA. Needs the project's shared folder with `models/stories260K` and `data/e2e`.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import peft
import torch
import transformers

from lorafit import Recipe, finetune
from lorafit.data.batches import epoch_order
from lorafit.data.prepare import Part, prepare
from lorafit.data.template import Renderer, choose_template
from lorafit.train.schedule import learning_rate, warmup_updates

ROWS, HELD_OUT, BATCH, RATE, SEED, RANK, ALPHA, WARMUP = 2416, 200, 16, 5e-3, 0, 16, 32, 0.03


def write_rows(source: Path, target: Path, count: int) -> None:
    """`count` random rows of an E2E file in Alpaca form."""
    with source.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = random.Random(SEED).sample(rows, count)
    content = [{"instruction": row["mr"], "input": "", "output": row["ref"]} for row in chosen]
    target.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def recipe(model: Path, folder: Path, name: str, quantization: str) -> Recipe:
    return Recipe.model_validate(
        {
            "name": name,
            "output": str(folder / "runs"),
            "model": {"name": str(model), "dtype": "float32", "device": "cpu", "quantization": quantization},
            "data": {
                "train": str(folder / "train.json"),
                "held_out": str(folder / "dev.json"),
                "template": "human-assistant",
                "max_length": 512,
            },
            "adapter": {"rank": RANK, "alpha": ALPHA},
            "train": {
                "batch_size": BATCH,
                "learning_rate": RATE,
                "epochs": 1,
                "warmup": WARMUP,
                "seed": SEED,
                "validate_every": 50,
            },
            "evaluate": {"prompts": 0},
        }
    )


def losses(run: Path) -> tuple[list[float], list[float]]:
    """(training loss per update, held-out losses) of a run folder."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [x["loss"] for x in lines if "loss" in x], [x["held_out_loss"] for x in lines if "held_out_loss" in x]


def plain(model_folder: Path, training: Part, held_out: Part) -> tuple[list[float], list[float], float]:
    """The tutorial loop: PEFT's model, one example at a time, transformers' loss weighted by its tokens."""
    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    torch.manual_seed(SEED)
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, config)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.0, weight_decay=0.0)

    def summed(sample: object) -> torch.Tensor:
        ids = torch.from_numpy(sample.token_ids)[None]
        labels = torch.where(torch.from_numpy(sample.trained)[None], ids, -100)
        return model(input_ids=ids, labels=labels).loss * sample.supervised_tokens

    def validate() -> float:
        model.eval()
        with torch.no_grad():
            total = sum(summed(s).item() for s in held_out.samples)
        model.train()
        return total / sum(s.supervised_tokens for s in held_out.samples)

    order = epoch_order(len(training), SEED, 0)
    updates = -(-len(order) // BATCH)
    trained, measured, seconds = [], [validate()], 0.0
    for update in range(updates):
        began = time.perf_counter()
        batch = [training.samples[i] for i in order[update * BATCH : (update + 1) * BATCH]]
        tokens = sum(s.supervised_tokens for s in batch)
        optimizer.zero_grad()
        loss = 0.0
        for sample in batch:
            part = summed(sample) / tokens
            part.backward()
            loss += part.item()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        rate = learning_rate(update, updates, RATE, "cosine", warmup_updates(WARMUP, updates))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        seconds += time.perf_counter() - began
        trained.append(loss)
        if (update + 1) % 50 == 0 or update + 1 == updates:
            measured.append(validate())
    return trained, measured, seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared")
    parser.add_argument("--output", type=Path, help="keep the data and run folders here")
    args = parser.parse_args()
    model, data = args.shared / "models" / "stories260K", args.shared / "data" / "e2e"
    if not model.is_dir() or not data.is_dir():
        print(f"{args.shared} has no models/stories260K or no data/e2e: nothing to measure.")
        return 2
    folder = args.output or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(data / "trainset_detokenised.csv", folder / "train.json", ROWS)
    write_rows(data / "devset.csv", folder / "dev.json", HELD_OUT)

    lora = finetune(recipe(model, folder, "lora", "none"))
    qlora = finetune(recipe(model, folder, "qlora", "nf4"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    renderer = Renderer(tokenizer, choose_template(tokenizer, "human-assistant"))
    prepared = prepare(renderer, str(folder / "train.json"), str(folder / "dev.json"), 512)
    trained, measured, seconds = plain(model, prepared.training, prepared.held_out)

    ours_trained, ours_measured = losses(lora.folder)
    _, q_measured = losses(qlora.folder)
    worst = max(abs(a - b) for a, b in zip(ours_trained, trained, strict=True))
    print(f"\n{len(trained)} updates, torch threads {torch.get_num_threads()}")
    print(f"{'':32}{'before':>10}{'after':>10}{'seconds':>10}")
    print(f"{'plain transformers + PEFT':32}{measured[0]:10.4f}{measured[-1]:10.4f}{seconds:10.1f}")
    print(f"{'lorafit, lora':32}{ours_measured[0]:10.4f}{ours_measured[-1]:10.4f}{lora.outcome.seconds:10.1f}")
    print(f"{'lorafit, qlora (nf4)':32}{q_measured[0]:10.4f}{q_measured[-1]:10.4f}{qlora.outcome.seconds:10.1f}")
    print(f"largest difference of a training loss, lora against plain: {worst:.2e}")
    lora_off, qlora_off = ours_measured[-1] - measured[-1], q_measured[-1] - measured[-1]
    print(f"after: lora - plain {lora_off:+.4f}, qlora - plain {qlora_off:+.4f}")
    holds = abs(lora_off) < 0.01 and abs(qlora_off) < 0.05
    print("holds: lora within 0.01 and qlora within 0.05 of the plain loop" if holds else "DOES NOT HOLD")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
