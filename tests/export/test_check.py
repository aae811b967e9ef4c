from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lorafit.export.check import compare_greedy, greedy_continuations, next_token_logits
from lorafit.hardware import Hardware
from lorafit.model.load import load_base

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")
CLEAR = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])


def test_equal_logits_agree() -> None:
    found = compare_greedy([CLEAR], [CLEAR + 0.25])
    assert (found.tokens, found.equal, found.broken, found.holds) == (2, 2, 0, True)
    assert found.largest_difference == pytest.approx(0.25)


def test_another_token_is_a_fault_unless_the_reference_was_a_near_tie() -> None:
    other = CLEAR.clone()
    other[0] = torch.tensor([4.0, 3.0, 1.0])
    assert not compare_greedy([CLEAR], [other]).holds
    tie = torch.tensor([[1.0, 1.00001, 0.0]])
    found = compare_greedy([tie], [tie.flip(-1).roll(-1, -1)])
    assert found.equal == 0 and found.holds


def test_the_continuation_is_what_the_logits_say(llama: Path) -> None:
    model = load_base(llama, CPU).model.eval()
    (text,) = greedy_continuations(model, [[5, 6, 7]], 12, stop_ids=[])
    assert text[:3] == [5, 6, 7] and len(text) == 15
    assert next_token_logits(model, text, 3).argmax(-1).tolist() == text[3:]
