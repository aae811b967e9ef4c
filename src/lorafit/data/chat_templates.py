"""Which chat template a tokenizer is used with: its own, a file, or a plain one for base models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorafit.errors import DataError

OWN = "the tokenizer's own"

# For base models, which bring no template. Every answer ends with the end-of-text token, the one such a model knows.
# There is no space after "Assistant:": it belongs to the answer's first word, where tokenizers put it. transformers
# drops a line break that follows a block, so those between turns are written as an expression.
PLAIN_TEMPLATES = {
    "human-assistant": (
        "{% for message in messages %}"
        "{% if message.role == 'system' %}{{ message.content }}\n\n"
        "{% elif message.role == 'user' %}Human: {{ message.content }}\n\nAssistant:"
        "{% else %} {{ message.content }}{{ eos_token }}{% if not loop.last %}{{ '\n\n' }}{% endif %}{% endif %}"
        "{% endfor %}"
    ),
    "alpaca": (
        "{% for message in messages %}"
        "{% if message.role == 'system' %}{{ message.content }}\n\n"
        "{% elif message.role == 'user' %}### Instruction:\n{{ message.content }}\n\n### Response:\n"
        "{% else %}{{ message.content }}{{ eos_token }}{% if not loop.last %}{{ '\n\n' }}{% endif %}{% endif %}"
        "{% endfor %}"
    ),
    "chatml": (
        "{% for message in messages %}"
        "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
        "{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
}

# How a user's turn begins in a plain template: a base that goes on to write the next question is cut there.
# ChatML needs none, as it ends a turn with a token of its own.
PLAIN_STOPS = {"human-assistant": "\nHuman:", "alpaca": "\n### Instruction:"}


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A Jinja chat template and where it came from. `stops` are texts that end an answer besides the end-of-turn."""

    name: str
    jinja: str
    stops: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Where it came from, for people."""
        if self.name == OWN:
            return "the model's tokenizer"
        return "lorafit" if self.name in PLAIN_TEMPLATES else f"the file {self.name}"


def choose_template(tokenizer: Any, setting: str = "auto") -> ChatTemplate:
    """The template for a tokenizer, by the recipe's `data.template`.

    Raises DataError for a name that is neither a plain template nor a file, or that the tokenizer cannot express.
    """
    if setting == "auto":
        if tokenizer.chat_template:
            return ChatTemplate(OWN, _single(tokenizer.chat_template))
        setting = "human-assistant"
    if setting in PLAIN_TEMPLATES:
        return _plain(tokenizer, setting)
    path = Path(setting)
    if path.is_file():
        try:
            return ChatTemplate(str(path), path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"data.template: {path} cannot be read: {error}") from error
    raise DataError(
        f"data.template: {setting!r} is neither a file nor one of auto, {', '.join(PLAIN_TEMPLATES)}.\n"
        "Use one of these, or the path of a Jinja template."
    )


def _single(chat_template: str | dict[str, str]) -> str:
    # A few tokenizers ship several named templates; transformers renders "default" when none is named.
    if isinstance(chat_template, str):
        return chat_template
    if "default" not in chat_template:
        raise DataError(
            f"data.template: this tokenizer has several chat templates ({', '.join(chat_template)}), none of them the "
            "default one.\nWrite the one you want to a file and name it with data.template."
        )
    return chat_template["default"]


def _plain(tokenizer: Any, name: str) -> ChatTemplate:
    jinja = PLAIN_TEMPLATES[name]
    if name == "chatml":
        if not {"<|im_start|>", "<|im_end|>"} <= tokenizer.get_vocab().keys():
            raise DataError(
                "data.template: chatml needs the tokens <|im_start|> and <|im_end|>, which this tokenizer does not "
                "have.\nUse human-assistant or alpaca."
            )
    elif tokenizer.eos_token is None:
        raise DataError(
            f"data.template: {name} ends answers with the end-of-text token, which this tokenizer lacks.\n"
            "Give tokenizer_config.json an eos_token, or name a Jinja file with data.template."
        )
    if tokenizer.bos_token_id is not None and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]:
        jinja = "{{ bos_token }}" + jinja
    return ChatTemplate(name, jinja, (PLAIN_STOPS[name],) if name in PLAIN_STOPS else ())
