"""A name to a folder: built-in, a folder on disk, Hugging Face, ModelScope. Weights are safetensors or nothing."""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any

from lorafit import builtin
from lorafit.errors import ModelError

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
WEIGHTS = "*.safetensors"
WANTED = [WEIGHTS, "*.json", "*.jinja", "tokenizer.model", "vocab.txt", "merges.txt"]
# Copies of the weights in other layouts, which some models ship beside the one that transformers reads.
UNWANTED = ["consolidated*", "original/*", "*/*.safetensors"]
MODELSCOPE = "modelscope:"


def find_model(name: str, revision: str | None = None, remote_code: bool = False) -> Path:
    """The folder that holds the model `name`, downloaded when it is a hub id.

    Raises ModelError when there is no such model, when it cannot be reached, or when it holds no safetensors.
    """
    return check_folder(_folder_of(name, revision, WANTED, remote_code))


def find_description(name: str, revision: str | None = None, remote_code: bool = False) -> Path:
    """The folder of config and tokenizer: of a hub model all but the weights, which may turn out not to fit.

    Raises ModelError as `find_model` does; a hub's weights are not looked for.
    """
    folder = _folder_of(name, revision, [pattern for pattern in WANTED if pattern != WEIGHTS], remote_code)
    return check_folder(folder) if is_local(name) else folder


def is_local(name: str) -> bool:
    """Whether `name` is the built-in model or something on this disk."""
    return name == builtin.NAME or Path(os.path.expanduser(name)).exists()  # noqa: PTH111  as in _folder_of


def find_config(name: str, revision: str | None = None, remote_code: bool = False) -> Path:
    """The config.json of the model `name`. From a hub it is downloaded alone (with `remote_code`, also the *.py).

    Raises ModelError when there is no such model, when it cannot be reached, or when it has no config.json.
    """
    folder = _folder_of(name, revision, ["config.json"], remote_code)
    config = folder / "config.json"
    if not config.is_file():
        raise ModelError(f"model.name: {name} has no config.json (looked in {folder}).")
    return config


def _folder_of(name: str, revision: str | None, wanted: list[str], remote_code: bool) -> Path:
    """The folder of `name`; where it comes from a hub, with the files of the patterns `wanted`."""
    if name == builtin.NAME:
        return builtin.MODEL
    path = Path(os.path.expanduser(name))  # noqa: PTH111  Path.expanduser raises for an unknown user
    if path.is_dir():
        return path
    wanted = wanted + (["*.py"] if remote_code else [])
    if name.startswith(MODELSCOPE):
        return _from_modelscope(name.removeprefix(MODELSCOPE), revision, wanted)
    if path.exists():
        raise ModelError(f"model.name: {name} is a file. Name the folder that holds config.json and the safetensors.")
    if name.startswith((".", "/", "~")) or not re.fullmatch(r"[\w.\-]+(/[\w.\-]+)?", name):
        raise ModelError(f"model.name: no folder {name}. {_near_folders(path)}")
    return _from_hugging_face(name, revision, wanted)


def check_folder(folder: Path) -> Path:
    """The folder itself, once it is known to hold a config and safetensors. Raises ModelError otherwise."""
    files = sorted(p.name for p in folder.iterdir())
    if "config.json" not in files:
        shown = ", ".join(files[:8]) or "nothing"
        raise ModelError(f"model.name: {folder} has no config.json, so it is not a model folder (found: {shown}).")
    if not any(folder.glob("*.safetensors")):
        pickled = [p.name for pattern in PICKLED for p in sorted(folder.glob(pattern))]
        if pickled:
            raise ModelError(
                f"model.name: {folder} holds its weights only as pickle ({', '.join(pickled[:4])}), which can run code "
                "when it is opened; lorafit reads safetensors only.\nUse a revision of the model with safetensors, or "
                "convert the weights yourself where you trust them (transformers: load, then save_pretrained)."
            )
        raise ModelError(f"model.name: {folder} holds no *.safetensors (found: {', '.join(files[:8])}).")
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """The model's config.json. Raises ModelError when it is not a JSON object."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ModelError(f"{folder / 'config.json'} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{folder / 'config.json'} should hold a JSON object, found {type(config).__name__}.")
    return config


def load_tokenizer(folder: Path, remote_code: bool = False) -> Any:
    """The tokenizer of a model folder. Raises ModelError when there is none that can be read."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=remote_code)
    except Exception as error:  # transformers raises many types for a missing or broken tokenizer
        raise ModelError(f"The tokenizer in {folder} cannot be loaded: {_first_line(error)}") from error


def _from_hugging_face(name: str, revision: str | None, wanted: list[str]) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return Path(
            huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=wanted, ignore_patterns=UNWANTED)
        )
    except errors.GatedRepoError:
        raise ModelError(
            f"model.name: {name} is gated. Accept its terms on its page, then log in with `hf auth login`."
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"model.revision: {name} has no revision {revision!r}.") from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"model.name: there is no folder {name} here, and no such model on the Hugging Face hub (or it is private: "
            f"log in with `hf auth login`). {_near_folders(Path(name))}"
        ) from None
    except errors.HFValidationError as error:
        raise ModelError(
            f"model.name: there is no folder {name} here, and it cannot be a model of the Hugging Face hub: {error}"
        ) from None
    except Exception as error:  # offline, unreachable, a full disk, or one of the types of the hub's HTTP library
        raise ModelError(
            f"model.name: there is no folder {name} here, and the Hugging Face hub cannot be reached "
            f"({_first_line(error)}).\n{_near_folders(Path(name))}"
        ) from error


def _from_modelscope(name: str, revision: str | None, wanted: list[str]) -> Path:
    try:
        from modelscope import snapshot_download
    except ImportError:
        raise ModelError("model.name: ModelScope models need its package: pip install 'lorafit[modelscope]'.") from None
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted, ignore_patterns=UNWANTED))
    except Exception as error:  # modelscope raises its own, many-typed errors
        raise ModelError(f"model.name: ModelScope does not give {name}: {_first_line(error)}") from error


def _near_folders(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f"There is no folder {parent} either."
    folders = sorted(p.name for p in parent.iterdir() if (p / "config.json").is_file())
    near = difflib.get_close_matches(path.name, folders, n=1)
    if near:
        return f"Did you mean {parent / near[0]}?"
    return f"Model folders in {parent}: {', '.join(folders[:8])}." if folders else ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
