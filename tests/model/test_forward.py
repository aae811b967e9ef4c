from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lorafit.data.pack import make_row
from lorafit.hardware import Hardware
from lorafit.model.forward import Forward, choose_forward, plain_head
from lorafit.model.load import empty_model, load_base, longest_sequence
from lorafit.records import Sample, Source

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")


def row() -> Any:
    tokens = torch.arange(3, 15).numpy()
    return make_row([Sample(tokens, tokens > 6, Source("made", 1))])


class OldModel(torch.nn.Module):
    """A model whose forward knows neither positions nor which logits are wanted, as code of its own may."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.config = inner.config

    def get_input_embeddings(self) -> Any:
        return self.inner.get_input_embeddings()

    def set_attn_implementation(self, name: str) -> None:
        pass

    def forward(self, input_ids: torch.Tensor, use_cache: bool = True) -> Any:
        return self.inner(input_ids=input_ids, use_cache=use_cache)


def test_a_model_that_cannot_select_logits_gives_the_same_loss(llama: Path) -> None:
    model = load_base(llama, CPU).model.eval()
    wanted = Forward(model, packed=False)(row()).item()
    forward, reason = choose_forward(OldModel(model))
    assert not forward.packed and reason is not None and "OldModel cannot pack rows" in reason
    assert forward(row()).item() == pytest.approx(wanted, rel=1e-6)


def test_attention_is_the_models_own_outside_of_a_run(llama: Path) -> None:
    model = load_base(llama, CPU).model.eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    before = model(input_ids=ids).logits
    forward, reason = choose_forward(model)
    assert reason is None
    with forward.running():
        assert model.config._attn_implementation == "lorafit_packed"
        with pytest.raises(RuntimeError, match="does not hand row_layout"):
            model(input_ids=ids)
    assert torch.equal(model(input_ids=ids).logits, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_convolution_over_the_row_is_seen_in_every_dtype(dtype: torch.dtype) -> None:
    config = transformers.Lfm2Config(
        vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, layer_types=["conv", "full_attention", "conv"],
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)  # a trained model's weights are larger than its first ones
    forward, reason = choose_forward(model)
    assert not forward.packed and reason is not None


def test_a_base_has_no_dropout_of_its_own(tmp_path: Path) -> None:
    """OPT keeps its rate as a plain attribute and calls the function."""
    config = transformers.OPTConfig(
        vocab_size=128, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, dropout=0.3,
        max_position_embeddings=64, word_embed_proj_dim=32,
    )  # fmt: skip
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    model = load_base(tmp_path, CPU).model.train()
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


def test_the_length_limit_is_read_whatever_it_is_called(bases: Callable[[str], Path]) -> None:
    assert longest_sequence(empty_model(bases("gpt2"))) == 256
    assert longest_sequence(empty_model(bases("llama"))) == 256


@pytest.mark.parametrize(("family", "plain"), [("llama", True), ("gpt2", True), ("qwen3", True), ("gemma2", False)])
def test_a_head_whose_logits_are_capped_is_not_plain(bases: Callable[[str], Path], family: str, plain: bool) -> None:
    """Gemma 2 caps its logits, which on small logits hardly shows."""
    model = load_base(bases(family), CPU).model
    assert (plain_head(model) is not None) is plain
    model.get_output_embeddings().weight.requires_grad_(True)
    assert plain_head(model) is None, "a trained head needs its gradient"


def test_a_padding_token_without_an_embedding_does_not_hide_a_cap(bases: Callable[[str], Path]) -> None:
    model = load_base(bases("gemma2"), CPU).model
    with torch.no_grad():
        model.get_input_embeddings().weight[0] = 0
    assert plain_head(model) is None
