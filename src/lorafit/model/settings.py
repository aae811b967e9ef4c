"""The `model` part of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lorafit.settings import Settings

Quantization = Literal["none", "nf4", "int8"]


class ModelSettings(Settings):
    name: str = Field(min_length=1)
    """The base model: a folder, a Hugging Face id, `modelscope:ID`, or `builtin`."""

    revision: str | None = Field(None, coerce_numbers_to_str=True)
    """Branch, tag or commit of a hub model; the default branch when absent."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """The type to compute in; auto takes what the hardware multiplies natively."""

    quantization: Quantization = "none"
    """Keep the frozen base in 4 bits (nf4), 8 bits (int8) or as it is (none)."""

    double_quantization: bool = True
    """Also quantise the constants of nf4 (0.37 bits a weight less)."""
