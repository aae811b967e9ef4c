"""GGUF: a tuned model for llama.cpp and Ollama, opened and compared there before it is handed over."""

from lorafit.export.gguf.check import Comparison, Reference, check_gguf, reference_of
from lorafit.export.gguf.export import Exported, export_adapter_gguf, export_gguf
from lorafit.export.gguf.families import supports
from lorafit.export.gguf.formats import FORMATS, check_form

__all__ = [
    "FORMATS",
    "Comparison",
    "Exported",
    "Reference",
    "check_form",
    "check_gguf",
    "export_adapter_gguf",
    "export_gguf",
    "reference_of",
    "supports",
]
