from __future__ import annotations

from pathlib import Path

import torch

from lorafit.export.answers import greedy_continuations, next_token_logits
from lorafit.hardware import Hardware
from lorafit.model.load import load_base

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")


def test_the_continuation_is_what_the_logits_say(llama: Path) -> None:
    model = load_base(llama, CPU).model.eval()
    (text,) = greedy_continuations(model, [[5, 6, 7]], 12, stop_ids=[])
    assert text[:3] == [5, 6, 7] and len(text) == 15
    assert next_token_logits(model, text, 3).argmax(-1).tolist() == text[3:]
