"""The pre-tokenizer is named by the tokenizer's own definition, or found by trial, or refused; llama.cpp agrees."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
import transformers
from tests.export.gguf.shapes import SIZES, made
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from lorafit.errors import ExportError
from lorafit.export.gguf.engine import ask_llama_cpp
from lorafit.export.gguf.pretokenizers import KNOWN, PROBES, PreTokenizer, choose_pretokenizer
from lorafit.export.gguf.write import convert

TEXT = [*PROBES, "a 12 123 1234 12345 the the then 小镇 小镇的 早晨 aBc ABc don't DON'T \n\n\n   x"] * 3


def trained(*parts: Any, size: int = 900, whole_words: bool = False) -> Tokenizer:
    core = Tokenizer(models.BPE(ignore_merges=whole_words))
    core.pre_tokenizer = pre_tokenizers.Sequence([*parts])
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(TEXT, trainer)
    return core


def cutting_as(known: PreTokenizer) -> Tokenizer:
    splits = [pre_tokenizers.Split(Regex(one), "isolated") for one in known.expressions]
    return trained(
        *splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), whole_words=known.whole_words
    )


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_a_known_definition_is_named_and_llama_cpp_cuts_alike(known: PreTokenizer, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="GGUF export needs the gguf package")
    pytest.importorskip("xllamacpp", reason="llama.cpp comes in the xllamacpp wheel")
    core = cutting_as(known)
    choice = choose_pretokenizer(core)
    assert (choice.name, choice.remark) == (known.name, known.limit)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>")
    folder = made(tmp_path / "m", transformers.LlamaConfig(**{**SIZES, "vocab_size": 900}), tokenizer)
    file = tmp_path / "model.gguf"
    convert(folder, file, "f16", tokenizer)
    heard = ask_llama_cpp(file, [], PROBES)
    wanted = tokenizer(list(PROBES), add_special_tokens=False).input_ids
    differing = [text for text, one, other in zip(PROBES, heard.tokens, wanted, strict=True) if one != other]
    # What llama.cpp is known to cut otherwise, and nothing else.
    assert bool(differing) == (known.limit is not None)
    assert all(any(unicodedata.category(letter)[0] == "M" for letter in text) for text in differing)


def test_gpt2_and_smollm_are_known_as_their_own_tokenizers_write_them() -> None:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert choose_pretokenizer(trained(byte_level)).name == "gpt-2"
    digits = pre_tokenizers.Digits(individual_digits=True)
    assert choose_pretokenizer(trained(digits, byte_level)).name == "smollm"


def test_another_definition_that_cuts_alike_is_found_by_trial_and_said() -> None:
    # Single characters of Chinese by themselves: what a gpt-2 cut leaves together was never merged.
    core = trained(
        pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False), size=400
    )
    choice = choose_pretokenizer(core)
    assert choice.name == "gpt-2" and choice.remark is not None and "gpt-2" in choice.remark


def test_a_definition_that_nothing_cuts_alike_is_refused() -> None:
    core = trained(
        pre_tokenizers.Split(Regex(r"...."), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    )
    with pytest.raises(ExportError, match=r"None of llama\.cpp's pre-tokenizers"):
        choose_pretokenizer(core)
