"""LitGPT's LoRA fine-tuning loop in bfloat16; `settings`: micro (examples a pass).

    python litgpt_worker.py --convert MODEL    writes MODEL/lit_model.pth, once, before the measured runs

Its loss is the mean over passes of each pass's own mean, which weighs a token of a short answer more.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from litgpt.args import EvalArgs, TrainArgs
from litgpt.data.base import get_sft_collate_fn
from litgpt.finetune import lora
from litgpt.lora import GPT, Config, mark_only_lora_as_trainable
from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama, copy_weights_qwen_3
from litgpt.utils import instantiate_torch_optimizer, load_checkpoint
from safetensors.torch import load_file
from torch.utils.data import DataLoader

ADAPTED = ("query", "key", "value", "projection", "mlp")


def config_of(folder: Path, **settings: Any) -> Config:
    """LitGPT's own configuration of the same family, with the sizes of this folder."""
    shape = json.loads((folder / "config.json").read_text())
    name = "Qwen3-0.6B" if shape["model_type"] == "qwen3" else "SmolLM2-135M"
    config = Config.from_name(name, n_layer=shape["num_hidden_layers"], **settings)
    rope_base = shape["rope_parameters"]["rope_theta"]
    ours = (shape["hidden_size"], shape["intermediate_size"], shape["vocab_size"], shape["rms_norm_eps"], rope_base)
    assert ours == (
        config.n_embd, config.intermediate_size, config.padded_vocab_size, config.norm_eps, config.rope_base
    ), (ours, config)  # fmt: skip
    return config


def convert(folder: Path) -> None:
    config, weights = config_of(folder), load_file(folder / "model.safetensors")
    copy_weights = copy_weights_qwen_3 if "Qwen3" in config.name else copy_weights_hf_llama
    converted: dict[str, torch.Tensor] = {}
    copy_weights(config, {}, converted, weights)
    torch.save(converted, folder / "lit_model.pth")


def train() -> None:
    from journal import Journal

    journal = Journal()
    folder, micro = Path(journal.job["model"]), journal.settings["micro"]
    losses: list[float] = []
    documents: list[int] = []
    norms: list[float] = []
    slots = 0
    pad, cross_entropy = get_sft_collate_fn(), lora.chunked_cross_entropy

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        nonlocal slots
        documents.extend(journal.place(row["input_ids"].tolist()) for row in rows)
        batch: dict[str, Any] = pad(rows)
        slots += batch["input_ids"].numel()
        return batch

    def noted_cross_entropy(*given: Any, **named: Any) -> torch.Tensor:
        loss: torch.Tensor = cross_entropy(*given, **named)
        if torch.is_grad_enabled():
            losses.append(loss.item())
        return loss

    def before_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())

    def after_step(*_: Any) -> None:
        nonlocal slots
        journal.update(documents, slots, sum(losses) / len(losses), norms[-1])
        losses.clear()
        documents.clear()
        slots = 0

    rows = [
        {
            "input_ids": torch.tensor(example["input_ids"]),
            "labels": torch.tensor(example["labels"]),
            "token_counts": dict.fromkeys(("raw", "raw_plus_prompt_template"), len(example["input_ids"])),
        }
        for example in journal.examples
    ]
    lora.chunked_cross_entropy = noted_cross_entropy
    fabric = lightning.Fabric(accelerator="cpu", devices=1, precision="bf16-true")
    loaders = fabric.setup_dataloaders(
        DataLoader(rows, batch_size=micro, collate_fn=collate), DataLoader(rows[:2], collate_fn=pad)
    )
    with fabric.init_module(empty_init=False):
        on = {f"lora_{name}": True for name in ADAPTED}
        model = GPT(config_of(folder, lora_r=16, lora_alpha=32, lora_dropout=0.0, **on))
    mark_only_lora_as_trainable(model)
    model = fabric.setup_module(model)
    optimizer = instantiate_torch_optimizer(
        {"class_path": "torch.optim.AdamW", "init_args": {"lr": 2e-4}}, model.parameters()
    )
    optimizer.register_step_pre_hook(before_step)
    optimizer.register_step_post_hook(after_step)
    updates = journal.job["updates"]
    load_checkpoint(fabric, model, folder / "lit_model.pth", strict=False)
    lora.fit(
        fabric=fabric,
        model=model,
        optimizer=fabric.setup_optimizers(optimizer),
        scheduler=lora.get_lr_scheduler(optimizer, warmup_steps=1, max_steps=updates + 2),
        train_dataloader=loaders[0],
        val_dataloader=loaders[1],
        devices=1,
        checkpoint_dir=folder,
        out_dir=Path(journal.job["scratch"]),
        train=TrainArgs(
            save_interval=None,
            log_interval=1,
            global_batch_size=journal.job["batch"],
            micro_batch_size=micro,
            epochs=2,
            max_steps=updates,
        ),
        eval=EvalArgs(interval=updates + 1, max_new_tokens=1, max_iters=1),
        data=None,
    )
    journal.end()


if __name__ == "__main__":
    if sys.argv[1] == "--convert":
        convert(Path(sys.argv[2]))
    else:
        train()
