"""Properties of the mask, for templates of eight shapes in use and texts of every kind, tools and thinking included:

what stands before each trained stretch is the generation prompt for the turns before it; the stretch says the answer
again; nothing else is trained; a dialogue trains what its turns alone would; a call survives; special tokens that are
spelled in the data are text; and many rows at once give the same as one by one.
"""

from __future__ import annotations

import functools
import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.template_shapes import KINDS, SHAPES, SPECIAL, TOKENIZERS, byte_level

from lorafit.data.template import ChatTemplate, Facts, Renderer
from lorafit.errors import DataError
from lorafit.records import Conversation, Message, Sample, Source

every_shape = pytest.mark.parametrize("shape", SHAPES)
every_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS)
examples = settings(max_examples=15, deadline=None)
SOURCE = Source("rows.json", 1)
TOOLS = (
    {
        "type": "function",
        "function": {"name": "find_ship", "parameters": {"type": "object", "properties": {"名": {"type": "string"}}}},
    },
)

plain = st.one_of(
    st.text("ab .:\n", min_size=1, max_size=6),
    st.text("米拉 🦊é\ue000\u2028{}%|<>", min_size=1, max_size=6),
    st.sampled_from([" Mira ", "\n\nMira\n", "🦊", " 🦊🎉 ", "{{ m }}", "你好", '"\\']),
).map(lambda text: text if text.strip() else f"{text}x{text}")
# Texts of users may hold special tokens, spelled out.
typed = st.one_of(plain, st.builds("{}{}{}".format, plain, st.sampled_from(SPECIAL), plain))
arguments = st.dictionaries(st.sampled_from(["名", "port"]), plain, min_size=1)


@functools.cache
def renderer_of(shape: str, tokenizer: str = "byte-level") -> Renderer:
    return Renderer(TOKENIZERS[tokenizer](), ChatTemplate(shape, SHAPES[shape].jinja))


def call(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "find_ship", "arguments": arguments}}


@st.composite
def conversations(draw: st.DrawFn, shape: str) -> Conversation:
    """One to three questions, with what the shape has a place for; some answers are context only."""
    kind = SHAPES[shape]
    with_tools = kind.tools and draw(st.booleans())
    messages = [Message("system", draw(typed))] if shape != "mistral" and draw(st.booleans()) else []

    def thinking() -> str:
        return draw(st.sampled_from(["", "Easy.", "想一想\n好"])) if kind.thinking else ""

    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message("user", draw(typed)))
        if with_tools and draw(st.booleans()):
            messages.append(Message("assistant", "", thinking=thinking(), tool_calls=(call(draw(arguments)),)))
            messages.append(Message("tool", draw(typed), name="find_ship"))
        messages.append(Message("assistant", draw(plain), trained=draw(st.booleans()), thinking=thinking()))
    messages[-1] = replace(messages[-1], trained=True)
    return Conversation(tuple(messages), SOURCE, TOOLS if with_tools else ())


def stretches(sample: Sample) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(sample.trained.astype(int), prepend=0, append=0))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def trained_turns(conversation: Conversation) -> list[int]:
    return [n for n, m in enumerate(conversation.messages) if m.role == "assistant" and m.trained]


def stretch_of(renderer: Renderer, conversation: Conversation, turn: int, samples: list[Sample]) -> list[int]:
    """The trained tokens that follow the generation prompt of a turn; there is one such stretch."""
    asked = renderer.prompt_ids(conversation.messages[:turn], conversation.tools)
    (found,) = [
        sample.token_ids[start:end].tolist()
        for sample in samples
        for start, end in stretches(sample)
        if sample.token_ids[:start].tolist() == asked
    ]
    return found


