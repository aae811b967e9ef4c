"""transformers' Trainer on a PEFT model, as its tutorials do; `settings`: arguments (of TrainingArguments), load."""

from __future__ import annotations

from datasets import Dataset
from journal import Journal
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments
from watched import trainer_arguments, watch

journal = Journal()
model = AutoModelForCausalLM.from_pretrained(journal.job["model"], **journal.settings["load"])
adapter = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
trainer = Trainer(
    model=get_peft_model(model, adapter),
    args=TrainingArguments(**trainer_arguments(journal)),
    train_dataset=Dataset.from_list(journal.examples),
    data_collator=DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(journal.job["model"]), padding=True),
)
watch(trainer, journal)
trainer.train()
journal.end()
