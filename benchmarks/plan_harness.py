"""Steps of other trainers on meta tensors, so that the plan's simulator can be held against their published figures.

A published figure belongs to the code that ran. Here stands what decides memory in that code, written anew and short:
PEFT's own layers, checkpointing as transformers does it, the losses of the day, AdamW and clipping over whole lists of
tensors, and what a loop's variables keep alive until the next step. Models and quantised layers are the installed
ones; LitGPT's model is rebuilt from its parts. Everything else (births and deaths, attention on CUDA, workspaces) is
`lorafit.plan`. Nothing in this file was adjusted to a published figure.

Letters: B examples, T tokens of each, C width, H heads, D width of a head, V vocabulary, R rank.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, masking_utils

from lorafit.hardware import planning_for
from lorafit.plan.known_shapes import FULL_NAMES
from lorafit.plan.meta import held_constants, meta_base, with_layers
from lorafit.plan.semantics import CUBLAS_WORKSPACE, STAND_INS, WORKSPACES, as_on
from lorafit.plan.simulate import (
    ACTIVATIONS,
    ADAPTER,
    BACKWARD,
    CONSTANTS,
    GRADIENTS,
    OPTIMIZER,
    WEIGHTS,
    WORKSPACE,
    Trace,
    _extrapolated,
)
from lorafit.plan.tracker import BLOCK, Allocator, Tracker

SHALLOW = 3, 4

# A forward pass of model, ids and labels: the loss. The list is what the loop's variables keep from step to step.
Forward = Callable[[nn.Module, Tensor, Tensor, list[Any]], Tensor]


@dataclass(frozen=True, slots=True)
class Run:
    """What decides the memory of a published run.

    tokens: of every example. rank 0: full fine-tuning. changes: of the known shape's config. steps: two, since the
    first brings the optimizer's state, or one where only the first has examples of that length.
    """

    model: str
    batch: int
    tokens: int
    forward: Forward
    rank: int = 0
    targets: tuple[str, ...] = ()
    dropout: float = 0.0
    nf4: bool = False
    checkpointing: bool = True
    cache: bool = False
    clip: bool = True
    changes: tuple[tuple[str, Any], ...] = ()
    steps: int = 2

    @property
    def layers(self) -> int:
        return LIT[self.model].layers if self.model in LIT else FULL_NAMES[self.model][0].layers


class Both:
    """Two allocators that see one trace."""

    def __init__(self, *allocators: Allocator) -> None:
        self.allocators = allocators

    def malloc(self, size: int) -> Any:
        return [allocator.malloc(size) for allocator in self.allocators]

    def free(self, handle: Any) -> None:
        for allocator, block in zip(self.allocators, handle, strict=True):
            allocator.free(block)


def simulate(run: Run, layers: int | None = None, allocator: Allocator | None = None) -> Trace:
    """The run's steps on meta tensors as on CUDA; `layers` of the model, or all."""
    tracker = Tracker(BLOCK, WORKSPACES["cuda"], STAND_INS, allocator)
    with planning_for("cuda"), as_on("cuda"), _full_rows_and_dropout_masks():
        build = _lit_model if run.model in LIT else _model
        model = build(run, layers or run.layers)
        model.train()
        tracker.take(CUBLAS_WORKSPACE, WORKSPACE)
        with tracker:
            _train(run, model, tracker)
    parameters = list(model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    return Trace(tracker.peaks, tuple(tracker.operations), trained, sum(p.numel() for p in parameters))


def simulate_deep(run: Run) -> Trace:
    """The trace of the whole depth from two shallow ones, as `lorafit.plan.simulate.simulate_deep` does it."""
    less, more = (simulate(run, layers) for layers in SHALLOW)
    return _extrapolated(less, more, run.layers - SHALLOW[1])


def _train(run: Run, model: nn.Module, tracker: Tracker) -> None:
    trained = [p for p in model.parameters() if p.requires_grad]
    tracker.hold((p for p in model.parameters() if not p.requires_grad), WEIGHTS)
    tracker.hold(model.buffers(), WEIGHTS)
    tracker.hold(held_constants(model), CONSTANTS)
    tracker.hold(trained, ADAPTER if run.rank else WEIGHTS)
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(lambda p: tracker.hold([p.grad], GRADIENTS))
    # Lists of tensors at once, which is torch's choice on CUDA; its temporaries are as large as what is trained.
    optimizer = torch.optim.AdamW(trained, foreach=True)
    kept: list[Any] = []
    for _ in range(run.steps):
        with tracker.during("forward", ACTIVATIONS):
            ids_BT = torch.zeros(run.batch, run.tokens, dtype=torch.long, device="meta")
            labels_BT = torch.zeros_like(ids_BT)
            optimizer.zero_grad()
            loss = run.forward(model, ids_BT, labels_BT, kept)
        with tracker.during("backward", BACKWARD):
            loss.backward()
        with tracker.during("update", OPTIMIZER):
            if run.clip:
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()


def _model(run: Run, layers: int) -> nn.Module:
    """transformers' model with PEFT's adapter, as a Trainer has it."""
    shape, context = FULL_NAMES[run.model]
    config = with_layers(AutoConfig.for_model(**{**shape.config(context), **dict(run.changes)}), layers)
    config.use_cache = run.cache
    model = meta_base(config, torch.bfloat16, "nf4" if run.nf4 else "none", double=True).model
    if not run.rank:
        model.requires_grad_(True)
    if run.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if run.rank:
            model.enable_input_require_grads()
    if not run.rank:
        return model
    from peft import LoraConfig, get_peft_model

    targets = list(run.targets)
    adapter = LoraConfig(r=run.rank, target_modules=targets, lora_dropout=run.dropout, task_type="CAUSAL_LM")
    with torch.device("meta"):
        return get_peft_model(model, adapter)


@contextlib.contextmanager
def _full_rows_and_dropout_masks() -> Iterator[None]:
    """Rows are one document each, which transformers would read from the position numbers; CUDA's dropout keeps a byte
    an element, where meta tensors take a composite that keeps the scaled mask."""

    def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return torch.native_dropout(x, p, True)[0] if training and p else x

    with (
        mock.patch.object(masking_utils, "find_packed_sequence_indices", lambda position_ids: None),
        mock.patch.object(functional, "dropout", dropout),
    ):
        yield


# ---------------------------------------------------------------- forward passes


def trainer_of_2025(model: nn.Module, ids_BT: Tensor, labels_BT: Tensor, kept: list[Any]) -> Tensor:
    """transformers 4.48's Trainer: logits in 16 and in 32 bits stand while the cut copy goes into the loss; all are let
    go before the backward (loss/loss_utils.py, trainer.py)."""
    logits_BTV = model(input_ids=ids_BT).logits
    wide_BTV = logits_BTV.float()
    return _shifted_cross_entropy(wide_BTV, labels_BT)


def qwen_of_2023(model: nn.Module, ids_BT: Tensor, labels_BT: Tensor, kept: list[Any]) -> Tensor:
    """Qwen's own model code under autocast: logits cut and copied in 16 bits, the cross-entropy in float32."""
    logits_BTV = model(input_ids=ids_BT).logits
    return _shifted_cross_entropy(logits_BTV, labels_BT)


def peft_benchmark(model: nn.Module, ids_BT: Tensor, labels_BT: Tensor, kept: list[Any]) -> Tensor:
    """The loop of PEFT's method comparison: a padded batch, the installed transformers' loss, outputs kept."""
    outputs = model(
        input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), labels=labels_BT, num_items_in_batch=ids_BT.numel()
    )
    kept[:] = [outputs]
    return outputs.loss


