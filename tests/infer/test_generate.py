from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lorafit.data.template import Renderer, choose_template
from lorafit.errors import DataError
from lorafit.hardware import Hardware
from lorafit.infer.chat import Chat
from lorafit.infer.generate import answer_prompts, finish, generate_answers
from lorafit.model.load import load_base

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")


@pytest.fixture
def renderer(tokenizer: Any) -> Renderer:
    return Renderer(tokenizer, choose_template(tokenizer, "human-assistant"))


def test_a_batch_answers_as_each_prompt_alone(llama: Path, renderer: Renderer) -> None:
    """Left padding, order and batch change nothing: float32 greedy tokens."""
    model = load_base(llama, CPU).model
    prompts = [[(7 * n + 13 * i) % 500 for i in range(n)] for n in (9, 2, 30, 4)]
    together = answer_prompts(model, renderer, prompts, 10)
    alone = [answer_prompts(model, renderer, [p], 10)[0] for p in prompts]
    assert together == alone == generate_answers(model, renderer, prompts, 10)
    assert len({a.text for a in together}) > 1


def test_an_answer_ends_at_the_end_of_turn_or_where_a_base_asks_itself(renderer: Renderer) -> None:
    tokenizer = renderer.tokenizer
    ids = tokenizer(" Willow Street.").input_ids
    ended = finish(renderer, [*ids, tokenizer.eos_token_id, *ids])
    assert (ended.text, ended.ended) == ("Willow Street.", True)
    goes_on = finish(renderer, tokenizer(" Willow Street.\n\nHuman: And who").input_ids)
    assert (goes_on.text, goes_on.ended) == ("Willow Street.", True)
    assert not finish(renderer, ids).ended


def test_chat_streams_what_it_returns_and_remembers_turns(llama: Path, renderer: Renderer) -> None:
    chat = Chat(load_base(llama, CPU).model.eval(), renderer, max_new_tokens=6)
    pieces: list[str] = []
    answer = chat.say("Where does Mira live?", pieces.append)
    assert "".join(pieces).strip() == answer
    second = chat.say("And Tom?")
    assert [m.role for m in chat.messages] == ["user", "assistant", "user", "assistant"]
    assert chat.messages[3].content == second
    chat.restart()
    assert chat.messages == []
    assert chat.say("Where does Mira live?") == answer


def test_answers_stay_within_the_models_length(bases: Callable[[str], Path], renderer: Renderer) -> None:
    """GPT-2 has no positions beyond its limit, here 256."""
    model = load_base(bases("gpt2"), CPU).model
    room, none = answer_prompts(model, renderer, [[5] * 250, [5] * 256], 32)
    assert not room.ended
    assert (none.text, none.ended) == ("", False)
    chat = Chat(model.eval(), renderer, max_new_tokens=64)
    for _ in range(6):
        chat.say("Where does Mira live? " * 3)
    assert chat.forgotten > 0
    with pytest.raises(DataError, match="this model takes 256"):
        chat.say("word " * 400)


def test_greedy_means_the_likeliest_token_whatever_the_models_file_says(llama: Path, renderer: Renderer) -> None:
    model = load_base(llama, CPU).model
    prompts = [[(7 * n + 13 * i) % 500 for i in range(n)] for n in (9, 4)]
    before = answer_prompts(model, renderer, prompts, 10)
    model.generation_config.repetition_penalty = 3.0
    model.generation_config.num_beams = 4
    assert answer_prompts(model, renderer, prompts, 10) == before