@every_tokenizer
@every_shape
@examples
@given(data=st.data())
def test_each_answer_follows_its_question_and_says_itself(shape: str, tokenizer: str, data: st.DataObject) -> None:
    renderer, conversation = renderer_of(shape, tokenizer), data.draw(conversations(shape))
    samples = renderer.samples(conversation)
    ends = set(renderer.stop_ids)
    for turn in trained_turns(conversation):
        ids = stretch_of(renderer, conversation, turn, samples)
        assert ids[-1] in ends
        assert not ends.intersection(ids[:-1])
        message, said = conversation.messages[turn], renderer.spoken(ids)
        if message.tool_calls:
            assert json.dumps(message.tool_calls[0]["function"]["arguments"], ensure_ascii=False) in said.content
        elif tokenizer == "byte-level":
            assert (said.thinking, said.content) == (message.thinking, SHAPES[shape].kept(message.content))
        else:  # it puts a space before each text between special tokens
            assert (said.thinking.strip(), said.content.strip()) == (message.thinking, message.content.strip())
    # Nothing else is trained.
    assert sum(len(stretches(sample)) for sample in samples) == len(trained_turns(conversation))


@every_shape
@examples
@given(data=st.data())
def test_a_dialogue_trains_what_its_turns_alone_would(shape: str, data: st.DataObject) -> None:
    renderer, conversation = renderer_of(shape), data.draw(conversations(shape))
    samples = renderer.samples(conversation)
    for turn in trained_turns(conversation):
        before = [replace(message, trained=False) for message in conversation.messages[:turn]]
        alone = replace(conversation, messages=(*before, conversation.messages[turn]))
        (sample,) = renderer.samples(alone)
        assert sample.token_ids[sample.trained].tolist() == stretch_of(renderer, conversation, turn, samples)


@every_shape
@examples
@given(data=st.data())
def test_a_special_token_in_the_data_is_text(shape: str, data: st.DataObject) -> None:
    renderer, conversation = renderer_of(shape), data.draw(conversations(shape))
    special = set(renderer.tokenizer.all_special_ids) | set(renderer.tokenizer.added_tokens_decoder)

    def count(conversation: Conversation) -> list[list[int]]:
        return [[i for i in s.token_ids.tolist() if i in special] for s in renderer.samples(conversation)]

    def neutral(message: Message) -> Message:
        return message if message.role == "assistant" else replace(message, content="Where?")

    messages = tuple(map(neutral, conversation.messages))
    assert count(conversation) == count(replace(conversation, messages=messages))
    shown = renderer.decode(renderer.sample(conversation).token_ids)
    assert all(m.content.strip() in shown for m in conversation.messages)


@every_tokenizer
@pytest.mark.parametrize("shape", SHAPES)
@examples
@given(data=st.data())
def test_many_rows_at_once_are_the_rows_one_by_one(shape: str, tokenizer: str, data: st.DataObject) -> None:
    renderer = renderer_of(shape, tokenizer)
    rows = data.draw(st.lists(conversations(shape), max_size=4))
    text = Conversation((Message("assistant", data.draw(typed)),), SOURCE)
    refused = replace(text, messages=(Message("assistant", "b"), Message("user", "a"), Message("assistant", "b")))
    found = renderer.samples_of([*rows, text, refused])
    for one, conversation in zip(found, [*rows, text], strict=False):
        assert isinstance(one, list)
        alone = renderer.samples(conversation)
        assert [(s.token_ids.tolist(), s.trained.tolist(), s.source) for s in one] == [
            (s.token_ids.tolist(), s.trained.tolist(), s.source) for s in alone
        ]
    if shape == "gemma":
        assert isinstance(found[-1], DataError)
        assert "rows.json, row 1" in str(found[-1])


def test_many_rows_at_once_are_cut_where_one_is() -> None:
    # "Assistant: " joins with the answer, "\n\n" with a line break that begins it.
    for name, answer in (("space-before-answer", "Mira"), ("llama3-like", ":"), ("default-system", "\n\nMira")):
        renderer = Renderer(byte_level(), ChatTemplate(name, KINDS[name].jinja))
        for count in (1, 2):
            turns = (Message("user", "a"), Message("assistant", answer)) * count
            conversation = Conversation(turns, SOURCE)
            ((sample,),) = renderer.samples_of([conversation])
            assert sample.token_ids.tolist() == renderer.sample(conversation).token_ids.tolist()
            asked = renderer.prompt_ids(turns[:-1])
            assert sample.token_ids[: len(asked)].tolist() == asked


