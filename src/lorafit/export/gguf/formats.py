"""GGUF's number formats: what each tensor of a file is stored in, and what a file in it may differ by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lorafit.errors import ExportError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Format:
    """name: as users type it; type: of matrices, in gguf's names; ends: of the embedding and the head, which suffer
    most from four bits; file_type: llama.cpp's number of it.

    What a file may differ by from the model in float32: margin: a token may differ where the reference's two best are
    closer (natural log); broken: the share of tokens that may differ beyond it; log_prob: largest difference of the
    log-probability of a likely token; perplexity: relative.
    """

    name: str
    type: str
    ends: str
    file_type: str
    margin: float
    broken: float
    log_prob: float
    perplexity: float


# llama.cpp also rounds what goes into a product: to float16 for f16, to bfloat16 for bf16, to 8 bits for blocks.
# Measured on stories260K, which rounding hurts most: 2e-5, 0.009, 0.1, 0.27 and 2.4 in the log-probability.
FORMATS = {
    one.name: one
    for one in (
        Format("f32", "F32", "F32", "ALL_F32", 1e-3, 0.0, 5e-3, 1e-3),
        Format("f16", "F16", "F16", "MOSTLY_F16", 0.05, 0.0, 0.15, 0.01),
        Format("bf16", "BF16", "BF16", "MOSTLY_BF16", 0.15, 0.0, 0.6, 0.03),
        Format("q8_0", "Q8_0", "Q8_0", "MOSTLY_Q8_0", 0.4, 0.0, 1.2, 0.04),
        Format("q4_0", "Q4_0", "Q8_0", "MOSTLY_Q4_0", 1.5, 0.05, 8.0, 0.25),
    )
}
# Made by llama.cpp's own quantiser from f16 (quantizer.py), by its names.
K_QUANTS = ("q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k")
# Three bits and fewer lose a lot: they are run and reported, and held to little.
FORMATS |= {
    name: Format(name, "", "", "", 1.5, 0.15, 12.0, 0.6)
    if name.startswith(("q2", "q3"))
    else Format(name, "", "", "", 1.5, 0.05, 8.0, 0.25)
    for name in K_QUANTS
}

ENDS = ("token_embd.weight", "output.weight")


def type_of(form: Format, gguf_name: str, shape: Sequence[int]) -> Any:
    """gguf's quantisation type for a tensor. Vectors and learned positions stay float32, as llama.cpp expects; rows
    that blocks of 32 do not divide stay float16."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if len(shape) < 2 or gguf_name == "position_embd.weight":
        return GGMLQuantizationType.F32
    wanted = GGMLQuantizationType[form.ends if gguf_name in ENDS else form.type]
    return wanted if shape[-1] % GGML_QUANT_SIZES[wanted][0] == 0 else GGMLQuantizationType.F16


def stored(values: np.ndarray[Any, Any], kind: Any) -> np.ndarray[Any, Any]:
    """A float32 array as it stands in the file."""
    from gguf.quants import quantize

    found: np.ndarray[Any, Any] = quantize(values, kind)
    return found


def check_form(form: str) -> None:
    """Raises ExportError for a format that cannot be written."""
    if form not in FORMATS:
        raise ExportError(f"GGUF has no format {form!r} here. Known are {', '.join(FORMATS)}.")
