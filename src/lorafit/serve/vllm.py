"""`--engine vllm`: the same base and adapters by a vLLM that is installed here, for fleets of GPUs."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from lorafit.errors import AdapterError, LorafitError
from lorafit.model.hub import find_model, is_local
from lorafit.serve.adapter import CONFIG, find
from lorafit.serve.place import Place
from lorafit.serve.wanted import Plan

# The ranks that vLLM's --max-lora-rank takes.
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def command(plan: Plan, place: Place, max_loaded: int, folder: Path, remote_code: bool = False) -> list[str]:
    """The command that serves a plan with vLLM; the chat template is written to `folder`.

    Raises AdapterError for adapters that one vLLM cannot serve together: of different templates, of too large a rank.
    """
    name = plan.model.name
    base = str(find_model(name).resolve()) if is_local(name) else name
    words = ["vllm", "serve", base, "--served-model-name", plan.base_name]
    words += ["--host", place.host, "--port", str(place.port)]
    if plan.alone is not None:
        raise AdapterError(
            f"{plan.alone.path} changed the base's own weights. Merge it first: lorafit export --to merged"
        )
    if plan.folder is not None:
        raise AdapterError("--adapters-folder is for lorafit's own engine; name each --adapter for vLLM.")
    if plan.model.revision:
        words += ["--revision", plan.model.revision]
    if plan.model.dtype != "auto":
        words += ["--dtype", plan.model.dtype]
    if plan.model.quantization != "none":
        words += ["--quantization", "bitsandbytes"]
    found = [(name, find(path)) for name, path in plan.adapters]
    if found:
        modules = [json.dumps({"name": name, "path": str(each.folder.resolve())}) for name, each in found]
        rank = _rank([each.folder for _, each in found])
        words += ["--enable-lora", "--max-loras", str(max_loaded), "--max-lora-rank", str(rank)]
        words += ["--lora-modules", *modules]
    templates = {each.template.jinja for _, each in found if each.template}
    if len(templates) > 1:
        raise AdapterError(
            "These runs have different chat templates, and vLLM has one for all: serve them apart, or by --engine own."
        )
    for jinja in templates:
        path = folder / "template.jinja"
        path.write_text(jinja, encoding="utf-8")
        words += ["--chat-template", str(path)]
    return [*words, "--trust-remote-code"] if remote_code else words


def _rank(folders: list[Path]) -> int:
    """The smallest of vLLM's limits that all adapters are within."""
    largest = 1
    for folder in folders:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        largest = max(largest, content["r"], *(content.get("rank_pattern") or {"": 1}).values())
    fitting = [rank for rank in RANKS if rank >= largest]
    if not fitting:
        raise AdapterError(f"An adapter has rank {largest}; vLLM takes at most {RANKS[-1]}.")
    return fitting[0]


def execute(plan: Plan, place: Place, max_loaded: int, remote_code: bool = False) -> NoReturn:
    """Become vLLM. The token goes by the environment, where other users of the machine do not see it.

    Raises LorafitError when there is no vLLM on PATH, AdapterError as `command` does.
    """
    program = shutil.which("vllm")
    if program is None:
        raise LorafitError("--engine vllm: there is no vllm on PATH. Install it, or leave --engine out.")
    words = command(plan, place, max_loaded, Path(tempfile.mkdtemp(prefix="lorafit-vllm-")), remote_code)
    if place.token:
        os.environ["VLLM_API_KEY"] = place.token
    sys.stdout.flush()
    os.execv(program, words)