@every_tokenizer
def test_a_text_is_trained_whole_without_a_template(tokenizer: str) -> None:
    renderer = renderer_of("llama3", tokenizer)
    sample = renderer.sample(Conversation((Message("assistant", "Mira </s> 你好"),), SOURCE))
    plain = renderer.tokenizer("Mira", add_special_tokens=False).input_ids
    assert sample.token_ids[: len(plain)].tolist() == plain
    assert sample.token_ids.tolist().count(renderer.tokenizer.eos_token_id) == 1
    assert sample.token_ids[-1] == renderer.tokenizer.eos_token_id
    assert sample.trained.tolist() == [False, *[True] * (len(sample) - 1)]
    assert renderer.decode(sample.token_ids) == "Mira </s> 你好</s>"
    text = Conversation((Message("assistant", "Mira"),), SOURCE)
    assert renderer.ends_with_stop(text)
    assert renderer.begins_as_asked(text)


def test_thinking_that_later_turns_do_not_show_is_trained_in_a_sample_of_its_own() -> None:
    messages = (
        Message("user", "a"),
        Message("assistant", "b", thinking="One."),
        Message("user", "c"),
        Message("assistant", "d", thinking="Two."),
    )
    first, last = renderer_of("qwen3").samples(Conversation(messages, SOURCE))
    decode = renderer_of("qwen3").decode
    assert decode(first.token_ids[first.trained]) == "<think>\nOne.\n</think>\n\nb<|im_end|>"
    assert decode(last.token_ids[last.trained]) == "<think>\nTwo.\n</think>\n\nd<|im_end|>"
    assert "One." not in decode(last.token_ids)


def test_steps_with_a_tool_share_a_sample_where_their_thinking_stays() -> None:
    messages = (
        Message("user", "a"),
        Message("assistant", "", thinking="One.", tool_calls=(call({"port": "north"}),)),
        Message("tool", "found", name="find_ship"),
        Message("assistant", "d", thinking="Two."),
    )
    (sample,) = renderer_of("qwen3").samples(Conversation(messages, SOURCE, TOOLS))
    assert len(stretches(sample)) == 2


def test_a_special_token_in_a_call_or_a_tool_is_text() -> None:
    tool = {"type": "function", "function": {"name": "find_ship", "description": "<|im_end|>", "parameters": {}}}
    messages = (
        Message("user", "a"),
        Message("assistant", "", tool_calls=(call({"port": "<|im_start|>"}),)),
        Message("tool", "</s>", name="find_ship"),
        Message("assistant", "an <|im_end|> token"),
    )
    renderer = renderer_of("qwen3")
    sample = renderer.sample(Conversation(messages, SOURCE, (tool,)))
    end, start = renderer.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|im_start|>"])
    ids = sample.token_ids.tolist()
    assert (ids.count(end), ids.count(start)) == (5, 5)  # as many as there are turns, the system's with the tools too
    assert "an <|im_end|> token" in renderer.decode(sample.token_ids)


def test_an_answer_may_begin_with_a_special_token_that_is_spelled() -> None:
    messages = (Message("user", "a"), Message("assistant", "<|im_end|></s>"))
    renderer = renderer_of("chatml")
    sample = renderer.sample(Conversation(messages, SOURCE))
    assert renderer.decode(sample.token_ids[sample.trained]) == "<|im_end|></s><|im_end|>"
    asked = renderer.prompt_ids(messages[:1])
    assert stretches(sample) == [(len(asked), len(sample) - 1)]  # all but the line break at the end


def test_marks_of_thinking_stay_tokens_in_answers_only() -> None:
    messages = (Message("user", "What is <think>?"), Message("assistant", "<think>Hm.</think>A mark."))
    renderer = renderer_of("chatml")
    ids = renderer.sample(Conversation(messages, SOURCE)).token_ids.tolist()
    assert [ids.count(i) for i in renderer.tokenizer.convert_tokens_to_ids(["<think>", "</think>"])] == [1, 1]


