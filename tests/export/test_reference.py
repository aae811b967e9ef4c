from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lorafit.data.template import Renderer, choose_template
from lorafit.errors import ExportError, RunError
from lorafit.export.answers import next_token_logits
from lorafit.export.reference import ANSWER_TOKENS, PROMPTS, keep_reference, read_reference, reference_of
from lorafit.hardware import Hardware
from lorafit.model.load import load_base
from lorafit.records import Message

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")


@pytest.fixture
def renderer(chat_tokenizer: Any) -> Renderer:
    return Renderer(chat_tokenizer, choose_template(chat_tokenizer))


def test_what_is_kept_is_what_the_model_says(llama: Path, renderer: Renderer, tmp_path: Path) -> None:
    model = load_base(llama, CPU).model.train()
    dialogues = [[Message("user", f"Where does {number} live?")] for number in range(PROMPTS + 3)]
    kept = keep_reference(model, renderer, [[Message("user", "a" * 400)], *dialogues], tmp_path)
    assert model.training
    assert kept is not None and kept == read_reference(tmp_path)
    assert len(kept.prompts) == PROMPTS and kept.tied and kept.format == "float32"
    assert kept.stop_ids == renderer.stop_ids
    first = kept.prompts[0]
    assert first.ids == renderer.prompt_ids(dialogues[0]), "the prompt that leaves no room is left out"
    assert first.turns == [{"role": "user", "content": "Where does 0 live?"}]
    assert 0 < len(first.answer) <= ANSWER_TOKENS
    logits = next_token_logits(model.eval(), first.ids + first.answer, len(first.ids))
    assert logits.argmax(-1).tolist() == first.answer == [ids[0] for ids in first.likely]
    log_probabilities = logits.log_softmax(-1).gather(-1, torch.tensor(first.likely))
    found = torch.tensor(first.logits) - torch.tensor(first.totals)[:, None]
    assert torch.allclose(found, log_probabilities, atol=1e-4)


def test_without_a_prompt_that_fits_there_is_nothing_to_check_on(
    llama: Path, renderer: Renderer, tmp_path: Path
) -> None:
    model, long = load_base(llama, CPU).model, [[Message("user", "a" * 400)]]
    assert keep_reference(model, renderer, long, tmp_path) is None and list(tmp_path.iterdir()) == []
    with pytest.raises(ExportError, match="None of the 1 prompts"):
        reference_of(model, renderer, long)


def test_a_broken_reference_is_named(tmp_path: Path) -> None:
    assert read_reference(tmp_path) is None
    (tmp_path / "reference.json").write_text('{"format": "float32", "stop_ids": [], "tied": true, "prompts": [{}]}')
    with pytest.raises(RunError, match=r"reference\.json is not what lorafit writes"):
        read_reference(tmp_path)
