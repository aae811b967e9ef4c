"""What is saved opens in plain PEFT and computes what was trained (float32, largest difference 1e-5)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from lorafit.adapters.inject import inject
from lorafit.adapters.save import load_trained, load_weights, save_trained
from lorafit.adapters.settings import AdapterSettings
from lorafit.errors import AdapterError, RunError
from lorafit.hardware import Hardware
from lorafit.model.load import Base, load_base
from lorafit.model.quantize import quantization_config

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")
IDS = torch.tensor([[5, 9, 200, 7, 31, 8, 90]])


def trained(base: Base, settings: AdapterSettings) -> Any:
    """An adapter as training leaves it: every trained weight somewhere else than where it began."""
    model = inject(base, settings, seed=3).model.eval()
    with torch.no_grad():
        for number, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return model


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("variant", ["plain", "rslora", "dora", "pissa"])
def test_the_adapter_opens_in_plain_peft(
    bases: Callable[[str], Path], tokenizer: Any, tmp_path: Path, family: str, variant: str
) -> None:
    folder = bases(family)
    settings = AdapterSettings(rank=4, alpha=8, variant=variant)  # type: ignore[arg-type]
    model = trained(load_base(folder, CPU), settings)
    save_trained(model, tokenizer, settings, tmp_path / "adapter")
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    difference = (logits(peft.PeftModel.from_pretrained(plain, tmp_path / "adapter")) - logits(model)).abs().max()
    assert difference <= 1e-5
    base = load_base(folder, CPU)
    assert (logits(load_trained(base, settings, tmp_path / "adapter")) - logits(model)).abs().max() <= 1e-5
    assert (logits(model) - logits(load_base(folder, CPU).model)).abs().max() > 1e-2, "nothing was compared"


@pytest.mark.parametrize("variant", ["plain", "pissa"])
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_a_quantised_base_gives_back_exactly_what_was_trained(
    bases: Callable[[str], Path], tokenizer: Any, tmp_path: Path, quantization: str, variant: str
) -> None:
    folder = bases("even-llama")
    settings = AdapterSettings(rank=4, alpha=8, variant=variant)  # type: ignore[arg-type]
    model = trained(load_base(folder, CPU, quantization), settings)  # type: ignore[arg-type]
    wanted = logits(model)
    save_trained(model, tokenizer, settings, tmp_path / "adapter")
    again = load_trained(load_base(folder, CPU, quantization), settings, tmp_path / "adapter")  # type: ignore[arg-type]
    assert (logits(again) - wanted).abs().max() <= 1e-5
    if variant == "plain" and quantization == "nf4":  # any tool that quantises alike computes the same
        config = quantization_config("nf4", True, torch.float32)
        plain = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, quantization_config=config
        )
        opened = peft.PeftModel.from_pretrained(plain, tmp_path / "adapter").train()
        assert (logits(opened) - wanted).abs().max() <= 1e-5


def test_the_folder_holds_tokenizer_and_template_and_no_pickle(llama: Path, tokenizer: Any, tmp_path: Path) -> None:
    settings = AdapterSettings(rank=2)
    before = tokenizer.chat_template
    tokenizer.chat_template = "{{ messages[0].content }}"
    try:
        save_trained(trained(load_base(llama, CPU), settings), tokenizer, settings, tmp_path / "adapter")
    finally:
        tokenizer.chat_template = before
    names = {p.name for p in (tmp_path / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pth", ".pkl")) for name in names)
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path / "adapter")
    assert opened.chat_template == "{{ messages[0].content }}"


def test_a_failed_save_leaves_the_old_adapter(
    llama: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = AdapterSettings(rank=2)
    model = trained(load_base(llama, CPU), settings)
    save_trained(model, tokenizer, settings, tmp_path / "adapter")
    before = (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes()

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tokenizer), "save_pretrained", full)
    with pytest.raises(RunError, match=r"Could not write .*adapter.*No space left"):
        save_trained(model, tokenizer, settings, tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.parametrize("settings", [AdapterSettings(rank=4), AdapterSettings(rank=4, variant="pissa")])
def test_load_weights_brings_the_best_back(
    llama: Path, tokenizer: Any, tmp_path: Path, settings: AdapterSettings
) -> None:
    model = trained(load_base(llama, CPU), settings)
    best = logits(model)
    save_trained(model, tokenizer, settings, tmp_path / "adapter")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    assert not torch.equal(logits(model), best)
    load_weights(model, settings, tmp_path / "adapter")
    assert torch.equal(logits(model), best)


def test_full_fine_tuning_saves_a_plain_model(llama: Path, tokenizer: Any, tmp_path: Path) -> None:
    settings = AdapterSettings(method="none")
    model = trained(load_base(llama, CPU), settings)
    save_trained(model, tokenizer, settings, tmp_path / "model")
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    assert torch.equal(logits(plain), logits(model))
    with torch.no_grad():
        model.model.norm.weight.zero_()
    load_weights(model, settings, tmp_path / "model")
    assert torch.equal(logits(plain), logits(model))


def test_an_adapter_of_another_base_is_refused(bases: Callable[[str], Path], tokenizer: Any, tmp_path: Path) -> None:
    settings = AdapterSettings(rank=2)
    save_trained(trained(load_base(bases("llama"), CPU), settings), tokenizer, settings, tmp_path / "adapter")
    with pytest.raises(AdapterError, match="does not fit"):
        load_trained(load_base(bases("even-llama"), CPU), settings, tmp_path / "adapter")
    with pytest.raises(AdapterError, match="holds no adapter"):
        load_trained(load_base(bases("llama"), CPU), settings, tmp_path)
