"""llama.cpp's own quantiser, for the formats that the gguf package cannot write (q4_k_m and its like).

The xllamacpp wheel leaves the quantiser out, so it is either the llama-quantize program or llama-cpp-python.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from lorafit.errors import ExportError

PROGRAM = "llama-quantize"
PACKAGE = "llama_cpp"
# Called in a process of its own: a fault in native code must not take the export with it.
_BY_PACKAGE = """
import ctypes, sys, llama_cpp
source, target, form = sys.argv[1:]
params = llama_cpp.llama_model_quantize_default_params()
params.ftype = getattr(llama_cpp, "LLAMA_FTYPE_MOSTLY_" + form)
sys.exit(llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)))
"""


def find_quantizer(form: str) -> str:
    """The path of llama-quantize, or "llama_cpp" for the Python package. Raises ExportError when neither is there."""
    program = shutil.which(PROGRAM)
    if program is not None:
        return program
    if importlib.util.find_spec(PACKAGE) is not None:
        return PACKAGE
    raise ExportError(
        f"{form} is made by llama.cpp's own quantiser, and neither the program {PROGRAM} (on PATH) nor the package "
        "llama-cpp-python is here. Install one of them, or use f16, q8_0 or q4_0, which need neither."
    )


def quantize_file(quantizer: str, source: Path, target: Path, form: str) -> None:
    """Quantise a GGUF file with what `find_quantizer` found. Raises ExportError with its last words when it fails."""
    kind = form.upper()
    if quantizer == PACKAGE:
        command = [sys.executable, "-c", _BY_PACKAGE, str(source), str(target), kind]
    else:
        command = [quantizer, str(source), str(target), kind]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0 or not target.is_file():
        last = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-3:]
        raise ExportError(
            f"{quantizer} could not make {form} of {source.name}: {' / '.join(last) or 'it said nothing'}"
        )
