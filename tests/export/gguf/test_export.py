"""The folder is there only when llama.cpp answers like the model; each planted fault is found, and its cause named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.export.gguf.shapes import PROMPTS, opened

from lorafit.data.template import Renderer, choose_template
from lorafit.errors import ExportError, SelfCheckFailed
from lorafit.export.gguf import checkpoint, export_gguf, families, reference_of, vocabulary, write
from lorafit.records import Message

pytest.importorskip("gguf", reason="GGUF export needs the gguf package")
pytest.importorskip("xllamacpp", reason="the check runs llama.cpp, which comes in the xllamacpp wheel")

DIALOGUES = [
    [Message("user", "Where does Mira live?")],
    [Message("system", "Answer briefly."), Message("user", "米拉住在哪里?")],
]


@pytest.fixture
def renderer(chat_tokenizer: Any) -> Renderer:
    return Renderer(chat_tokenizer, choose_template(chat_tokenizer))


@pytest.fixture
def export(shapes: Callable[[str], Path], renderer: Renderer, tmp_path: Path) -> Callable[..., Any]:
    def run(shape: str, form: str = "f32", renderer: Renderer = renderer) -> Any:
        reference = reference_of(opened(shapes(shape)), PROMPTS, [0], 12)
        return export_gguf(shapes(shape), tmp_path / "out", form, renderer, reference, DIALOGUES)

    return run


def test_a_folder_holds_the_file_a_modelfile_and_the_figures(export: Callable[..., Any], tmp_path: Path) -> None:
    done = export("llama")
    assert done.file == tmp_path / "out" / "model-f32.gguf"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "Modelfile",
        "model-f32.gguf",
        "self_check.json",
    ]
    figures = json.loads((tmp_path / "out" / "self_check.json").read_text())
    assert figures["broken"] == 0 and figures["tokens"] == done.comparison.tokens > 20
    assert "FROM ./model-f32.gguf" in (tmp_path / "out" / "Modelfile").read_text()


@pytest.mark.parametrize("form", ["f16", "bf16", "q8_0"])
def test_rounded_formats_stay_within_their_tolerance(export: Callable[..., Any], form: str) -> None:
    done = export("llama", form)
    assert done.comparison.difference > 0 and done.comparison.broken == 0
    wide = [remark for remark in done.remarks if "float16" in remark]
    assert len(wide) == (1 if form == "q8_0" else 0)  # 44 does not divide by 32


def unpermuted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(families, "pair_rotary_rows", lambda weight, heads: weight)


def no_norm_offset(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(families.FAMILIES, "gemma", replace(families.FAMILIES["gemma"], norm_offset=False))


def no_rope_factors(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoint, "llama3_factors", lambda config, size: None)


def tied_against_its_config(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoint.Checkpoint, "_kept", lambda self, name: name != "lm_head.weight")


def no_special_tokens(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(vocabulary, "_types", lambda found, tokenizer, content: [1] * len(found.tokens))


def coarse(patch: pytest.MonkeyPatch) -> None:
    exact = write.stored
    patch.setattr(write, "stored", lambda values, kind: exact(np.round(values * 5).astype(np.float32) / 5, kind))


FAULTS = [
    (unpermuted, "llama-biased", "f32", "rotary order"),
    (no_norm_offset, "gemma", "f32", "offset of a norm"),
    (no_rope_factors, "llama3-rope", "f32", "rotary order"),
    (tied_against_its_config, "llama-biased", "f32", "tied head"),
    (no_special_tokens, "llama", "f32", "special tokens"),
    (coarse, "llama", "q8_0", "precision"),
]


@pytest.mark.parametrize(("plant", "shape", "form", "cause"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS])
def test_a_planted_fault_is_found_and_its_cause_is_named(
    export: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    plant: Callable[[pytest.MonkeyPatch], None],
    shape: str,
    form: str,
    cause: str,
) -> None:
    plant(monkeypatch)
    with pytest.raises(SelfCheckFailed, match=cause):
        export(shape, form)
    assert not list(tmp_path.iterdir())  # nothing is left behind


def test_a_dropped_template_is_found(
    export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chat_tokenizer: Any
) -> None:
    plain = Renderer(chat_tokenizer, choose_template(chat_tokenizer, "human-assistant"))
    assert export("llama", renderer=plain).comparison.broken == 0
    shutil.rmtree(tmp_path / "out")
    add = write.add_vocabulary
    # llama.cpp then takes ChatML.
    monkeypatch.setattr(write, "add_vocabulary", lambda w, v, tokens, stops, template: add(w, v, tokens, stops, None))
    with pytest.raises(SelfCheckFailed, match="the chat template is not in the file"):
        export("llama", renderer=plain)


def test_the_message_shows_a_prompt_that_differs(
    export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, renderer: Renderer
) -> None:
    no_norm_offset(monkeypatch)
    with pytest.raises(SelfCheckFailed, match=r"prompt that differs \w* ?is number \d, ") as caught:
        export("gemma")
    assert any(repr(renderer.tokenizer.decode(prompt)) in str(caught.value) for prompt in PROMPTS)


def test_a_folder_that_is_not_empty_is_left_alone(export: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ExportError, match="not empty"):
        export("llama")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_system_prompt_that_the_template_refuses_is_not_compared_as_rendered(
    shapes: Callable[[str], Path], chat_tokenizer: Any, tmp_path: Path
) -> None:
    strict = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}<|im_start|>"
        "{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% endif %}"
    )
    path = tmp_path / "strict.jinja"
    path.write_text(strict)
    asked = Renderer(chat_tokenizer, choose_template(chat_tokenizer, str(path)))
    reference = reference_of(opened(shapes("llama")), PROMPTS, [0], 4)
    assert export_gguf(shapes("llama"), tmp_path / "out", "f32", asked, reference, DIALOGUES).comparison.broken == 0
