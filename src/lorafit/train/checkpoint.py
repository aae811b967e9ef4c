"""Checkpoints: all that training needs to go on bit for bit, whole or not there, without pickle.

A checkpoint is a folder NNNNNN, named for the updates done: what was added to it (the weights as they are opened
elsewhere), `training-K.safetensors`, `state.json`, and a manifest with size and SHA-256 of every file, written last. It
is made under another name, synced and then renamed.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from lorafit.errors import TrainingError
from lorafit.run import read_json, replace_folder, write_json
from lorafit.train.optim import MasterOptimizer

MANIFEST, STATE = "manifest.json", "state.json"
# On a GPU, what is brought to the host's memory at once.
SHARD_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class State:
    """Of training between two updates: named tensors, and values for JSON."""

    tensors: Iterable[tuple[str, Tensor]]
    values: dict[str, Any]


def capture(optimizer: MasterOptimizer, scaler: torch.amp.GradScaler) -> State:
    """Masters, the optimizer's state, the loss scale and every random generator.

    The masters are all of the trained parameters: a float32 one is its own, one in 16 bits is its master rounded.
    """
    tensors = [(f"master.{i}", master.detach()) for i, master in enumerate(optimizer.masters)]
    numbers: dict[str, Any] = {}
    for i, master in enumerate(optimizer.masters):
        for name, value in optimizer.inner.state[master].items():
            if isinstance(value, Tensor):
                tensors.append((f"optimizer.{i}.{name}", value))
            else:
                numbers[f"{i}.{name}"] = value
    tensors.append(("random.torch", torch.get_rng_state()))
    if torch.cuda.is_initialized():
        tensors += [(f"random.cuda.{i}", state) for i, state in enumerate(torch.cuda.get_rng_state_all())]
    algorithm, keys, *places = cast(tuple[Any, ...], np.random.get_state(legacy=True))
    version, words, gauss = random.getstate()
    generators = {"numpy": [algorithm, keys.tolist(), *places], "python": [version, list(words), gauss]}
    return State(tensors, {"optimizer": numbers, "scaler": scaler.state_dict(), "random": generators})


@torch.no_grad()
def restore(state: State, optimizer: MasterOptimizer, scaler: torch.amp.GradScaler) -> None:
    """Put back what `capture` took. Raises TrainingError when it is of other parameters."""
    masters, inner = optimizer.masters, optimizer.inner
    if hasattr(inner, "init_state"):  # bitsandbytes: its buffers may be paged, so they are filled, not replaced
        for i, master in enumerate(masters):
            inner.init_state(inner.param_groups[0], master, 0, i)
    found = 0
    for name, tensor in state.tensors:
        kind, _, rest = name.partition(".")
        number, _, part = rest.partition(".")
        if kind == "master":
            found += 1
            if int(number) >= len(masters) or masters[int(number)].shape != tensor.shape:
                raise TrainingError("The checkpoint is of other trained parameters than the recipe makes.")
            masters[int(number)].copy_(tensor)
        elif kind == "optimizer":
            own = inner.state[masters[int(number)]]
            if part in own:
                own[part].copy_(tensor)
            else:  # a copy of its own: what was read lies in the file's mapping, at any address
                own[part] = tensor.clone().to(masters[int(number)].device)
        elif rest == "torch":
            torch.set_rng_state(tensor.clone())
        elif torch.cuda.is_available() and int(part) < torch.cuda.device_count():
            torch.cuda.set_rng_state(tensor.clone(), int(part))
    if found != len(masters):
        raise TrainingError(f"The checkpoint holds {found} trained tensors; the recipe makes {len(masters)}.")
    for name, value in state.values["optimizer"].items():
        number, _, part = name.partition(".")
        inner.state[masters[int(number)]][part] = value
    optimizer.publish()
    scaler.load_state_dict(state.values["scaler"])
    algorithm, keys, *places = state.values["random"]["numpy"]
    np.random.set_state((algorithm, np.array(keys, dtype=np.uint32), *places))
    version, words, gauss = state.values["random"]["python"]
    random.setstate((version, tuple(words), gauss))


def write_checkpoint(folder: Path, update: int, state: State, add: Callable[[Path], None], keep_last: int) -> None:
    """Write `folder`/NNNNNN, then remove all but the newest `keep_last`. add: writes further files into a folder.

    Raises RunError when it cannot be written; the older ones are then untouched.
    """

    def fill(temporary: Path) -> None:
        add(temporary)
        _write_tensors(temporary, state.tensors)
        write_json(temporary / STATE, state.values)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        described = {path.relative_to(temporary).as_posix(): _described(path) for path in files}
        write_json(temporary / MANIFEST, {"update": update, "files": described})

    replace_folder(folder / f"{update:06d}", fill)
    for old in _checkpoints(folder)[keep_last:]:
        remove(old)


def remove(checkpoint: Path) -> None:
    """Remove a checkpoint; out of sight first, so that a half-removed one is never met."""
    hidden = checkpoint.with_name(f".{checkpoint.name}-old")
    checkpoint.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def newest_whole(folder: Path) -> tuple[Path | None, dict[Path, str]]:
    """The newest checkpoint of which every file is as it was written, and the newer ones with what is wrong there."""
    skipped: dict[Path, str] = {}
    for checkpoint in _checkpoints(folder):
        fault = _fault(checkpoint)
        if fault is None:
            return checkpoint, skipped
        skipped[checkpoint] = fault
    return None, skipped


def read_state(checkpoint: Path) -> State:
    """The state of a whole checkpoint; its tensors are read one by one, once."""

    def tensors() -> Iterator[tuple[str, Tensor]]:
        from safetensors import safe_open

        for file in sorted(checkpoint.glob("training-*.safetensors")):
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():
                    yield name, opened.get_tensor(name)

    return State(tensors(), read_json(checkpoint / STATE))


def _write_tensors(folder: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    from safetensors.torch import save_file

    shard: dict[str, Tensor] = {}
    number = size = 0
    for name, tensor in tensors:
        # A table that bitsandbytes makes itself, and shares between parameters.
        if ".qmap" in name:
            continue
        shard[name] = tensor.detach().cpu().contiguous()
        size += tensor.nbytes
        if size >= SHARD_BYTES:
            save_file(shard, folder / f"training-{number:04d}.safetensors")
            shard, size, number = {}, 0, number + 1
    if shard:
        save_file(shard, folder / f"training-{number:04d}.safetensors")


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    found = [path for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _fault(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        files = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))["files"]
        for name, told in files.items():
            path = checkpoint / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != told["bytes"]:
                return f"{name} has {path.stat().st_size:,} bytes where {told['bytes']:,} were written"
            if _described(path) != told:
                return f"{name} is not what was written (its SHA-256 differs)"
    except FileNotFoundError:
        return f"it has no {MANIFEST}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} or a file that it names cannot be read ({error})"
    return None if STATE in files else f"{MANIFEST} names no {STATE}"