def lit_gpt_of_2023(model: nn.Module, ids_BT: Tensor, labels_BT: Tensor, kept: list[Any]) -> Tensor:
    """LitGPT's loop: the head on 128 tokens at a time, each made float32 by Fabric; the list stays a variable."""
    kept[:] = [logits_BTV.float() for logits_BTV in model(ids_BT)]
    kept[-1] = kept[-1][:, :-1]
    chunks = labels_BT[:, 1:].split(LIT_HEAD, dim=1)
    losses = [
        functional.cross_entropy(x.reshape(-1, x.shape[-1]), y.reshape(-1), reduction="none")
        for x, y in zip(kept, chunks, strict=True)
    ]
    return torch.cat(losses).mean()


def _shifted_cross_entropy(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    cut = logits_BTV[:, :-1].contiguous()
    wanted = labels_BT[:, 1:].contiguous()
    return functional.cross_entropy(cut.view(-1, cut.shape[-1]).float(), wanted.view(-1))


# ---------------------------------------------------------------- LitGPT's model of October 2023

LIT_HEAD = 128


@dataclass(frozen=True, slots=True)
class LitShape:
    """rotated: width of a head that is rotated. gated: LLaMA's feed-forward and RMSNorm, else GPT-NeoX's and
    LayerNorm, with biases and both branches added at once. one_norm: one norm for both branches. wide_norm: RMSNorm in
    float32; its history has both forms, and which of them ran is not published."""

    layers: int
    width: int
    feed_forward: int
    heads: int
    vocabulary: int
    context: int
    rotated: int
    gated: bool
    one_norm: bool = False
    wide_norm: bool = False


LIT = {
    "LitGPT phi-1.5": LitShape(24, 2048, 8192, 32, 51_200, 2048, 32, False, one_norm=True),
    "LitGPT StableLM-3B": LitShape(16, 4096, 16_384, 32, 50_688, 4096, 32, False),
    "LitGPT Llama-2-7B": LitShape(32, 4096, 11_008, 32, 32_000, 4096, 128, True),
    "LitGPT Llama-2-13B": LitShape(40, 5120, 13_824, 40, 32_000, 4096, 128, True),
}
LIT |= {f"{name}, wide norm": replace(shape, wide_norm=True) for name, shape in LIT.items() if shape.gated}


def _lit_model(run: Run, layers: int) -> nn.Module:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("meta"):
            model = _Lit(LIT[run.model], run, layers)
    finally:
        torch.set_default_dtype(before)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora" in name)
    return model


class _Lit(nn.Module):
    def __init__(self, shape: LitShape, run: Run, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(_LitBlock(shape, run) for _ in range(layers))
        self.norm = _lit_norm(shape)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=shape.one_norm)
        for name in ("cos", "sin"):
            self.register_buffer(name, torch.empty(shape.context, shape.rotated))

    def forward(self, ids_BT: Tensor) -> list[Tensor]:
        x_BTC = self.embedding(ids_BT)
        rotary = self.cos[: ids_BT.shape[1]], self.sin[: ids_BT.shape[1]]
        for block in self.blocks:
            x_BTC = block(x_BTC, *rotary)
        return [self.head(x) for x in self.norm(x_BTC).split(LIT_HEAD, dim=1)]


class _LitBlock(nn.Module):
    def __init__(self, shape: LitShape, run: Run) -> None:
        super().__init__()
        self.shape = shape
        bias = not shape.gated
        self.norms = nn.ModuleList(_lit_norm(shape) for _ in range(1 if shape.one_norm else 2))
        self.qkv = _LitLoraQkv(shape.width, bias, run)
        self.out = nn.Linear(shape.width, shape.width, bias=bias)
        self.up = nn.Linear(shape.width, shape.feed_forward, bias=bias)
        self.gate = nn.Linear(shape.width, shape.feed_forward, bias=bias) if shape.gated else None
        self.down = nn.Linear(shape.feed_forward, shape.width, bias=bias)

    def forward(self, x_BTC: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        first = self.norms[0](x_BTC)
        attended = self._attend(first, cos, sin)
        if self.gate is not None:
            x_BTC = attended + x_BTC
            normed = self.norms[1](x_BTC)
            return self.down(functional.silu(self.up(normed)) * self.gate(normed)) + x_BTC
        second = first if self.shape.one_norm else self.norms[1](x_BTC)
        return self.down(functional.gelu(self.up(second))) + attended + x_BTC

    def _attend(self, x_BTC: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, tokens, width = x_BTC.shape
        heads = self.shape.heads
        qkv = self.qkv(x_BTC).view(batch, tokens, heads, 3, width // heads).permute(0, 2, 3, 1, 4)
        q_BHTD, k_BHTD, v_BHTD = (x.reshape(batch, heads, tokens, -1) for x in qkv.split(1, dim=2))
        q_BHTD, k_BHTD = (_lit_rotated(x, cos, sin) for x in (q_BHTD, k_BHTD))
        y_BHTD = functional.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, is_causal=True)
        return self.out(y_BHTD.transpose(1, 2).reshape(batch, tokens, width))


class _LitLoraQkv(nn.Module):
    """One product for query, key and value, with adapters on query and value as a grouped convolution, whose result
    is copied to its places between zeros."""

    def __init__(self, width: int, bias: bool, run: Run) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 3 * width, bias=bias)
        self.dropout = nn.Dropout(run.dropout)
        self.lora_a = nn.Parameter(torch.empty(2 * run.rank, width))
        self.lora_b = nn.Parameter(torch.empty(2 * width, run.rank))

    def forward(self, x_BTC: Tensor) -> Tensor:
        plain = self.linear(x_BTC)
        low = functional.linear(self.dropout(x_BTC), self.lora_a)
        added = functional.conv1d(low.transpose(1, 2), self.lora_b.unsqueeze(-1), groups=2).transpose(1, 2)
        added = added.transpose(0, 1)
        places = torch.empty(self.lora_b.shape[0], dtype=torch.long, device=x_BTC.device)
        zeros = added.new_zeros(*added.shape[:-1], plain.shape[-1]).view(-1, plain.shape[-1])
        placed = zeros.index_copy(1, places, added.reshape(-1, places.numel()))
        return plain + placed.view(*added.shape[:-1], -1).transpose(0, 1) * 2.0


class _LitRmsNorm(nn.Module):
    def __init__(self, width: int, wide: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.wide = wide

    def forward(self, x: Tensor) -> Tensor:
        dtype = x.dtype
        x = x.float() if self.wide else x
        normed = x * torch.rsqrt(torch.mean(x * x, dim=-1, keepdim=True) + 1e-5)
        return (self.weight * normed).to(dtype)


def _lit_norm(shape: LitShape) -> nn.Module:
    return _LitRmsNorm(shape.width, shape.wide_norm) if shape.gated else nn.LayerNorm(shape.width)


def _lit_rotated(x_BHTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    turned, rest = x_BHTD[..., : cos.shape[-1]], x_BHTD[..., cos.shape[-1] :]
    half = turned.shape[-1] // 2
    other = torch.cat((-turned[..., half:], turned[..., :half]), dim=-1)
    return torch.cat((turned * cos + other * sin, rest), dim=-1)
