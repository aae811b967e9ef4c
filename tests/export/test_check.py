"""An export passes when its engine answers like the tuned model; each planted fault is found, and its cause named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorafit.adapters.inject import inject
from lorafit.adapters.save import save_trained
from lorafit.adapters.settings import AdapterSettings
from lorafit.data.template import Renderer, choose_template
from lorafit.errors import SelfCheckFailed
from lorafit.export import check
from lorafit.export.check import ask_fresh_process, check_export, compare
from lorafit.export.fold import read_adapter
from lorafit.export.merge import Shards, Trained, write_merged, write_surroundings
from lorafit.export.reference import Prompt, Reference, reference_of
from lorafit.export.worker import answered
from lorafit.hardware import DTYPES, Hardware
from lorafit.model.load import load_base
from lorafit.records import Message

PROMPTS = [[Message("user", "Where does Mira live?")], [Message("system", "Short."), Message("user", "米拉住在哪里?")]]
SETTINGS = AdapterSettings(rank=4, alpha=8)
Made = Callable[..., tuple[Path, Reference]]


@pytest.fixture
def made(bases: Callable[[str], Path], chat_tokenizer: Any, tmp_path: Path) -> Made:
    """made("llama") is a merged folder and the reference of what was merged."""

    def make(family: str, dtype: str = "float32", base: Path | None = None) -> tuple[Path, Reference]:
        base = base or bases(family)
        model = inject(load_base(base, Hardware(torch.device("cpu"), torch.float32, "a test")), SETTINGS, 3).model
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        renderer = Renderer(chat_tokenizer, choose_template(chat_tokenizer))
        reference = reference_of(model, renderer, PROMPTS)
        save_trained(model, chat_tokenizer, SETTINGS, tmp_path / "adapter")
        folder = tmp_path / "merged"
        folder.mkdir()
        parts = Trained(base, torch.float32, read_adapter(tmp_path / "adapter"))
        write_merged(Shards(parts), folder, DTYPES[dtype], 10**9)
        write_surroundings(parts, chat_tokenizer, renderer.stop_ids, folder, dtype)
        return folder, reference

    return make


def test_a_merged_folder_in_a_fresh_process(made: Made) -> None:
    folder, reference = made("llama")
    found = check_export(folder, "float32", reference)
    assert found.holds and found.equal == found.tokens > 30 and found.difference < 1e-3
    assert abs(found.perplexity_change) < 1e-4 and found.reference_perplexity > 1


def test_an_engine_that_cannot_do_it_is_quoted() -> None:
    with pytest.raises(SelfCheckFailed, match=r"transformers cannot run the export: .*KeyError: 'folder'"):
        ask_fresh_process({"engine": "transformers"})


def edited(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def another_template(folder: Path) -> None:
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text().replace("assistant\n", "assistant: "))


def no_special_tokens(folder: Path) -> None:
    edited(folder / "tokenizer.json", lambda content: content.update(added_tokens=content["added_tokens"][:1]))


def another_end(folder: Path) -> None:
    edited(folder / "generation_config.json", lambda content: content.update(eos_token_id=5))


def untied(folder: Path) -> None:
    edited(folder / "config.json", lambda content: content.update(tie_word_embeddings=False))


def weights_changed(folder: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    state = load_file(folder / "model.safetensors")
    state[name] = change(state[name]).contiguous()
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def garbled_head(folder: Path) -> None:
    weights_changed(folder, "lm_head.weight", lambda weight: weight.roll(1, 0))


def tied_to_the_embedding(folder: Path) -> None:
    edited(folder / "config.json", lambda content: content.update(tie_word_embeddings=True))
    state = load_file(folder / "model.safetensors")
    del state["lm_head.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def a_layer_left_out(folder: Path) -> None:
    weights_changed(folder, "model.layers.0.mlp.down_proj.weight", torch.zeros_like)


FAULTS = [
    (another_template, "llama", "Likely cause: the chat template"),
    (no_special_tokens, "llama", "Likely cause: special tokens"),
    (another_end, "llama", r"end at the tokens \[5\].*Likely cause: special tokens"),
    (untied, "llama", "lm_head.weight, which would be drawn at random. Likely cause: a tied head"),
    (tied_to_the_embedding, "even-llama", "Likely cause: a tied head"),
    (garbled_head, "even-llama", r"(?s)differs first is number 1, .*Likely cause: the head"),
    (a_layer_left_out, "llama", "Likely cause: weights that are not those that were trained"),
]


@pytest.mark.parametrize(("plant", "family", "message"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS])
def test_a_planted_fault_is_found_and_its_cause_named(
    made: Made,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[Path], None],
    family: str,
    message: str,
) -> None:
    monkeypatch.setattr(check, "ask_fresh_process", answered)
    folder, reference = made(family)
    assert check_export(folder, "float32", reference).holds
    plant(folder)
    with pytest.raises(SelfCheckFailed, match=message):
        check_export(folder, "float32", reference)


def test_what_float16_cannot_hold(made: Made, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "ask_fresh_process", answered)
    base = tmp_path / "large"
    base.mkdir()
    for file in llama.iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    weights_changed(base, "model.layers.1.mlp.down_proj.weight", lambda weight: weight * 1e7)
    folder, reference = made("llama", "float16", base)
    with pytest.raises(SelfCheckFailed, match=r"Likely cause: precision \(float16 cannot hold"):
        check_export(folder, "float16", reference)


LOGITS = [[3.0, 3.0, 1.0]]


def compared(best: int, logits: list[list[float]], wanted: list[list[float]] = LOGITS, form: str = "float32") -> Any:
    prompt = Prompt([5], [1], "?", None, [[1, 1, 2]], wanted, [4.0], [[1.0]])
    said = {"prompts": [{"best": [best], "logits": logits, "totals": [4.0]}]}
    return compare("transformers", form, Reference("float32", [0], True, [prompt]), said)


def test_another_token_is_a_fault_unless_the_reference_was_a_near_tie() -> None:
    same = compared(1, [[3.001, 3.001, 1.0]])
    assert (same.tokens, same.equal, same.broken, same.holds) == (1, 1, 0, True)
    assert same.difference == pytest.approx(0.001)
    assert not compared(2, [[3.0, 3.0, 4.0]]).holds
    tie = compared(2, [[3.0, 3.0, 3.0005]], [[3.0, 3.0, 2.9999]])
    assert (tie.equal, tie.broken, tie.holds) == (0, 0, True)


def test_perplexity_is_held_to_its_limit() -> None:
    off = compared(1, [[2.996, 2.996, 1.0]])
    assert off.broken == 0 and off.perplexity_change == pytest.approx(0.004, abs=1e-4) and not off.holds
    assert compared(1, [[2.996, 2.996, 1.0]], form="bfloat16").holds


def test_what_is_no_number_never_holds() -> None:
    lost = compared(0, [[float("nan")] * 3], form="nf4")
    assert lost.equal == 0 and lost.difference == float("inf") and not lost.holds


def test_the_coarser_of_run_and_export_is_the_measure(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "ask_fresh_process", answered)
    folder, reference = made("llama")
    assert check_export(folder, "float32", replace(reference, format="bfloat16")).format == "bfloat16"
    assert check_export(folder, "nf4", replace(reference, format="bfloat16")).format == "nf4"
