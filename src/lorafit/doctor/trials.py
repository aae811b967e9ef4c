"""Checks that compute: a quantised layer and a training step, as a run does them, on the device of a run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Literal

import peft
import torch
from torch import Tensor, nn

from lorafit import builtin, hardware
from lorafit.adapters.fast import make_fast
from lorafit.adapters.inject import inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.data.pack import make_batch
from lorafit.data.prepare import prepare
from lorafit.data.template import Renderer, choose_template
from lorafit.doctor.line import Line
from lorafit.model.forward import choose_forward
from lorafit.model.hub import load_tokenizer
from lorafit.model.load import load_base
from lorafit.model.quantize import dequantized_weight, stay_in_training_mode
from lorafit.train.optim import MasterOptimizer
from lorafit.train.step import Step, train_step

ABSENT = (
    "cannot be used: bitsandbytes is not installed",
    "pip install bitsandbytes where it exists for this system, or train with model.quantization=none (--method lora)",
)
Kind = Literal["nf4", "int8"]
INPUTS, OUTPUTS, RANK = 256, 192, 8
# Of weights drawn from a normal distribution, in the Frobenius norm: NF4 rounds them by 9 %, 8 bits by 0.8 %.
WEIGHT_BOUND = {"nf4": 0.15, "int8": 0.02}
# What rounding makes of products, relative; in 8 bits activations may be rounded too.
PRODUCT_BOUND = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}
INT8_BOUND = 4e-2
EXAMPLES, UPDATES, SLOW_STEP = 8, 3, 10.0
WITHOUT = "until then train with model.quantization=none (--method lora)"


def check_4bit() -> Iterator[Line]:
    yield layer_line("nf4", hardware.choose()) if find_spec("bitsandbytes") else Line("warning", "4-bit layer", *ABSENT)


def check_8bit() -> Iterator[Line]:
    yield (
        layer_line("int8", hardware.choose()) if find_spec("bitsandbytes") else Line("warning", "8-bit layer", *ABSENT)
    )


def layer_line(kind: Kind, chosen: hardware.Hardware) -> Line:
    """One quantised layer with an adapter, forward and backward, against plain products with its dequantised weight."""
    subject = "4-bit layer" if kind == "nf4" else "8-bit layer"
    where = f"on {chosen.device} in {chosen.dtype_name} (bitsandbytes {version('bitsandbytes')})"
    bound = INT8_BOUND if kind == "int8" else PRODUCT_BOUND[chosen.dtype]
    errors = layer_errors(kind, chosen)
    # Written so that what is not a number is wrong.
    wrong = [name for name, error in errors.items() if not error <= (WEIGHT_BOUND[kind] if name == "weight" else bound)]
    if wrong:
        shown = ", ".join(f"{name} off by {errors[name]:.1%}" for name in wrong)
        found = f"computes wrong numbers {where}: {shown}"
        return Line("fault", subject, found, f"pip install --upgrade bitsandbytes; {WITHOUT}")
    worst = max(error for name, error in errors.items() if name != "weight")
    return Line("ok", subject, f"forward and backward are right {where}; off by {worst:.2%}, rounding alone")


def layer_errors(kind: Kind, chosen: hardware.Hardware) -> dict[str, float]:
    """Relative errors: of the weight against what was quantised, of the products against those with that weight."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    original = draw(OUTPUTS, INPUTS) / INPUTS**0.5
    layer = _quantised(kind, original, chosen)
    w_OI = dequantized_weight(layer).float()
    model = _with_adapter(kind, layer, draw(OUTPUTS, RANK))
    (adapted,) = model
    a_rI, b_Or = (getattr(adapted, name)["default"].weight for name in ("lora_A", "lora_B"))
    x = draw(2, 5, INPUTS).to(chosen.device, chosen.dtype).requires_grad_()
    gradient = draw(2, 5, OUTPUTS).to(chosen.device, chosen.dtype)
    y = model(x)
    dx, da, db = torch.autograd.grad(y, (x, a_rI, b_Or), gradient)
    with torch.no_grad():
        token = layer(x[:, -1:])  # a product of its own in bitsandbytes: the one of generation
    plain_x, plain_a, plain_b = (t.detach().float().requires_grad_() for t in (x, a_rI, b_Or))
    plain_y = plain_x @ w_OI.T + adapted.scaling["default"] * (plain_x @ plain_a.T) @ plain_b.T
    plain_dx, plain_da, plain_db = torch.autograd.grad(plain_y, (plain_x, plain_a, plain_b), gradient.float())
    return {
        "weight": _error(w_OI, original.to(w_OI.device)),
        "output": _error(y, plain_y),
        "output of one token": _error(token, plain_x[:, -1:] @ w_OI.T),
        "gradient of the input": _error(dx, plain_dx),
        "gradient of the adapter": max(_error(da, plain_da), _error(db, plain_db)),
    }


