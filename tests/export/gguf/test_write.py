"""The tensors of a file: their formats, from shards, and nothing left behind where something is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.export.gguf.shapes import opened

from lorafit.errors import ExportError
from lorafit.export.gguf import quantizer
from lorafit.export.gguf.write import convert

gguf = pytest.importorskip("gguf", reason="GGUF export needs the gguf package")


def tensors(file: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}


def test_four_bits_where_blocks_divide_and_sixteen_elsewhere(
    shapes: Callable[[str], Path], tokenizer: Any, tmp_path: Path
) -> None:
    written = convert(shapes("llama"), tmp_path / "m.gguf", "q4_0", tokenizer)
    kinds = {name: tensor.tensor_type.name for name, tensor in tensors(tmp_path / "m.gguf").items()}
    assert kinds["blk.0.attn_q.weight"] == "Q4_0" and kinds["token_embd.weight"] == "Q8_0"
    assert kinds["blk.0.ffn_down.weight"] == "F16" and kinds["blk.0.attn_norm.weight"] == "F32"
    assert written.wide == ("blk.0.ffn_down.weight", "blk.1.ffn_down.weight")
    assert "output.weight" not in kinds  # tied


def test_sharded_weights_give_the_same_file(shapes: Callable[[str], Path], tokenizer: Any, tmp_path: Path) -> None:
    convert(shapes("gpt2"), tmp_path / "whole.gguf", "f16", tokenizer)
    sharded = tmp_path / "gpt2"
    opened(shapes("gpt2")).save_pretrained(sharded, max_shard_size="30KB")
    tokenizer.save_pretrained(sharded)
    assert len(list(sharded.glob("*.safetensors"))) > 2
    convert(sharded, tmp_path / "shards.gguf", "f16", tokenizer)
    whole, shards = tensors(tmp_path / "whole.gguf"), tensors(tmp_path / "shards.gguf")
    assert whole.keys() == shards.keys()
    assert all((whole[name].data == shards[name].data).all() for name in whole)


def test_weights_are_what_they_were(shapes: Callable[[str], Path], tokenizer: Any, tmp_path: Path) -> None:
    convert(shapes("gpt2"), tmp_path / "m.gguf", "f32", tokenizer)
    found = tensors(tmp_path / "m.gguf")
    model = opened(shapes("gpt2")).transformer.h[1]
    assert torch.equal(torch.tensor(found["blk.1.ffn_down.weight"].data), model.mlp.c_proj.weight.T)
    assert torch.equal(torch.tensor(found["blk.1.attn_qkv.bias"].data), model.attn.c_attn.bias)


@pytest.mark.parametrize(
    ("harm", "said"), [("missing", "lacks 3 weights"), ("cut", "cannot be read"), ("narrow", r"is \[30\]; .* \[32\]")]
)
def test_a_damaged_folder_is_said_and_nothing_stays(
    shapes: Callable[[str], Path], tokenizer: Any, tmp_path: Path, harm: str, said: str
) -> None:
    broken = tmp_path / "broken"
    opened(shapes("qwen3")).save_pretrained(broken)
    shard = broken / "model.safetensors"
    if harm == "missing":
        save_file({name: w for name, w in load_file(shard).items() if "layers.1.mlp" not in name}, shard)
    elif harm == "narrow":
        save_file({**load_file(shard), "model.norm.weight": torch.ones(30)}, shard)
    else:
        shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ExportError, match=said):
        convert(broken, tmp_path / "m.gguf", "f16", tokenizer)
    assert not (tmp_path / "m.gguf").exists()


def test_values_beyond_float16_are_refused(shapes: Callable[[str], Path], tokenizer: Any, tmp_path: Path) -> None:
    model = opened(shapes("qwen3"))
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = 1e5
    model.save_pretrained(tmp_path / "large")
    with pytest.raises(ExportError, match=r"up_proj\.weight holds values beyond float16"):
        convert(tmp_path / "large", tmp_path / "m.gguf", "f16", tokenizer)
    assert not (tmp_path / "m.gguf").exists()
    convert(tmp_path / "large", tmp_path / "m.gguf", "bf16", tokenizer)


def test_k_quants_need_llama_cpps_own_quantiser(
    shapes: Callable[[str], Path], tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(quantizer, "PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(ExportError, match=r"llama-quantize.*q8_0"):
        convert(shapes("llama"), tmp_path / "m.gguf", "q4_k_m", tokenizer)


def test_a_quantiser_on_path_is_run_on_a_float16_file(
    shapes: Callable[[str], Path], tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "llama-quantize"
    program.parent.mkdir()
    # A stand-in: it notes how it was called and copies the file.
    program.write_text('#!/bin/sh\necho "$3" > "$2.called"; cp "$1" "$2"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    convert(shapes("llama"), tmp_path / "m.gguf", "q4_k_m", tokenizer)
    assert (tmp_path / "m.gguf.called").read_text().strip() == "Q4_K_M"
    assert tensors(tmp_path / "m.gguf")["blk.0.attn_q.weight"].tensor_type.name == "F16"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "m.gguf", "m.gguf.called"]
    program.write_text("#!/bin/sh\necho out of space >&2; exit 1\n")
    with pytest.raises(ExportError, match="out of space"):
        convert(shapes("llama"), tmp_path / "n.gguf", "q4_k_m", tokenizer)
    assert not list(tmp_path.glob("n.gguf*"))


def test_an_unknown_format_is_refused(shapes: Callable[[str], Path], tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="q8_0"):
        convert(shapes("llama"), tmp_path / "m.gguf", "q9_9", tokenizer)
