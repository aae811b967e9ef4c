from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from lorafit.data.template import Renderer, choose_template
from lorafit.evaluate.answers import Way, answer, choose, chosen, prompt_ids
from lorafit.evaluate.journal import Journal
from lorafit.evaluate.question import Question
from lorafit.infer.engine import Engine, Request
from lorafit.infer.generate import generate_answers
from lorafit.records import Message, Source

SOURCE = Source("f", 1)


@pytest.fixture
def way(bases: Callable[[str], Path], tokenizer: Any) -> Way:
    """A GPT-2, which has 256 places and no more, with an adapter that changes what it says."""
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(bases("gpt2"))
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    decode = lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True))  # noqa: E731
    renderer = Renderer(tokenizer, choose_template(tokenizer, "chatml"))
    return Way(Engine(model, decode), renderer, "default", max_new_tokens=6)


def dialogues(count: int) -> list[Question]:
    return [
        Question(n, SOURCE, (Message("user", f"Where does {n} live? " * n),), references=("x",))
        for n in range(1, count + 1)
    ]


def told(journal: Journal, count: int) -> list[dict[str, Any]]:
    return list(journal.results(iter(range(1, count + 1))))


@pytest.mark.parametrize("adapter", [None, "default"])
def test_answers_are_those_of_transformers_and_only_missing_ones_are_asked(
    way: Way, tmp_path: Path, adapter: str | None
) -> None:
    way.adapter = adapter
    asked, done = dialogues(5), []
    with Journal(tmp_path / "j") as journal:
        journal.write(2, {"text": "kept", "ended": True, "tokens": 1})
        answer(way, asked, journal, done.append)
        found = told(journal, 5)
    with way.engine.adapters.alone(adapter):
        prompts = [way.renderer.prompt_ids(question.messages) for question in asked]
        wanted = generate_answers(way.engine.adapters.model, way.renderer, prompts, 6)
    assert sum(done) == 4 and found[1]["text"] == "kept"
    for number in (0, 2, 3, 4):
        assert (found[number]["text"], found[number]["ended"]) == (wanted[number].text, wanted[number].ended)


def test_base_and_tuned_do_not_say_the_same(way: Way, tmp_path: Path) -> None:
    said = []
    for adapter in (None, "default"):
        way.adapter = adapter
        with Journal(tmp_path / str(adapter)) as journal:
            answer(way, dialogues(3), journal, lambda done: None)
            said.append([one["text"] for one in told(journal, 3)])
    assert said[0] != said[1]


def test_too_long_dialogues_are_counted_and_too_long_texts_lose_their_beginning(way: Way, tmp_path: Path) -> None:
    text = Question(2, SOURCE, text="word " * 400 + "the end")
    with Journal(tmp_path / "j") as journal:
        answer(way, [Question(1, SOURCE, (Message("user", "long " * 400),)), text], journal, lambda done: None)
        found = told(journal, 2)
    assert (way.unasked, way.cut) == (1, 1)
    assert found[0] == {"number": 1, "text": "", "ended": False, "tokens": 0}
    assert found[1]["tokens"] == 6 or found[1]["ended"]


def test_choices_are_scored_as_by_one_forward_each(way: Way, tmp_path: Path, tokenizer: Any) -> None:
    plain = [Question(n, SOURCE, text=f"The answer to {n} is", choices=(" A", " Bananas", " 在")) for n in (1, 2)]
    chat = Question(3, SOURCE, (Message("user", "Which?"),), choices=("A", "Bananas"))
    with Journal(tmp_path / "j") as journal:
        choose(way, [*plain, chat], journal, lambda done: None)
        found = told(journal, 3)
    for question, result in zip([*plain, chat], found, strict=True):
        context = tokenizer(question.text).input_ids
        if question.messages:
            context = way.renderer.prompt_ids(question.messages)
        for choice, (nats, tokens, size) in zip(question.choices, result["choices"], strict=True):
            ids = torch.tensor([*context, *(continuation := tokenizer(choice).input_ids)])
            with torch.no_grad(), way.engine.adapters.alone("default"):
                logs = way.engine.model(ids[None]).logits[0].log_softmax(-1)
            wanted = sum(logs[len(context) + i - 1, token].item() for i, token in enumerate(continuation))
            assert nats == pytest.approx(wanted, abs=1e-4)
            assert (tokens, size) == (len(continuation), len(choice.encode()))


def test_the_likeliest_choice_may_be_taken_by_length() -> None:
    scored = [[-4.0, 1, 2], [-6.0, 2, 12], [-9.0, 4, 8]]
    assert [chosen(scored, how) for how in ("", "tokens", "bytes")] == [0, 2, 1]


def test_an_answer_ends_where_the_models_own_settings_say(way: Way, tmp_path: Path) -> None:
    asked = Question(1, SOURCE, text="Where does 1 live?")
    (free,) = way.engine.run([Request(prompt_ids(way, asked), 6, adapter="default")])
    assert free.reason == "length"
    way.engine.model.generation_config.eos_token_id = [free.ids[0]]
    with Journal(tmp_path / "j") as journal:
        answer(way, [asked], journal, lambda done: None)
        (found,) = told(journal, 1)
    assert found == {"number": 1, "text": "", "ended": True, "tokens": 0}
