"""A merged model as a graph for ONNX Runtime, with any number of rows and tokens, and with keys and values to keep.

Names of inputs and outputs are those that tools for such models look for: input_ids, attention_mask, position_ids and
past_key_values.N.key/value lead to logits and present.N.key/value. The first call has a past of length 0.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, DynamicCache

from lorafit.errors import ExportError
from lorafit.model.load import quiet_transformers

FORMATS = ("float32", "int8")
FILE = "model.onnx"
NEEDED = ("onnx", "onnxscript", "onnxruntime")
# How the graph is traced; every one of these sizes is free in the file. Sizes of 1 would be taken for constants.
ROWS, TOKENS, PAST = 2, 7, 5


def require_onnx() -> None:
    """Raises ExportError where a package of the extra `onnx` is absent."""
    if absent := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ExportError(f"--to onnx needs {', '.join(absent)}: pip install 'lorafit[onnx]'.")


def write_onnx(merged: Path, folder: Path, form: str, remote_code: bool = False) -> None:
    """Write the model in `merged` to folder/model.onnx (its weights in model.onnx.data) as float32 or int8.

    int8: the matrices of products in 8 bits, one scale a column, what goes into them rounded to 8 bits as it comes
    (dynamic quantisation).

    Raises ExportError for a model that torch cannot trace.
    """
    with quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(
            merged,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=remote_code,
        ).eval()
    if form == "float32":
        _trace(model, folder / FILE)
        return
    whole = folder / "float32.onnx"
    _trace(model, whole)
    del model
    _quantize(whole, folder / FILE)
    for path in (whole, folder / f"{whole.name}.data"):
        path.unlink(missing_ok=True)


class _WithPast(nn.Module):
    """The model as a function of tensors alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, past: list[Tensor]
    ) -> tuple[Tensor, ...]:
        """ids and positions [B, S], mask [B, P + S], past of [B, heads, P, D]; to logits [B, S, V] and the new past."""
        cache = DynamicCache(list(zip(past[::2], past[1::2], strict=True)))
        out = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
        )
        present = [part for layer in out.past_key_values.layers for part in (layer.keys, layer.values)]
        return (out.logits, *present)


def _trace(model: Any, file: Path) -> None:
    shapes = _cache_shapes(model)
    names = [f"{number}.{part}" for number in range(len(shapes) // 2) for part in ("key", "value")]
    past = [torch.zeros(ROWS, heads, PAST, size) for heads, size in shapes]
    positions = torch.arange(PAST, PAST + TOKENS).expand(ROWS, -1).clone()
    inputs = (
        torch.zeros(ROWS, TOKENS, dtype=torch.long),
        torch.ones(ROWS, PAST + TOKENS, dtype=torch.long),
        positions,
        past,
    )
    rows, tokens, kept = (torch.export.Dim(name) for name in ("batch", "sequence", "past"))
    try:
        with _quiet_tools(), torch.no_grad():
            program = torch.onnx.export(
                _WithPast(model).eval(),
                inputs,
                input_names=["input_ids", "attention_mask", "position_ids", *(f"past_key_values.{n}" for n in names)],
                output_names=["logits", *(f"present.{name}" for name in names)],
                dynamic_shapes=(
                    {0: rows, 1: tokens},
                    {0: rows, 1: torch.export.Dim.DYNAMIC},
                    {0: rows, 1: tokens},
                    [{0: rows, 2: kept}] * len(past),
                ),
                dynamo=True,
                optimize=True,
                verbose=False,
            )
            assert program is not None, "dynamo=True gives a program"
            program.save(str(file), external_data=True)
    except torch.onnx.OnnxExporterError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ExportError(f"torch cannot trace this model ({type(model).__name__}) for ONNX: {lines[-1]}") from error


def _cache_shapes(model: Any) -> list[tuple[int, int]]:
    """(heads, size of one) of each layer's keys and values, in turn: seen in a call, as configs say it in many ways."""
    with torch.no_grad():
        layers = model(input_ids=torch.zeros(1, 2, dtype=torch.long), use_cache=True).past_key_values.layers
    return [(part.shape[1], part.shape[3]) for layer in layers for part in (layer.keys, layer.values)]


@contextlib.contextmanager
def _quiet_tools() -> Iterator[None]:
    """Hold back what these tools say of packages that are not there, of names that they merge, of further tools."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _quantize(source: Path, target: Path) -> None:
    from onnxruntime.quantization import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
        QuantType,
        quantize_dynamic,
    )

    with _quiet_tools():
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
        )
