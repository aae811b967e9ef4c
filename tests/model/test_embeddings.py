from __future__ import annotations

from pathlib import Path

import torch

from lorafit import builtin
from lorafit.hardware import Hardware
from lorafit.model.embeddings import never_seen
from lorafit.model.load import load_base

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")


def test_tokens_that_were_never_a_target_point_the_same_way(llama: Path) -> None:
    """Trained for a while on text without them, the unused ones are found, and no other."""
    model = load_base(llama, CPU).model.requires_grad_(True)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(0.01)  # the start has to be small beside what training does
    vocabulary = model.get_input_embeddings().weight.shape[0]
    draw = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-2)
    unused = list(range(20))
    assert never_seen(model, unused) == []
    for _ in range(60):
        ids = torch.randint(len(unused), vocabulary, (8, 24), generator=draw)
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert never_seen(model, [*unused, 100, 200]) == unused


def test_the_built_in_base_knows_its_end() -> None:
    base = load_base(builtin.MODEL, CPU)
    assert never_seen(base.model, [base.model.config.eos_token_id]) == []
