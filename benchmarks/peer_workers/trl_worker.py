"""TRL's SFTTrainer with LoRA on all linear layers; `settings`: arguments (of SFTConfig), load (of the model), nf4."""

from __future__ import annotations

import torch
from datasets import Dataset
from journal import Journal
from peft import LoraConfig
from transformers import AutoTokenizer, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer
from watched import trainer_arguments, watch

journal = Journal()
load = dict(journal.settings["load"])
if journal.settings["nf4"]:
    load["quantization_config"] = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    load["device_map"] = "cpu"
arguments = SFTConfig(max_length=journal.job["longest"], model_init_kwargs=load or None, **trainer_arguments(journal))
trainer = SFTTrainer(
    model=journal.job["model"],
    args=arguments,
    train_dataset=Dataset.from_list(journal.examples),
    processing_class=AutoTokenizer.from_pretrained(journal.job["model"]),
    peft_config=LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"),
)
watch(trainer, journal)
trainer.train()
journal.end()
