"""Four properties of the renderer, over templates of many kinds: what it writes is the tokenizer's own rendering; the
question is the beginning of the training tokens; the answers are trained and nothing else; each turn extends the last.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.template_shapes import KINDS, SHAPES, TOKENIZERS, byte_level
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from lorafit.data.inspect import stretches
from lorafit.data.template import PLAIN_TEMPLATES, ChatTemplate, Renderer, choose_template
from lorafit.errors import DataError
from lorafit.records import Conversation, Message, Source

every_kind = pytest.mark.parametrize("name", KINDS)


def renderer_of(name: str, tokenizer: str = "byte-level") -> Renderer:
    return Renderer(TOKENIZERS[tokenizer](), ChatTemplate(name, KINDS[name].jinja))


def dialogue(*contents: str, system: str | None = None) -> Conversation:
    turns = [Message("assistant" if place % 2 else "user", text) for place, text in enumerate(contents)]
    return Conversation((*([Message("system", system)] if system else []), *turns), Source("rows.json", 1))


def answers_of(conversation: Conversation) -> list[str]:
    return [m.content for m in conversation.messages if m.role == "assistant"]


def trained_texts(renderer: Renderer, conversation: Conversation) -> list[str]:
    samples = renderer.samples(conversation)
    return [text for sample in samples for text, trained in stretches(renderer, sample) if trained]


# Spaces and line breaks round the text, Chinese, characters of several tokens, private-use ones, and template syntax.
contents = st.one_of(
    st.text("ab .:\n", min_size=1, max_size=8),
    st.text("米拉 🦊é\ue000\ue001\u2028{}%|", min_size=1, max_size=6),
    st.sampled_from([" Mira ", "\n\nMira\n", "\n\n\n", "Mira\n\n", "🦊", " 🦊🎉 ", "{{ m }}", "你好", "\ue000\ue001"]),
).map(lambda text: text if text.strip() else f"{text}x{text}")
dialogues = st.lists(st.tuples(contents, contents), min_size=1, max_size=3).map(
    lambda turns: dialogue(*(text for turn in turns for text in turn))
)
examples = settings(max_examples=25, deadline=None)


@every_kind
@examples
@given(conversation=dialogues)
def test_the_rendering_is_the_tokenizers_own(name: str, conversation: Conversation) -> None:
    renderer, own = renderer_of(name), byte_level_with(name)
    turns = [{"role": m.role, "content": m.content} for m in conversation.messages]
    ids = renderer.sample(conversation).token_ids
    assert renderer.decode(ids) == own.apply_chat_template(turns, tokenize=False)
    whole = own.apply_chat_template(turns)["input_ids"]
    questions = [
        own.apply_chat_template(turns[:end], add_generation_prompt=True)["input_ids"] for end in range(1, len(turns), 2)
    ]
    # The tokens are its own too, but where it joins a question to its answer.
    if all(whole[: len(question)] == question for question in questions):
        assert ids.tolist() == whole
        assert renderer.prompt_ids(conversation.prompt) == questions[-1]


def byte_level_with(name: str) -> Any:
    own = byte_level()
    own.chat_template = KINDS[name].jinja
    return own


@every_kind
@examples
@given(question=contents, answer=contents)
def test_what_follows_the_question_is_trained_up_to_the_end_of_the_turn(name: str, question: str, answer: str) -> None:
    renderer, conversation = renderer_of(name), dialogue(question, answer)
    sample, asked = renderer.sample(conversation), renderer.prompt_ids(conversation.prompt)
    assert sample.token_ids[: len(asked)].tolist() == asked
    ids = sample.token_ids.tolist()
    end = ids.index(renderer.tokenizer.convert_tokens_to_ids(KINDS[name].end), len(asked))
    assert sample.trained.tolist() == [len(asked) <= place <= end for place in range(len(ids))]
    assert trained_texts(renderer, conversation)[0].removesuffix(KINDS[name].end).strip().endswith(answer.strip())


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@every_kind
@examples
@given(conversation=dialogues)
def test_every_answer_is_trained_and_nothing_else(name: str, tokenizer: str, conversation: Conversation) -> None:
    texts = trained_texts(renderer_of(name, tokenizer), conversation)
    said = [text.removesuffix(KINDS[name].end).split("</think>")[-1].strip() for text in texts]
    assert said == [answer.strip() for answer in answers_of(conversation)]
    assert all(text.endswith(KINDS[name].end) for text in texts)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.keeps_reasoning])
@examples
@given(turns=st.lists(contents, min_size=4, max_size=4))
def test_each_turn_extends_the_last(name: str, turns: list[str]) -> None:
    renderer = renderer_of(name)
    first, both = renderer.sample(dialogue(*turns[:2])), renderer.sample(dialogue(*turns))
    assert both.token_ids[: len(first)].tolist() == first.token_ids.tolist()
    assert both.trained[: len(first)].tolist() == first.trained.tolist()


@every_kind
def test_a_system_message_is_never_trained(name: str) -> None:
    conversation = dialogue("question", "answer", system="Speak softly.")
    assert "softly" not in "".join(trained_texts(renderer_of(name), conversation))


def test_the_mask_is_that_of_the_generation_block() -> None:
    # transformers' own mask is an independent reference where a template says itself what is generated.
    conversation = dialogue("Who?", "Mira lives here.", "Where?", "小镇。")
    turns = [{"role": m.role, "content": m.content} for m in conversation.messages]
    own = byte_level_with("generation-block").apply_chat_template(
        turns, return_dict=True, return_assistant_tokens_mask=True
    )
    assert renderer_of("generation-block").sample(conversation).trained.tolist() == [
        bool(trained) for trained in own["assistant_masks"]
    ]


def test_reasoning_is_trained_where_the_template_shows_it() -> None:
    conversation = dialogue("Who?", "<think>\nEasy.\n</think>\n\nMira.", "Sure?", "<think>\nYes.\n</think>\n\nQuite.")
    texts = trained_texts(renderer_of("reasoning"), conversation)
    assert texts == ["<think>\nEasy.\n</think>\n\nMira.<|im_end|>", "<think>\nYes.\n</think>\n\nQuite.<|im_end|>"]


def test_a_question_that_opens_the_reasoning_leaves_it_untrained() -> None:
    texts = trained_texts(renderer_of("open-reasoning"), dialogue("Who?", "<think>\nEasy.\n</think>\n\nMira."))
    assert texts == ["Easy.\n</think>\n\nMira.<|im_end|>"]


@pytest.mark.parametrize("name", [name for name in KINDS if name != "space-before-answer"])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_question_begins_as_in_training(name: str, tokenizer: str) -> None:
    assert renderer_of(name, tokenizer).begins_as_asked(dialogue("Who?", "Mira."))


def test_a_space_that_sentencepiece_joins_to_the_answer_is_noticed() -> None:
    # Cutting there would double the space, so the text stays whole, and the data report warns.
    assert not renderer_of("space-before-answer", "sentencepiece").begins_as_asked(dialogue("Who?", "Mira."))


def test_a_block_that_only_the_question_opens_is_closed_by_the_answer() -> None:
    jinja = KINDS["chatml"].jinja.replace("assistant\n", "assistant\n<think>\n")
    renderer, conversation = Renderer(byte_level(), ChatTemplate("dropped reasoning", jinja)), dialogue("Who?", "Mira.")
    assert renderer.begins_as_asked(conversation)
    assert trained_texts(renderer, conversation) == ["\n</think>\n\nMira.<|im_end|>"]


@every_kind
def test_the_end_of_a_turn_stops_generation(name: str) -> None:
    renderer = renderer_of(name)
    expected = {renderer.tokenizer.convert_tokens_to_ids(token) for token in (KINDS[name].end, "</s>")}
    assert set(renderer.stop_ids) == expected
    assert renderer.ends_with_stop(dialogue("Who?", "Mira."))


def test_a_template_without_an_end_of_turn_is_noticed() -> None:
    jinja = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    renderer = Renderer(byte_level(), ChatTemplate("endless", jinja))
    assert not renderer.ends_with_stop(dialogue("Who?", "Mira."))
    assert renderer.stop_ids == [renderer.tokenizer.eos_token_id]


def test_a_template_that_rewrites_answers_is_refused() -> None:
    jinja = "{% for m in messages %}{{ m.role }}: {{ m.content | reverse }}</s>{% endfor %}"
    renderer = Renderer(byte_level(), ChatTemplate("backwards", jinja))
    with pytest.raises(DataError, match=r"rows\.json, row 1: .*backwards"):
        renderer.sample(dialogue("Who?", "Mira."))


def test_a_template_that_refuses_says_so_and_where() -> None:
    renderer = Renderer(byte_level(), ChatTemplate("strict", SHAPES["gemma"].jinja))
    turns = [Message("user", "Who?"), Message("user", "Where?"), Message("assistant", "Mira.")]
    with pytest.raises(DataError, match=r"strict.* turns user, user, assistant: roles must alternate"):
        renderer.text(turns)
    with pytest.raises(DataError, match=r"^rows\.json, row 1: .*roles must alternate"):
        renderer.sample(Conversation(tuple(turns), Source("rows.json", 1)))


def test_auto_is_the_tokenizers_own_template_or_a_plain_one(tokenizer: Any, chat_tokenizer: Any) -> None:
    assert choose_template(chat_tokenizer).jinja == chat_tokenizer.chat_template
    plain = choose_template(tokenizer)
    assert (plain.name, plain.jinja) == ("human-assistant", PLAIN_TEMPLATES["human-assistant"])
    assert plain.stops == ("\nHuman:",)


def test_a_template_may_be_a_file(tokenizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text("{{ messages }}", encoding="utf-8")
    assert choose_template(tokenizer, str(path)) == ChatTemplate(str(path), "{{ messages }}")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        choose_template(tokenizer, str(path))


def test_an_unknown_template_lists_the_known_ones(tokenizer: Any) -> None:
    with pytest.raises(DataError, match="'vicuna' is neither a file nor one of auto, human-assistant, alpaca, chatml"):
        choose_template(tokenizer, "vicuna")


def test_of_several_templates_the_default_one_is_taken() -> None:
    several = byte_level.__wrapped__()
    several.chat_template = {"default": "one", "tool_use": "two"}
    assert choose_template(several).jinja == "one"
    several.chat_template = {"rag": "one", "tool_use": "two"}
    with pytest.raises(DataError, match=r"several chat templates \(rag, tool_use\)"):
        choose_template(several)


def test_chatml_needs_its_tokens() -> None:
    core = Tokenizer(models.WordLevel({"a": 0, "<|im_start|>": 1, "</s>": 2}, unk_token="a"))
    without = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>")
    with pytest.raises(DataError, match="which this tokenizer does not have"):
        choose_template(without, "chatml")


def test_a_plain_template_begins_as_the_tokenizer_begins() -> None:
    # Llama puts <s> before every text; a template renders without special tokens, so it has to write it itself.
    beginning = byte_level.__wrapped__()
    assert not choose_template(beginning, "alpaca").jinja.startswith("{{ bos_token }}")
    beginning.add_bos_token = True
    if beginning("a").input_ids[0] != beginning.bos_token_id:
        from tokenizers.processors import TemplateProcessing

        beginning.backend_tokenizer.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", beginning.bos_token_id)]
        )
    assert choose_template(beginning, "alpaca").jinja == "{{ bos_token }}" + PLAIN_TEMPLATES["alpaca"]


def test_a_plain_template_needs_an_end_of_text_token() -> None:
    core = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.raises(DataError, match="which this tokenizer lacks"):
        choose_template(PreTrainedTokenizerFast(tokenizer_object=core), "alpaca")
