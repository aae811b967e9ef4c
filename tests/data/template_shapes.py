"""Chat templates of many kinds, and two tokenizers that know their special tokens."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lorafit.data.template import PLAIN_TEMPLATES

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
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "<|eom_id|>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<｜end▁of▁sentence｜>",
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
    """A template, the token that ends a turn, and what the template does with what it is handed.

    keeps_reasoning: whether earlier answers keep it; kept: what it makes of an answer.
    """

    jinja: str
    end: str
    keeps_reasoning: bool = True
    kept: Callable[[str], str] = str
    tools: bool = False
    thinking: bool = False


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

# Shapes of templates in use, in our own words, with the special tokens that they have.
QWEN3 = Kind(
    "{% set first = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% if tools or first %}<|im_start|>system\n{{ first }}"
    "{% if tools %}\n\nTools:{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}{% endif %}<|im_end|>\n{% endif %}"
    "{% set seen = namespace(asked=0) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set seen.asked = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}"
    "{% if m.role == 'user' %}<|im_start|>user\n{{ m.content }}<|im_end|>\n"
    "{% elif m.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ m.content }}\n</tool_response><|im_end|>\n"
    "{% elif m.role == 'assistant' %}"
    "{% set thought = m.reasoning_content if m.reasoning_content is string else '' %}"
    "<|im_start|>assistant\n"
    "{% if loop.index0 > seen.asked and (loop.last or thought) %}<think>\n{{ thought }}\n</think>\n\n{% endif %}"
    "{{ m.content }}"
    "{% for call in m.tool_calls %}\n<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}" + ASK,
    "<|im_end|>",
    keeps_reasoning=False,
    tools=True,
    thinking=True,
)
# The question opens the thinking, and no answer shows any.
DEEPSEEK = Kind(
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}"
    "{% elif m.role == 'user' %}<｜User｜>{{ m.content }}"
    "{% else %}<｜Assistant｜>{{ m.content.split('</think>')[-1].lstrip('\n') }}<｜end▁of▁sentence｜>"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}",
    "<｜end▁of▁sentence｜>",
    keeps_reasoning=False,
    kept=lambda text: text.lstrip("\n"),
    thinking=True,
)
MISTRAL = Kind(
    "{{ bos_token }}{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "{% for m in messages %}"
    "{% if m.role == 'user' %}"
    "{% if loop.nextitem is defined and loop.nextitem.role == 'user' %}"
    "{{ raise_exception('roles must take turns') }}{% endif %}[INST] {{ m.content }}[/INST]"
    "{% elif m.role == 'assistant' and m.tool_calls %}[TOOL_CALLS]["
    "{% for call in m.tool_calls %}{% if call.id | length != 9 %}{{ raise_exception('ids have length 9') }}{% endif %}"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}, "id": "{{ call.id }}"}'
    "{% if not loop.last %}, {% endif %}{% endfor %}]{{ eos_token }}"
    "{% elif m.role == 'assistant' %} {{ m.content }}{{ eos_token }}"
    "{% elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.tool_call_id }}: {{ m.content }}[/TOOL_RESULTS]"
    "{% else %}{{ raise_exception('only user, assistant and tool') }}{% endif %}{% endfor %}",
    "</s>",
    kept=" {}".format,
    tools=True,
)
GEMMA = Kind(
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
    "<end_of_turn>",
    kept=str.strip,
)
# A call of a tool ends with a token of its own.
LLAMA3 = Kind(
    "{{ bos_token }}{% if tools %}<|start_header_id|>system<|end_header_id|>\n\n{{ tools | tojson }}<|eot_id|>"
    "{% endif %}"
    "{% for m in messages %}<|start_header_id|>{{ 'ipython' if m.role == 'tool' else m.role }}<|end_header_id|>\n\n"
    "{% if m.tool_calls %}{% set call = m.tool_calls[0].function %}"
    '{"name": "{{ call.name }}", "parameters": {{ call.arguments | tojson }}}<|eom_id|>'
    "{% else %}{{ m.content | trim }}<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    "<|eot_id|>",
    kept=str.strip,
    tools=True,
)
SHAPES = {
    "chatml": KINDS["chatml"],
    "llama3": LLAMA3,
    "mistral": MISTRAL,
    "gemma": GEMMA,
    "qwen3": QWEN3,
    "deepseek": DEEPSEEK,
    "alpaca": KINDS["alpaca"],
    "human-assistant": replace(KINDS["human-assistant"], kept=" {}".format),
}


@functools.cache
def byte_level() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=411,
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
