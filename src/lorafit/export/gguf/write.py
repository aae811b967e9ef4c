"""A transformers folder to a GGUF file, with the gguf package's writer, name maps and quantisers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lorafit.errors import ExportError
from lorafit.export.gguf.checkpoint import Checkpoint
from lorafit.export.gguf.formats import FORMATS, Format, check_form, stored, type_of
from lorafit.export.gguf.metadata import add_model
from lorafit.export.gguf.quantizer import find_quantizer, quantize_file
from lorafit.export.gguf.vocabulary import add_vocabulary, read_vocabulary


@dataclass(frozen=True, slots=True)
class Written:
    """A GGUF file; wide: the matrices that stayed float16, as blocks do not divide their rows; remarks: for people."""

    path: Path
    format: str
    tensors: int
    wide: tuple[str, ...]
    remarks: tuple[str, ...]


def convert(
    folder: Path,
    target: Path,
    form: str,
    tokenizer: Any,
    *,
    template: str | None = None,
    stop_ids: Sequence[int] = (),
    texts: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Written:
    """Write the model in `folder` (transformers' layout, safetensors) to the file `target` in a format of FORMATS.

    template: the Jinja chat template that the model was trained with (the tokenizer's own, if None); stop_ids: tokens
    that end an answer; texts: such as the model will meet, on which the choice of a pre-tokenizer is tried.

    Raises ExportError for an architecture, a tokenizer or a format that cannot be written; nothing is left behind.
    """
    require_gguf()
    check_form(form)
    chosen = FORMATS[form]
    quantizer = None if chosen.type else find_quantizer(form)
    checkpoint = Checkpoint(folder)
    first = target if quantizer is None else target.with_name(f"{target.name}.f16")
    try:
        written = _write(
            checkpoint, first, FORMATS["f16"] if quantizer else chosen, tokenizer, template, stop_ids, texts
        )
        if quantizer is not None:
            say(f"quantising to {form} with {quantizer}")
            quantize_file(quantizer, first, target, form)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        if quantizer is not None:
            first.unlink(missing_ok=True)
    return Written(target, form, written.tensors, written.wide, written.remarks)


def require_gguf() -> None:
    """Raises ExportError where the gguf package is missing."""
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise ExportError("GGUF export needs the gguf package: pip install 'lorafit[gguf]'.") from None


def _write(
    checkpoint: Checkpoint,
    target: Path,
    form: Format,
    tokenizer: Any,
    template: str | None,
    stop_ids: Sequence[int],
    texts: Sequence[str],
) -> Written:
    import gguf

    vocabulary = read_vocabulary(tokenizer, checkpoint.config.vocab_size, texts)
    writer = gguf.GGUFWriter(target, checkpoint.family.name)
    try:
        writer.add_type(gguf.GGUFType.MODEL)
        writer.add_file_type(gguf.LlamaFileType[form.file_type])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        remarks = add_model(writer, checkpoint.config, checkpoint.family, checkpoint.folder.name)
        add_vocabulary(writer, vocabulary, tokenizer, stop_ids, template or _single(tokenizer.chat_template))
        wide = _write_tensors(checkpoint, writer, form)
    finally:
        writer.close()
    return Written(target, form.name, len(checkpoint.sources), wide, (*remarks, *vocabulary.remarks))


def _write_tensors(checkpoint: Checkpoint, writer: Any, form: Format) -> tuple[str, ...]:
    """First what the file will hold, then the tensors, one at a time; returns the names of the float16 exceptions."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    kinds = {source.gguf_name: type_of(form, source.gguf_name, source.shape) for source in checkpoint.sources}
    factors = checkpoint.frequency_factors()
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, np.dtype(np.float32), factors.numel() * 4)
    for source in checkpoint.sources:
        kind = kinds[source.gguf_name]
        block, size = GGML_QUANT_SIZES[kind]
        # The type of the array only matters where the kind is not given.
        writer.add_tensor_info(
            source.gguf_name, source.shape, np.dtype(np.float32), int(np.prod(source.shape)) // block * size, kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(factors.numpy())
    for source, weight in checkpoint.tensors():
        kind = kinds[source.gguf_name]
        values = stored(weight.numpy(), kind)
        if kind == GGMLQuantizationType.F16 and not np.isfinite(values).all():
            raise ExportError(f"{source.name} holds values beyond float16's largest, 65504. Use bf16 or f32.")
        writer.write_tensor_data(values)
    expected = {form.type, form.ends}
    return tuple(name for name, kind in kinds.items() if kind.name == "F16" and "F16" not in expected)


def _single(template: str | dict[str, str] | None) -> str | None:
    return template.get("default") if isinstance(template, dict) else template
