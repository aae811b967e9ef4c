"""Four properties of the renderer, over templates of many kinds: what it writes is the tokenizer's own rendering; the
question is the beginning of the training tokens; the answers are trained and nothing else; each turn extends the last.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lorafit.data.inspect import stretches
from lorafit.data.template import PLAIN_TEMPLATES, ChatTemplate, Renderer, choose_template
from lorafit.errors import DataError
from lorafit.records import Conversation, Message, Source

SPECIAL = [
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<think>",
    "</think>",
]
# Line breaks in runs and a space before a word, so that they become tokens that may join a prompt to its answer.
TEXT = [
    "Assistant: Mira lives here.\n\n\n",
    "Human: where does Mira live?\n\n",
    "a b\n\n",
    "小镇的早晨很安静。\n\n",
] * 4


@dataclass(frozen=True)
class Kind:
    """A template; the token that ends a turn; whether earlier answers keep their reasoning."""

    jinja: str
    end: str
    keeps_reasoning: bool = True


TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
# As Qwen3: reasoning is shown in the last answer only, in an empty block if there is none.
REASONING = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% set content = m.content.split('</think>')[-1].lstrip('\n') %}"
    "{% set thought = m.content.split('</think>')[0].split('<think>')[-1] if '</think>' in m.content else '' %}"
    "<|im_start|>assistant\n{% if loop.last %}<think>\n{{ thought.strip('\n') }}\n</think>\n\n{% endif %}"
    "{{ content }}<|im_end|>\n"
    "{% else %}" + TURN + "{% endif %}{% endfor %}"
)
KINDS = {
    "chatml": Kind("{% for m in messages %}" + TURN + "{% endfor %}" + ASK, "<|im_end|>"),
    "default-system": Kind(
        "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are kind.<|im_end|>\n{% endif %}"
        "{% for m in messages %}" + TURN + "{% endfor %}" + ASK,
        "<|im_end|>",
    ),
    "trimming": Kind(
        ("{% for m in messages %}" + TURN + "{% endfor %}" + ASK).replace("m.content", "m.content | trim"),
        "<|im_end|>",
    ),
    "reasoning": Kind(REASONING + ASK, "<|im_end|>", keeps_reasoning=False),
    # As Qwen3.5: the question opens the reasoning, and the answer closes it.
    "open-reasoning": Kind(REASONING + ASK.replace("assistant\n", "assistant\n<think>\n"), "<|im_end|>", False),
    "closed-reasoning": Kind(
        REASONING + ASK.replace("assistant\n", "assistant\n<think>\n\n</think>\n\n"), "<|im_end|>", False
    ),
    "llama3-like": Kind(
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
        "{{ m.content | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        "<|eot_id|>",
    ),
    "gemma-like": Kind(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
        "{% set loop_messages = messages[1:] %}{% else %}{% set first = '' %}{% set loop_messages = messages %}"
        "{% endif %}{% for m in loop_messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ first if loop.first else '' }}{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        "<end_of_turn>",
    ),
    "llama2-like": Kind(
        "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content }} [/INST]"
        "{% elif m.role == 'assistant' %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}",
        "</s>",
    ),
    # A space after the colon, as people write it by hand: tokenizers join it to the answer's first word.
    "space-before-answer": Kind(
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}{{ eos_token }}"
        "{% else %}Human: {{ m.content }}\n\nAssistant: {% endif %}{% endfor %}",
        "</s>",
    ),
    "generation-block": Kind(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
        "<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}" + ASK,
        "<|im_end|>",
    ),
    "human-assistant": Kind(PLAIN_TEMPLATES["human-assistant"], "</s>"),
    "alpaca": Kind(PLAIN_TEMPLATES["alpaca"], "</s>"),
    "plain-chatml": Kind(PLAIN_TEMPLATES["chatml"], "<|im_end|>"),
}
every_kind = pytest.mark.parametrize("name", KINDS)


@functools.cache
def byte_level() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


@functools.cache
def sentencepiece() -> PreTrainedTokenizerFast:
    """As Llama 2 has it: a space before every text, and bytes for the characters that have no token."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *map(chr, range(33, 127))]
    merges = [("▁", "M"), ("▁M", "i"), ("▁Mi", "r"), ("▁Mir", "a"), ("▁", "▁"), ("i", "s")]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, *map("".join, merges)])}
    core = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>"))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


TOKENIZERS = {"byte-level": byte_level, "sentencepiece": sentencepiece}


def renderer_of(name: str, tokenizer: str = "byte-level") -> Renderer:
    return Renderer(TOKENIZERS[tokenizer](), ChatTemplate(name, KINDS[name].jinja))


def dialogue(*contents: str, system: str | None = None) -> Conversation:
    turns = [Message("assistant" if place % 2 else "user", text) for place, text in enumerate(contents)]
    return Conversation((*([Message("system", system)] if system else []), *turns), Source("rows.json", 1))


def answers_of(conversation: Conversation) -> list[str]:
    return [m.content for m in conversation.messages if m.role == "assistant"]


def trained_texts(renderer: Renderer, conversation: Conversation) -> list[str]:
    return [text for text, trained in stretches(renderer, renderer.sample(conversation)) if trained]


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
    assert renderer.prompt_ids(conversation.prompt) == questions[-1]
    # The tokens are its own too, but where it joins a question to its answer.
    if all(whole[: len(question)] == question for question in questions):
        assert ids.tolist() == whole


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
    assert texts == ["Mira.<|im_end|>", "<think>\nYes.\n</think>\n\nQuite.<|im_end|>"]


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


def test_a_question_that_training_never_shows_is_noticed() -> None:
    jinja = KINDS["chatml"].jinja.replace("assistant\n", "assistant\n<think>\n")
    renderer = Renderer(byte_level(), ChatTemplate("dropped reasoning", jinja))
    assert not renderer.begins_as_asked(dialogue("Who?", "Mira."))


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


def test_a_template_that_refuses_says_so() -> None:
    jinja = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    renderer = Renderer(byte_level(), ChatTemplate("strict", jinja))
    with pytest.raises(DataError, match=r"strict.* turns system, user, assistant: no system here"):
        renderer.text(dialogue("Who?", "Mira.", system="Be kind.").messages)


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