def test_thinking_that_a_template_drops_is_trained_all_the_same() -> None:
    jinja = SHAPES["deepseek"].jinja.replace("<｜Assistant｜><think>\n", "<｜Assistant｜>")
    renderer = Renderer(byte_level(), ChatTemplate("drops it", jinja))
    messages = (Message("user", "a"), Message("assistant", "<think>\nHm.\n</think>\n\nb"))
    sample = renderer.sample(Conversation(messages, SOURCE))
    assert renderer.decode(sample.token_ids[sample.trained]) == "<think>\nHm.\n</think>\n\nb<｜end▁of▁sentence｜>"


def test_what_a_template_does_not_show_is_moved_and_said() -> None:
    messages = (
        Message("system", "Be kind."),
        Message("user", "a"),
        Message("assistant", "", thinking="Hm.", tool_calls=(call({"port": "north"}),)),
    )
    conversation = Conversation(messages, SOURCE, TOOLS)
    renderer = renderer_of("gemma")
    text = renderer.decode(renderer.sample(conversation).token_ids)
    assert "user\nBe kind.\n\na<end_of_turn>" in text
    assert '<think>\nHm.\n</think>\n\n<tool_call>\n{"name": "find_ship", "arguments": {"port": "north"}}' in text
    facts = renderer.facts()
    assert facts.unsupported(conversation) == ("system", "tools", "tool calls", "thinking")
    (warning,) = facts.warnings({"tools": 3, "thinking": 0})
    assert warning.startswith("3 rows have tools, which the chat template (gemma) does not show")


def test_facts() -> None:
    def facts(shape: str) -> Facts:
        return renderer_of(shape).facts()

    assert {shape for shape in SHAPES if facts(shape).tools} == {"llama3", "mistral", "qwen3"}
    assert {shape for shape in SHAPES if facts(shape).tool_calls} == {"llama3", "mistral", "qwen3"}
    assert {shape for shape in SHAPES if facts(shape).thinking} == {"qwen3", "deepseek"}
    assert {shape for shape in SHAPES if not facts(shape).system} == {"gemma", "mistral"}
    assert {shape for shape in SHAPES if facts(shape).opens_thinking} == {"deepseek"}
    assert facts("llama3").end_of_turn == ("<|eot_id|>", "<|eom_id|>")
    assert all(facts(shape).end_of_turn[0] == SHAPES[shape].end for shape in SHAPES)
    assert (facts("alpaca").own, facts("alpaca").origin) == (False, "lorafit")


def test_a_dialogue_may_begin_with_a_greeting_that_is_not_trained() -> None:
    messages = (Message("assistant", "Hello.", trained=False), Message("user", "a"), Message("assistant", "b"))
    jinja = SHAPES["chatml"].jinja.replace(
        "{% for", "{% if not messages %}{{ raise_exception('empty') }}{% endif %}{% for", 1
    )
    renderer = Renderer(byte_level(), ChatTemplate("no empty ones", jinja))
    sample = renderer.sample(Conversation(messages, SOURCE))
    assert renderer.decode(sample.token_ids[sample.trained]) == "b<|im_end|>"


def test_a_dialogue_of_which_nothing_is_trained_is_one_sample() -> None:
    messages = (Message("user", "a"), Message("assistant", "b", trained=False))
    (sample,) = renderer_of("chatml").samples(Conversation(messages, SOURCE))
    assert not sample.trained.any()


def test_a_renderer_can_be_sent_to_another_process() -> None:
    renderer, conversation = (
        renderer_of("qwen3"),
        Conversation((Message("user", "</s>"), Message("assistant", "b")), SOURCE),
    )
    sample = renderer.sample(conversation)
    again = pickle.loads(pickle.dumps(renderer)).sample(conversation)
    assert again.token_ids.tolist() == sample.token_ids.tolist()
