"""What a run was made of, so that it goes on only with the same: recipe, data, the base's weights, versions."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lorafit import hardware
from lorafit.data.prepare import Prepared
from lorafit.settings import flat

# Settings that a run may go on with changed, dotted.
CHANGEABLE = (
    "train.epochs",
    "train.max_updates",
    "train.patience",
    "train.skip_non_finite",
    "train.validate_every",
    "train.checkpoint_every",
    "train.keep_last",
)
VERSIONS = ("lorafit", "torch", "transformers", "peft", "bitsandbytes")
# A file of weights up to this size is hashed whole, a larger one by its header.
HASHED_WHOLE = 2**28


def identity(recipe: dict[str, Any], base: Path, data: Prepared) -> dict[str, Any]:
    """recipe: as JSON has it; base: the folder of its weights. The samples stand for file, template and tokenizer."""
    packages = hardware.environment()["packages"]
    return {
        "recipe": recipe,
        "data": {"training": data.examples.digest(), "held_out": data.held_out.samples.digest()},
        "base": {path.name: file_hash(path) for path in sorted((base / "config.json", *base.glob("*.safetensors*")))},
        "versions": {name: packages[name] for name in VERSIONS},
    }


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What has changed, a line each; nothing for the settings that may change."""
    found = [
        f"{name}: {before!r} in the checkpoint, {after!r} in recipe.yaml"
        for name, before, after in _changed(dict(flat(then["recipe"])), dict(flat(now["recipe"])))
        if name not in CHANGEABLE and not name.startswith("observe.")
    ]
    files = {"training": now["recipe"]["data"]["train"], "held_out": now["recipe"]["data"]["held_out"]}
    for part, _, _ in _changed(then["data"], now["data"]):
        where = f"{files[part]}, its template or its tokenizer"
        found.append(f"the {part.replace('_', '-')} rows are other ones ({where} has changed)")
    for file, _, _ in _changed(then["base"], now["base"]):
        found.append(f"the base's {file} is another one")
    for package, before, after in _changed(then["versions"], now["versions"]):
        found.append(f"{package}: {before} then, {after} now")
    return found


def machine(threads: int, onednn: bool, compiled: bool) -> dict[str, Any]:
    """What decides the last bits besides `identity`."""
    environment = hardware.environment()
    place = {"processor": environment["processor"], "gpus": environment["gpus"]}
    return {**place, "threads": threads, "onednn": onednn, "compiled": compiled}


def machine_differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [f"{name}: {before} then, {after} now" for name, before, after in _changed(then, now)]


def _changed(then: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    names = dict.fromkeys((*then, *now))
    return [(name, then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)]


def file_hash(path: Path) -> str:
    """Size and SHA-256: of the whole file, or of a large safetensors file's header (8 bytes of length, then JSON)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= HASHED_WHOLE:
            return f"{size}:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        length = file.read(8)
        header = file.read(int.from_bytes(length, "little"))
        return f"{size}:header:{hashlib.sha256(length + header).hexdigest()}"
