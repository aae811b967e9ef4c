"""Put an adapter on a base through PEFT, and say what it matched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from lorafit.adapters.dropout import DropoutPlace, place_dropout
from lorafit.adapters.fast import make_fast
from lorafit.adapters.pissa import start_from_principal_factors
from lorafit.adapters.settings import AdapterSettings
from lorafit.adapters.targets import in_and_out, kinds, linear_layers, select, shortest_names
from lorafit.errors import AdapterError
from lorafit.model.load import Base, count_parameters
from lorafit.model.quantize import has_ragged_rows, is_quantized


@dataclass(frozen=True, slots=True)
class Injection:
    """What is trained: the model, where its dropout is told its place, and what the adapter matched.

    matched: (kind of layer, how many, inputs, outputs); left: kinds of linear layers without an adapter.
    """

    model: Any
    place: DropoutPlace
    matched: tuple[tuple[str, int, int, int], ...]
    left: tuple[str, ...]
    trainable: int
    total: int
    warnings: tuple[str, ...]
    fast: int = 0
    slow: int = 0

    def lines(self) -> Iterator[str]:
        """The injection report, a line each."""
        for kind, count, inputs, outputs in self.matched:
            yield f"{kind}  {count} x [{inputs} -> {outputs}]"
        if self.left:
            yield f"without an adapter: {', '.join(self.left)}"
        if self.slow:
            yield f"{self.slow} layers use PEFT's own forward ({self.fast} the fast one)"
        share = self.trainable / self.total
        yield f"{self.trainable:,} parameters are trained, {share:.2%} of the base's {self.total:,}"


def inject(base: Base, settings: AdapterSettings, seed: int) -> Injection:
    """Make the base trainable as the settings say; for method `none` every weight is.

    rsLoRA: arXiv 2312.03732; DoRA: 2402.09353; PiSSA: 2404.02948; LoRA: 2106.09685.

    Raises AdapterError when no layer matches, or when a variant cannot be used on this base.
    """
    place = DropoutPlace(seed)
    total = count_parameters(base.model)
    if settings.method == "none":
        assert base.quantization == "none", "the recipe refuses this"
        base.model.requires_grad_(True)
        return Injection(base.model, place, (), (), total, total, ())

    import peft

    chosen, unmatched = select(base.model, settings.targets)
    layers = linear_layers(base.model)
    if settings.variant == "dora" and base.quantization == "nf4":
        _refuse_ragged_dora([(name, layers[name]) for name in chosen])
    warnings = [f"adapter.targets: {name!r} matches no linear layer." for name in unmatched]
    if stacked := kinds(name for name, p in base.model.named_parameters() if p.dim() == 3):
        warnings.append(f"These stacked weights (experts) get no adapter and stay as they are: {', '.join(stacked)}.")
    warnings += _too_large(settings.rank, [layers[name] for name in chosen])
    norms = _norm_names(base.model) if settings.train_norms else None
    if settings.train_bias:
        warnings.append(
            "adapter.train_bias: the base's own biases change, so the adapter cannot be switched off cleanly."
        )
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=shortest_names(base.model, chosen),
        fan_in_fan_out=isinstance(layers[chosen[0]], Conv1D),
        use_rslora=settings.variant == "rslora",
        use_dora=settings.variant == "dora",
        bias="all" if settings.train_bias else "none",
        modules_to_save=norms,
    )
    torch.manual_seed(seed)
    model = peft.get_peft_model(base.model, config)  # adapters in float32 whatever the base's type
    place_dropout(model, place)
    fast, slow = make_fast(model)
    if settings.variant == "pissa":
        start_from_principal_factors(model, base)
    groups = Counter((kinds([name])[0], *in_and_out(layers[name])) for name in chosen)
    return Injection(
        model=model,
        place=place,
        matched=tuple((kind, count, inputs, outputs) for (kind, inputs, outputs), count in groups.items()),
        left=tuple(kinds(name for name in layers if name not in set(chosen))),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        total=total,
        warnings=tuple(warnings),
        fast=fast,
        slow=slow,
    )


def _refuse_ragged_dora(layers: list[tuple[str, nn.Module]]) -> None:
    # PEFT's DoRA reads the base weight through the kernel that is wrong for such rows (model/quantize.py).
    ragged = [name for name, layer in layers if is_quantized(layer) and has_ragged_rows(layer)]
    if ragged:
        raise AdapterError(
            f"adapter.variant=dora cannot be used with nf4 on the CPU here: {kinds(ragged)[0]} has rows that are no "
            "multiple of 64, which bitsandbytes dequantises wrongly for DoRA.\n"
            "Use adapter.variant=plain or rslora, or model.quantization=none or int8."
        )


def _too_large(rank: int, layers: list[nn.Module]) -> list[str]:
    smallest = min(min(in_and_out(layer)) for layer in layers)
    if rank <= smallest:
        return []
    return [
        f"adapter.rank={rank} is larger than the smallest side of a target ({smallest}): "
        f"nothing above rank {smallest} can be learned there."
    ]


def _norm_names(model: Any) -> list[str]:
    names = {name.rpartition(".")[2] for name, module in model.named_modules() if "Norm" in type(module).__name__}
    if not names:
        raise AdapterError("adapter.train_norms: this model has no normalisation layer by that name (…Norm).")
    return sorted(names)
