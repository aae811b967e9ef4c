"""Unsloth on the CPU: its FastLanguageModel under TRL's trainer; `settings`: arguments (of SFTConfig), nf4."""

from __future__ import annotations

# Unsloth patches the other libraries and asks to be imported before them.
from unsloth import FastLanguageModel  # isort: skip
from datasets import Dataset
from journal import Journal
from trl import SFTConfig, SFTTrainer
from watched import trainer_arguments, watch

journal = Journal()
model, tokenizer = FastLanguageModel.from_pretrained(
    journal.job["model"],
    max_seq_length=journal.job["longest"],
    load_in_4bit=journal.settings["nf4"],
    use_gradient_checkpointing=False,
    local_files_only=True,
)
model = FastLanguageModel.get_peft_model(model, r=16, lora_alpha=32, lora_dropout=0.0, use_gradient_checkpointing=False)
trainer = SFTTrainer(
    model=model,
    args=SFTConfig(max_length=journal.job["longest"], **trainer_arguments(journal)),
    train_dataset=Dataset.from_list(journal.examples),
    processing_class=tokenizer,
)
watch(trainer, journal)
trainer.train()
journal.end()
