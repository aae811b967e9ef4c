"""The Modelfile's template gives what the chat template gives, or there is none and it says so."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import CHATML
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from lorafit.data.template import ChatTemplate, Renderer, choose_template
from lorafit.export.gguf.modelfile import modelfile, read_turns
from lorafit.records import Message

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}"
    "<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
QWEN = "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}" + CHATML
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ first if loop.first else '' }}{{ m.content }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m.role == 'user' %}[INST] {{ first if loop.first else '' }}{{ m.content }} [/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
NUMBERED = (
    "{% for m in messages %}{{ loop.index }} {{ m.role }}: {{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TEMPLATES = {"chatml": CHATML, "llama3": LLAMA3, "qwen": QWEN, "gemma": GEMMA, "mistral": MISTRAL}
DIALOGUES = [
    [Message("user", "Hi {{ there }}?")],
    [Message("user", "你好"), Message("assistant", "Yes."), Message("user", 'A "quote"\n\nand lines')],
    [Message("system", "Be brief."), Message("user", "Hi?")],
    [Message("system", "Brief."), Message("user", "a"), Message("assistant", "b"), Message("user", "c")],
]


def renderer(chat_tokenizer: Any, template: str) -> Renderer:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(chat_tokenizer.backend_tokenizer.to_str()),
        eos_token="<|im_end|>",
        bos_token="<|endoftext|>",
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|eot_id|>", "<end_of_turn>"]})
    if template in ("human-assistant", "alpaca"):
        return Renderer(tokenizer, choose_template(tokenizer, template))
    return Renderer(tokenizer, ChatTemplate("a test's", TEMPLATES.get(template, template)))


@pytest.mark.parametrize("template", [*TEMPLATES, "human-assistant", "alpaca"])
def test_the_texts_around_turns_give_the_chat_template_again(chat_tokenizer: Any, template: str) -> None:
    asked = renderer(chat_tokenizer, template)
    turns = read_turns(asked, adds_begin=False)
    for dialogue in DIALOGUES:
        given = [{"role": turn.role, "content": turn.content} for turn in dialogue]
        assert turns is not None and turns.render(given) == asked.text(dialogue, ask=True)


def test_the_begin_of_text_is_left_to_ollama_where_it_adds_it(chat_tokenizer: Any) -> None:
    turns = read_turns(renderer(chat_tokenizer, "llama3"), adds_begin=True)
    assert turns is not None and turns.begin == ""
    assert turns.user == "<|start_header_id|>user<|end_header_id|>\n\n" and turns.end == "<|eot_id|>"


def test_a_modelfile_names_the_file_the_template_and_what_ends_an_answer(chat_tokenizer: Any) -> None:
    text, remark = modelfile("m-q8_0.gguf", renderer(chat_tokenizer, "qwen"), adds_begin=False)
    assert remark is None
    lines = text.splitlines()
    assert lines[0] == "FROM ./m-q8_0.gguf" and 'SYSTEM "You are helpful."' in lines
    assert 'PARAMETER stop "<|im_end|>"' in lines
    assert 'TEMPLATE """' in text and "{{ .Content }}" in text and text.count('"""') == 2


def test_a_plain_template_stops_where_the_next_question_begins(chat_tokenizer: Any) -> None:
    text, _ = modelfile("m.gguf", renderer(chat_tokenizer, "human-assistant"), False, adapter="a.gguf")
    assert 'PARAMETER stop "\nHuman:"\n' in text and "ADAPTER ./a.gguf" in text


def test_a_template_that_counts_turns_has_no_equal(chat_tokenizer: Any) -> None:
    text, remark = modelfile("m.gguf", renderer(chat_tokenizer, NUMBERED), adds_begin=False)
    assert remark is not None and remark in text and "TEMPLATE " not in text.replace(remark, "")
