"""A model's name to its folder, and the message for each reason why there is none. Nothing here touches the network."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors

from lorafit import builtin
from lorafit.errors import ModelError
from lorafit.model.hub import check_folder, find_model, load_tokenizer, read_config

Download = Callable[[BaseException | Path], list[Any]]


@pytest.fixture
def download(monkeypatch: pytest.MonkeyPatch) -> Download:
    """download(answer) lets the hub answer so, or raise it; the arguments it was called with are noted."""

    def set_answer(answer: BaseException | Path) -> list[Any]:
        calls: list[Any] = []

        def snapshot_download(*args: Any, **kwargs: Any) -> str:
            calls.append((args, kwargs))
            if isinstance(answer, Path):
                return str(answer)
            raise answer

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        return calls

    return set_answer


def model_folder(parent: Path, name: str, *files: str) -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_text("{}")
    return folder


def message_of(name: str, revision: str | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        find_model(name, revision)
    return str(caught.value)


def test_a_folder_is_itself(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_model(str(llama)) == llama
    monkeypatch.setenv("HOME", str(llama.parent))
    assert find_model("~/llama") == llama
    assert find_model("builtin") == builtin.MODEL


def test_pickled_weights_are_refused_by_name(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "old", "config.json", "pytorch_model.bin", "extra.pt")
    message = message_of(str(folder))
    assert "only as pickle (pytorch_model.bin, extra.pt)" in message
    assert "safetensors only" in message
    (folder / "model.safetensors").touch()
    assert check_folder(folder) == folder  # beside safetensors pickles are left unopened


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "has no config.json, so it is not a model folder (found: nothing)"),
        (["weights.safetensors"], "has no config.json, so it is not a model folder (found: weights.safetensors)"),
        (["config.json"], "holds no *.safetensors (found: config.json)"),
    ],
)
def test_a_folder_that_is_no_model_is_said(tmp_path: Path, files: list[str], said: str) -> None:
    assert said in message_of(str(model_folder(tmp_path, "some", *files)))


def test_a_file_is_no_model(tmp_path: Path) -> None:
    path = model_folder(tmp_path, "some", "model.safetensors") / "model.safetensors"
    assert "is a file. Name the folder" in message_of(str(path))


def test_a_missing_folder_is_answered_with_a_near_one(tmp_path: Path) -> None:
    model_folder(tmp_path, "llama-tiny", "config.json")
    model_folder(tmp_path, "notes", "readme.md")
    assert f"Did you mean {tmp_path / 'llama-tiny'}?" in message_of(str(tmp_path / "lama-tiny"))
    assert f"Model folders in {tmp_path}: llama-tiny." in message_of(str(tmp_path / "else"))
    assert f"There is no folder {tmp_path / 'nowhere'} either." in message_of(str(tmp_path / "nowhere" / "llama"))


@pytest.mark.parametrize("name", ["./llama", "../llama", "a/b/c", "with space"])
def test_what_can_only_be_a_path_is_never_asked_of_the_hub(name: str, download: Download) -> None:
    calls = download(AssertionError("asked"))
    assert f"no folder {name}" in message_of(name)
    assert not calls


def test_a_hub_model_is_downloaded_without_code_or_pickles(llama: Path, download: Download) -> None:
    calls = download(llama)
    assert find_model("some/model", "main") == llama
    ((args, kwargs),) = calls
    assert (args, kwargs["revision"]) == (("some/model",), "main")
    assert "*.safetensors" in kwargs["allow_patterns"]
    assert not {"*.py", "*.bin", "*.pt", "*"} & set(kwargs["allow_patterns"])
    find_model("some/model", remote_code=True)
    assert "*.py" in calls[1][1]["allow_patterns"]


def test_a_hub_model_of_pickles_is_refused(tmp_path: Path, download: Download) -> None:
    download(model_folder(tmp_path, "snapshot", "config.json"))
    assert "holds no *.safetensors" in message_of("some/model")


def refusal(kind: type[errors.HfHubHTTPError], status: int) -> errors.HfHubHTTPError:
    # The hub's errors want the response of its HTTP library, which has changed its name before.
    response = types.SimpleNamespace(status_code=status, headers={}, request=None)
    return kind("Client error.\nMore lines.", response=response)  # type: ignore[arg-type]


class LibraryError(Exception):
    """As an HTTP library has its own: no OSError."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refusal(errors.GatedRepoError, 403), "some/model is gated. Accept its terms on its page, then log in"),
        (refusal(errors.RevisionNotFoundError, 404), "model.revision: some/model has no revision 'v9'"),
        (refusal(errors.RepositoryNotFoundError, 401), "no such model on the Hugging Face hub (or it is private"),
        (refusal(errors.HfHubHTTPError, 503), "the Hugging Face hub cannot be reached (Client error.)"),
        (errors.LocalEntryNotFoundError("not in the cache"), "cannot be reached (not in the cache)"),
        (errors.OfflineModeIsEnabled("offline"), "cannot be reached (offline)"),
        (OSError(28, "No space left on device"), "cannot be reached ([Errno 28] No space left on device)"),
        (LibraryError("timed out"), "cannot be reached (timed out)"),
        (LibraryError(), "cannot be reached (LibraryError)"),
        (errors.HFValidationError("Cannot have -- or .."), "it cannot be a model of the Hugging Face hub: Cannot have"),
    ],
)
def test_what_the_hub_refuses_is_said(error: Exception, said: str, download: Download) -> None:
    download(error)
    assert said in message_of("some/model", "v9")


def test_an_interrupt_stays_one(download: Download) -> None:
    download(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        find_model("some/model")


def test_modelscope_is_asked_by_prefix(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope", None)
    assert "pip install 'lorafit[modelscope]'" in message_of("modelscope:some/model")
    package = types.ModuleType("modelscope")
    asked: list[Any] = []

    def snapshot_download(name: str, **kwargs: Any) -> str:
        asked.append((name, kwargs["revision"]))
        if name == "some/missing":
            raise LibraryError("not found\nat all")
        return str(llama)

    package.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modelscope", package)
    assert find_model("modelscope:some/model", "v1") == llama
    assert asked == [("some/model", "v1")]
    assert message_of("modelscope:some/missing").endswith("ModelScope does not give some/missing: not found")


@pytest.mark.parametrize(("text", "said"), [("{", "cannot be read"), ("[]", "should hold a JSON object, found list")])
def test_a_broken_config_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=said):
        read_config(tmp_path)


def test_a_tokenizer_is_loaded_or_missed(llama: Path, tmp_path: Path) -> None:
    assert read_config(llama)["model_type"] == "llama"
    assert load_tokenizer(llama).eos_token == "<|endoftext|>"
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_tokenizer(model_folder(tmp_path, "none", "config.json"))
