"""A transformers tokenizer as GGUF's vocabulary: byte-level BPE ("gpt2") or SentencePiece's BPE ("llama").

Everything comes from the fast tokenizer's own definition, so a folder with only tokenizer.json will do; transformers
builds the same from a tokenizer.model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lorafit.errors import ExportError
from lorafit.export.gguf.pretokenizers import choose_pretokenizer

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
SPACE = "▁"


@dataclass(slots=True)
class Vocabulary:
    """kind: "gpt2" or "llama"; one token, type and (for llama) score each row of the embedding. remarks: for people."""

    kind: str
    tokens: list[str]
    types: list[int]
    pre: str = "default"
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    space_prefix: bool = False
    remarks: list[str] = field(default_factory=list)


def read_vocabulary(tokenizer: Any, rows: int, texts: Sequence[str] = ()) -> Vocabulary:
    """The vocabulary for a model with `rows` embedding rows; rows without a token are filled up with unused ones.

    `texts` are tried where llama.cpp has no pre-tokenizer of this very definition. Raises ExportError for a tokenizer
    that llama.cpp cannot be told about, or that has more tokens than the model rows.
    """
    if not tokenizer.is_fast:
        raise ExportError(f"{type(tokenizer).__name__} is a slow tokenizer; GGUF export reads tokenizer.json.")
    core = tokenizer.backend_tokenizer
    content = json.loads(core.to_str())
    model = content["model"]
    tokens = _tokens(core.get_vocab(with_added_tokens=True), rows)
    if model["type"] == "BPE" and _is_byte_level(content):
        choice = choose_pretokenizer(core, texts)
        found = Vocabulary("gpt2", tokens, [], choice.name)
        found.merges = [" ".join(pair) for pair in _merges(model)]
        found.remarks = [choice.remark] if choice.remark else []
    elif model["type"] == "BPE" and model.get("byte_fallback"):
        found = Vocabulary("llama", tokens, [], space_prefix=_prefixes_space(content))
        found.scores = _scores(tokens, _merges(model))
        if _only_first(content):
            found.remarks = [
                "the tokenizer puts a space before the first word only; llama.cpp puts one after each special token"
            ]
    else:
        raise ExportError(
            f"GGUF export knows byte-level BPE and SentencePiece BPE tokenizers with byte fallback, and this is a "
            f"{model['type']} one. Use `--to merged` with transformers or vLLM."
        )
    found.types = _types(found, tokenizer, content)
    return found


def add_vocabulary(
    writer: Any, vocabulary: Vocabulary, tokenizer: Any, stop_ids: Sequence[int], template: str | None
) -> None:
    """Write the tokenizer's keys with gguf's writer. `stop_ids` end an answer besides the end-of-text token."""
    writer.add_tokenizer_model(vocabulary.kind)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    writer.add_token_types(vocabulary.types)
    if vocabulary.kind == "gpt2":
        writer.add_token_merges(vocabulary.merges)
    else:
        writer.add_add_space_prefix(vocabulary.space_prefix)
    for name in ("bos", "eos", "unk", "pad"):
        token = getattr(tokenizer, f"{name}_token_id")
        if token is not None:
            getattr(writer, f"add_{name}_token_id")(token)
    turns = [token for token in stop_ids if token != tokenizer.eos_token_id]
    if turns:
        writer.add_eot_token_id(turns[0])
    begins, ends = adds_bos_eos(tokenizer)
    writer.add_add_bos_token(begins)
    writer.add_add_eos_token(ends)
    if template:
        writer.add_chat_template(template)


def adds_bos_eos(tokenizer: Any) -> tuple[bool, bool]:
    """Whether the tokenizer itself puts the begin-of-text token before a text, and the end-of-text token behind it."""
    ids = tokenizer("a").input_ids
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    return bos is not None and ids[:1] == [bos], eos is not None and len(ids) > 1 and ids[-1] == eos


def _tokens(vocab: dict[str, int], rows: int) -> list[str]:
    if max(vocab.values()) >= rows:
        raise ExportError(
            f"The tokenizer has tokens up to number {max(vocab.values())}, the model {rows} rows in its embedding: "
            "tokens were added without the embedding being resized."
        )
    tokens = [f"[PAD{row}]" for row in range(rows)]
    for token, row in vocab.items():
        tokens[row] = token
    return tokens


def _types(found: Vocabulary, tokenizer: Any, content: dict[str, Any]) -> list[int]:
    from gguf import TokenType

    used = set(tokenizer.get_vocab().values())
    types = [TokenType.NORMAL if row in used else TokenType.UNUSED for row in range(len(found.tokens))]
    if found.kind == "llama":
        for row, token in enumerate(found.tokens):
            if BYTE.fullmatch(token):
                types[row] = TokenType.BYTE
    special = set(tokenizer.all_special_ids)
    for token in content["added_tokens"]:
        row = token["id"]
        types[row] = TokenType.CONTROL if token["special"] or row in special else TokenType.USER_DEFINED
        if found.kind == "llama" and types[row] == TokenType.USER_DEFINED:
            # llama.cpp looks for these in the text as it is written.
            found.tokens[row] = found.tokens[row].replace(SPACE, " ")
    if found.kind == "llama" and tokenizer.unk_token_id is not None:
        types[tokenizer.unk_token_id] = TokenType.UNKNOWN
    return [int(one) for one in types]


def _scores(tokens: list[str], merges: list[tuple[str, str]]) -> list[float]:
    """llama.cpp joins the pair whose token has the best score, tokenizers the pair whose merge stands first. Merges are
    in the order of the tokens' scores, so minus the place of its first merge is a score that gives the same order."""
    place: dict[str, int] = {}
    for number, (left, right) in enumerate(merges):
        place.setdefault(left + right, number)
    return [-float(place.get(token, len(merges))) for token in tokens]


def _merges(model: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
    return [(left, right) for left, right in pairs]


def _is_byte_level(content: dict[str, Any]) -> bool:
    return any(part["type"] == "ByteLevel" for part in _parts(content, "pre_tokenizer", "pretokenizers"))


def _prefixes_space(content: dict[str, Any]) -> bool:
    return any(part["type"] == "Prepend" for part in _parts(content, "normalizer", "normalizers")) or any(
        part["type"] == "Metaspace" and part["prepend_scheme"] != "never"
        for part in _parts(content, "pre_tokenizer", "pretokenizers")
    )


def _only_first(content: dict[str, Any]) -> bool:
    return any(
        part["type"] == "Metaspace" and part["prepend_scheme"] == "first"
        for part in _parts(content, "pre_tokenizer", "pretokenizers")
    )


def _parts(content: dict[str, Any], name: str, members: str) -> list[dict[str, Any]]:
    definition = content.get(name)
    if definition is None:
        return []
    parts: list[dict[str, Any]] = definition[members] if definition["type"] == "Sequence" else [definition]
    return parts