def _quantised(kind: Kind, weight_OI: Tensor, chosen: hardware.Hardware) -> Any:
    """A bitsandbytes layer as `load_base` makes them."""
    import bitsandbytes as bnb

    layer: Any
    if kind == "nf4":
        layer = bnb.nn.Linear4bit(
            INPUTS, OUTPUTS, bias=False, compute_dtype=chosen.dtype, compress_statistics=True, quant_type="nf4"
        )
        layer.weight.data = weight_OI.to(chosen.dtype)
    else:
        layer = bnb.nn.Linear8bitLt(INPUTS, OUTPUTS, bias=False, has_fp16_weights=False)
        layer.weight.data = weight_OI.to(torch.float16)
    layer.requires_grad_(False)
    holder = nn.Sequential(layer).to(chosen.device)
    stay_in_training_mode(holder)
    return holder[0]


def _with_adapter(kind: Kind, layer: Any, b_Or: Tensor) -> Any:
    """The layer under PEFT's LoRA with lorafit's forward, in a model of one layer."""
    model: Any = nn.Sequential(layer)
    setattr(model, "is_loaded_in_4bit" if kind == "nf4" else "is_loaded_in_8bit", True)  # PEFT asks for these
    peft.inject_adapter_in_model(peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=["0"]), model)
    make_fast(model)
    with torch.no_grad():
        model[0].lora_B["default"].weight.copy_(b_Or)  # it starts at zero, which would hide A's gradient
    return model


def _error(found: Tensor, right: Tensor) -> float:
    """The relative difference in the Frobenius norm."""
    return float((found.detach().float() - right.detach()).norm() / right.detach().norm())


def check_training() -> Iterator[Line]:
    chosen = hardware.choose()
    step, seconds = training_step(chosen)
    yield step_line(step, seconds, chosen)


def step_line(step: Step, seconds: float, chosen: hardware.Hardware) -> Line:
    where = f"of the built-in model on {chosen.device} in {chosen.dtype_name}"
    if not math.isfinite(step.loss) or not (0 < step.gradient_norm < math.inf) or not step.applied:
        found = f"a step {where} gives loss {step.loss:.3g} and gradient norm {step.gradient_norm:.3g}"
        return Line("fault", "training step", found, "try model.device=cpu, or model.dtype=float32; please report this")
    figures = f"loss {step.loss:.2f}, gradient norm {step.gradient_norm:.2f}"
    if seconds > SLOW_STEP:
        found = f"a step {where} takes {seconds:.1f} s, where a fraction of one is usual ({figures})"
        return Line("warning", "training step", found, "see whether other programs use the processor or the card")
    return Line("ok", "training step", f"works: {EXAMPLES} examples {where} in {seconds:.2f} s ({figures})")


def training_step(chosen: hardware.Hardware) -> tuple[Step, float]:
    """(the last of a few updates of a LoRA on the built-in model, its seconds)."""
    tokenizer = load_tokenizer(builtin.MODEL)
    renderer = Renderer(tokenizer, choose_template(tokenizer, "auto"))
    samples = prepare(renderer, str(builtin.TRAIN), 0.0, max_length=256, limit=EXAMPLES).training.samples
    with hardware.float32_through_onednn(chosen):
        injection = inject(load_base(builtin.MODEL, chosen), AdapterSettings(), 0)
        forward, _ = choose_forward(injection.model)
        optimizer = MasterOptimizer(injection.model.parameters(), "adamw", 0.0)
        # Smaller than the usual start: a scale that overflows is no fault, but would take updates to come down.
        scaler = torch.amp.GradScaler(chosen.device.type, init_scale=256.0, enabled=chosen.dtype == torch.float16)
        batch = make_batch(samples, 2048, forward.packed)
        injection.model.train()
        with forward.running():
            for update in range(UPDATES):
                began = time.perf_counter()
                step = train_step(forward, batch, optimizer, scaler, injection.place, update, 1e-3, 1.0)
                seconds = time.perf_counter() - began
    return step, seconds
