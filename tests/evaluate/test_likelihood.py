from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from lorafit.data.pack import make_batch
from lorafit.data.template import Renderer, choose_template
from lorafit.evaluate.held_out import mean_loss
from lorafit.evaluate.likelihood import Likelihood, likelihoods, measured
from lorafit.model.forward import choose_forward
from lorafit.records import Conversation, Message, Source

LONGEST = 64


def conversations() -> list[Conversation]:
    made = []
    for number in range(7):
        turns = [Message("user", f"Where is {number}?"), Message("assistant", f"{number}在那里。 " * (1 + number % 3))]
        turns += turns if number % 3 == 0 else []
        made.append(Conversation(tuple(turns), Source("f", number + 1)))
    made.append(
        Conversation((Message("assistant", "A text that is read from its second token on. " * 9),), Source("f", 9))
    )
    return made


@pytest.fixture(params=["llama", "gpt2"])
def model(request: Any, bases: Callable[[str], Path]) -> Any:
    return AutoModelForCausalLM.from_pretrained(bases(request.param)).eval()


def reference(model: Any, renderer: Renderer, conversation: Conversation) -> tuple[float, int, int]:
    """Slow and obvious: one sample at a time, all logits."""
    nats, tokens, right = 0.0, 0, 0
    for sample in renderer.samples(conversation):
        ids = torch.from_numpy(sample.token_ids[:LONGEST])
        wanted = torch.from_numpy(sample.trained[:LONGEST])[1:]
        with torch.no_grad():
            logits = model(ids[None]).logits[0, :-1].double()
        nats += cross_entropy(logits[wanted], ids[1:][wanted], reduction="sum").item()
        tokens += int(wanted.sum())
        right += int((logits.argmax(-1) == ids[1:])[wanted].sum())
    return nats, tokens, right


def test_each_row_is_scored_as_alone_and_all_as_the_held_out_loss(model: Any, tokenizer: Any) -> None:
    renderer = Renderer(tokenizer, choose_template(tokenizer, "chatml"))
    forward, _ = choose_forward(model)
    rows = conversations()
    found = list(likelihoods(forward, renderer, rows, 128, LONGEST))
    for one, conversation in zip(found, rows, strict=True):
        nats, tokens, right = reference(model, renderer, conversation)
        assert one.nats == pytest.approx(nats, rel=1e-5) and (one.tokens, one.right) == (tokens, right)
    assert found[1].bytes == len(rows[1].answer.encode())
    rest = list(likelihoods(forward, renderer, islice(rows, 3, None), 48, LONGEST))
    assert [one.tokens for one in rest] == [one.tokens for one in found[3:]], "it goes on at any row"
    assert [one.nats for one in rest] == pytest.approx([one.nats for one in found[3:]], rel=1e-5)

    firsts = list(likelihoods(forward, renderer, [rows[1], rows[2]], 128, LONGEST))
    with forward.running():
        loss = mean_loss(forward, make_batch([renderer.sample(rows[i]) for i in (1, 2)], 256, forward.packed))
    assert math.log(measured(firsts)["perplexity"].score) == pytest.approx(loss, rel=1e-5)


def test_scores_of_a_set_are_of_all_its_tokens_together() -> None:
    scores = measured([Likelihood(2.0, 2, 1, 4), Likelihood(10.0, 4, 0, 8)])
    assert scores["perplexity"].score == pytest.approx(math.exp(12 / 6))
    assert scores["bits_per_byte"].score == pytest.approx(12 / math.log(2) / 12)
    assert scores["token_accuracy"].score == pytest.approx(1 / 6)
    assert scores["perplexity"].samples.tolist() == pytest.approx([math.exp(1), math.exp(2.5)])
