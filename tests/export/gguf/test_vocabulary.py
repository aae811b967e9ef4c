"""Both kinds of tokenizers, special and added tokens, begin and end of text: llama.cpp and transformers cut alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from tests.conftest import TEXT
from tests.export.gguf.shapes import SIZES, made
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from lorafit.errors import ExportError
from lorafit.export.gguf.engine import ask_llama_cpp
from lorafit.export.gguf.vocabulary import adds_bos_eos, read_vocabulary
from lorafit.export.gguf.write import convert

pytest.importorskip("gguf", reason="GGUF export needs the gguf package")

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def sentence_piece(**settings: Any) -> transformers.PreTrainedTokenizerFast:
    """What transformers makes of Llama 2's kind of tokenizer: BPE on characters, bytes for what is unknown."""
    core = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    steps = [normalizers.Replace(" ", "▁")]
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), *steps] if settings.get("space", True) else steps)
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    # Words for the training alone: merges across words are not what SentencePiece learns.
    core.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=460, special_tokens=["<unk>", "<s>", "</s>", *BYTES], limit_alphabet=80, show_progress=False
    )
    core.train_from_iterator(TEXT, trainer)
    core.pre_tokenizer = None
    core.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    made_from = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    made_from.add_tokens([AddedToken("<note>", normalized=False)])
    made_from.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    return made_from


ASKED = [
    "The harbour town wakes before the sun",
    "  two spaces, and  more ",
    "小镇的早晨, ünknown letters ☃ 😀",
    "a <note> here",
    "<|turn|>Human",
    "line\n\nbreak",
]


@pytest.mark.parametrize("space", [True, False])
def test_a_sentence_piece_tokenizer_without_its_model_file(tmp_path: Path, space: bool) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp comes in the xllamacpp wheel")
    tokenizer = sentence_piece(space=space)
    folder = made(tmp_path / "m", transformers.LlamaConfig(**SIZES), tokenizer)
    convert(folder, tmp_path / "model.gguf", "f16", tokenizer)
    heard = ask_llama_cpp(tmp_path / "model.gguf", [], ASKED)
    assert heard.tokens == tokenizer(ASKED, add_special_tokens=False).input_ids


def test_special_and_added_tokens_of_byte_level_bpe(chat_tokenizer: Any, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp comes in the xllamacpp wheel")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(chat_tokenizer.backend_tokenizer.to_str()), eos_token="<|im_end|>"
    )
    tokenizer.add_tokens(["<note>", "柳树街"])
    folder = made(tmp_path / "m", transformers.LlamaConfig(**SIZES), tokenizer)
    convert(folder, tmp_path / "model.gguf", "f16", tokenizer)
    texts = ["<|im_start|>user\nwhere<|im_end|>\n", "a <note> b", "在柳树街上"]
    heard = ask_llama_cpp(tmp_path / "model.gguf", [], texts)
    assert heard.tokens == tokenizer(texts, add_special_tokens=False).input_ids


def test_begin_of_text_is_said_where_the_tokenizer_adds_it(tokenizer: Any, tmp_path: Path) -> None:
    from gguf import GGUFReader

    assert adds_bos_eos(tokenizer) == (False, False)
    spm = sentence_piece()
    assert adds_bos_eos(spm) == (True, False)
    folder = made(tmp_path / "m", transformers.LlamaConfig(**SIZES), spm)
    convert(folder, tmp_path / "model.gguf", "f16", spm, stop_ids=[2, 461], template="{{ messages }}")
    fields = GGUFReader(tmp_path / "model.gguf").fields
    values = {
        name: fields[f"tokenizer.{name}"].contents()
        for name in (
            "ggml.add_bos_token",
            "ggml.bos_token_id",
            "ggml.eos_token_id",
            "ggml.eot_token_id",
            "chat_template",
        )
    }
    assert list(values.values()) == [True, 1, 2, 461, "{{ messages }}"]


def test_rows_without_a_token_are_unused_ones(tokenizer: Any) -> None:
    found = read_vocabulary(tokenizer, 520)
    assert found.tokens[512:] == [f"[PAD{row}]" for row in range(512, 520)]
    assert set(found.types[512:]) == {5} and found.types[0] == 3 and found.types[400] == 1


def test_more_tokens_than_rows_are_refused(tokenizer: Any) -> None:
    with pytest.raises(ExportError, match="without the embedding being resized"):
        read_vocabulary(tokenizer, 460)


def test_another_kind_of_tokenizer_is_refused() -> None:
    core = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    with pytest.raises(ExportError, match="WordPiece"):
        read_vocabulary(transformers.PreTrainedTokenizerFast(tokenizer_object=core), 8)
