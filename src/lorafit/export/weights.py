"""The weights of a model folder, one tensor at a time in and one shard at a time out."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lorafit.errors import ExportError, ModelError
from lorafit.run import write_text

INDEX = "model.safetensors.index.json"
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
# A mapped shard counts as this process's memory, page after page; older versions of safetensors can only map.
READING = {"backend": "pread"} if "backend" in inspect.signature(safe_open).parameters else {}


class Weights:
    """The tensors of a folder by their names there."""

    def __init__(self, folder: Path) -> None:
        """Raises ModelError for an index or a shard that cannot be read, naming it."""
        self.folder = folder
        self.shards: dict[str, list[str]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for shard in _shard_names(folder):
            with _opened(folder / shard) as tensors:
                self.shards[shard] = list(tensors.keys())
                self.shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in self.shards[shard]}

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor with its name, shard by shard. Raises ModelError as the constructor does."""
        for shard, names in self.shards.items():
            with _opened(self.folder / shard) as tensors:
                for name in names:
                    yield name, tensors.get_tensor(name)


def _shard_names(folder: Path) -> list[str]:
    index = folder / INDEX
    if not index.is_file():
        whole = folder / "model.safetensors"  # beside the state of an optimizer in a checkpoint
        return [whole.name] if whole.is_file() else sorted(path.name for path in folder.glob("*.safetensors"))
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{index} cannot be read: {error}") from error


class _opened:
    """A shard opened for reading; whatever goes wrong with it names it."""

    def __init__(self, shard: Path) -> None:
        self.shard = shard

    def __enter__(self) -> safe_open:
        try:
            self._file = safe_open(self.shard, framework="pt", **READING)
            self._file.__enter__()
            return self._file
        except (SafetensorError, OSError) as error:
            raise _unreadable(self.shard, error) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._file.__exit__(kind, error, trace)
        if isinstance(error, SafetensorError):
            raise _unreadable(self.shard, error) from error


def _unreadable(shard: Path, error: BaseException) -> ModelError:
    return ModelError(
        f"{shard} cannot be read ({' '.join(str(error).split())}): the file is missing, cut off or damaged. "
        "Download or copy it again."
    )


class ShardWriter:
    """Takes tensors one after another and writes a shard as soon as the next would make it too large."""

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self.folder = folder
        self.shard_bytes = shard_bytes
        self._waiting: dict[str, Tensor] = {}
        self._bytes = 0
        self._shards: list[list[str]] = []
        self._total = 0

    def add(self, name: str, tensor: Tensor) -> None:
        if self._waiting and self._bytes + tensor.nbytes > self.shard_bytes:
            self._write()
        self._waiting[name] = tensor.contiguous()
        self._bytes += tensor.nbytes
        self._total += tensor.nbytes

    def close(self) -> None:
        """Write what is left, give the shards their final names, and write the index where there are several."""
        self._write()
        count = len(self._shards)
        if count == 1:
            self._path(0).rename(self.folder / "model.safetensors")
            return
        places: dict[str, str] = {}
        for number, names in enumerate(self._shards):
            final = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
            self._path(number).rename(self.folder / final)
            places |= dict.fromkeys(names, final)
        index = {"metadata": {"total_size": self._total}, "weight_map": dict(sorted(places.items()))}
        write_text(self.folder / INDEX, json.dumps(index, indent=2) + "\n")

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number}.safetensors"

    def _write(self) -> None:
        save_file(self._waiting, self._path(len(self._shards)), metadata={"format": "pt"})
        self._shards.append(list(self._waiting))
        self._waiting, self._bytes = {}, 0


def size_in_bytes(text: str) -> int:
    """`5GB`, `500MB` or a number of bytes; units of 1000, as on model hubs. Raises ExportError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]B|)", text.strip().upper())
    size = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if size < 1:
        raise ExportError(f"--max-shard-size {text!r} is no size. Write it like 5GB or 500MB.")
    return size


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights in another type; what is no floating-point number (buffers, counters) stays as it is."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
