from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lorafit.errors import ExportError, ModelError
from lorafit.export.weights import ShardWriter, Weights, cast, size_in_bytes

TENSORS = {f"layer.{number}.weight": torch.full((10, 10), float(number)) for number in range(7)}


def filled(folder: Path, shard_bytes: int) -> Path:
    writer = ShardWriter(folder, shard_bytes)
    for name, tensor in TENSORS.items():
        writer.add(name, tensor)
    writer.close()
    return folder


@pytest.mark.parametrize(("shard_bytes", "files"), [(10**6, 1), (1000, 4), (10, 7)])
def test_what_is_written_is_read(tmp_path: Path, shard_bytes: int, files: int) -> None:
    found = Weights(filled(tmp_path, shard_bytes))
    assert len(found.shards) == files == len(list(tmp_path.glob("*.safetensors")))
    assert found.shapes == dict.fromkeys(TENSORS, (10, 10))
    assert all(torch.equal(tensor, TENSORS[name]) for name, tensor in found.tensors())


def test_a_shard_that_is_cut_off_or_gone_is_named(tmp_path: Path) -> None:
    filled(tmp_path, 1000)
    shard = tmp_path / "model-00002-of-00004.safetensors"
    shard.write_bytes(shard.read_bytes()[:-50])
    with pytest.raises(ModelError, match=r"model-00002-of-00004\.safetensors cannot be read"):
        Weights(tmp_path)
    shard.unlink()
    with pytest.raises(ModelError, match=r"model-00002-of-00004\.safetensors cannot be read"):
        Weights(tmp_path)


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": 3}'])
def test_a_broken_index_is_named(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match=r"index\.json cannot be read"):
        Weights(tmp_path)


def test_the_state_of_an_optimizer_beside_the_weights_is_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, 10**6)
    (tmp_path / "training-0000.safetensors").write_bytes(b"")
    assert list(Weights(tmp_path).shards) == ["model.safetensors"]


def test_sizes() -> None:
    assert [size_in_bytes(text) for text in ("5GB", "1.5 mb", "200", "2KB")] == [5 * 10**9, 1_500_000, 200, 2000]
    for text in ("", "GB", "-1GB", "5 gigs", "0"):
        with pytest.raises(ExportError, match="is no size"):
            size_in_bytes(text)


def test_only_floating_point_is_cast() -> None:
    assert cast(torch.ones(2), torch.bfloat16).dtype == torch.bfloat16
    assert cast(torch.ones(2, dtype=torch.int64), torch.bfloat16).dtype == torch.int64
