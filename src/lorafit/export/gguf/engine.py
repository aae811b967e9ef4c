"""llama.cpp (the xllamacpp wheel) asked about a GGUF file, in a fresh process."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorafit.errors import ExportError, SelfCheckFailed

WORKER = Path(__file__).with_name("llama_worker.py")
TOP = 64
SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Heard:
    """tokens: of each text; rendered: each dialogue by the file's own template, ready to be answered; steps: at each
    position of each answer the likeliest tokens with their log-probabilities (natural log), best first."""

    tokens: list[list[int]]
    rendered: list[str]
    steps: list[list[list[tuple[int, float]]]]


def require_engine() -> None:
    """Raises ExportError where llama.cpp is not installed."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise ExportError(
            "A GGUF file is checked with llama.cpp before it is handed over: pip install 'lorafit[gguf]' (xllamacpp)."
        )


def ask_llama_cpp(
    file: Path,
    spans: Sequence[tuple[Sequence[int], int]],
    texts: Sequence[str] = (),
    dialogues: Sequence[Sequence[Mapping[str, str]]] = (),
    adapter: Path | None = None,
) -> Heard:
    """Open `file` with llama.cpp and follow `spans` (token ids of prompt and answer, length of the prompt).

    Raises ExportError where llama.cpp is not installed and SelfCheckFailed, with its words, where it will not run the
    file.
    """
    require_engine()
    request = {
        "model": str(file),
        "adapter": str(adapter) if adapter else None,
        "context": max([len(tokens) for tokens, _ in spans], default=0) + 8,
        "threads": max(1, int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))),
        "top": TOP,
        "texts": list(texts),
        "dialogues": [[dict(turn) for turn in turns] for turns in dialogues],
        "spans": [[list(tokens), start] for tokens, start in spans],
    }
    with tempfile.TemporaryDirectory(prefix="lorafit-gguf-") as folder:
        answer = Path(folder) / "answer.json"
        try:
            done = subprocess.run(
                [sys.executable, str(WORKER), str(answer)],
                input=json.dumps(request),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SelfCheckFailed(f"llama.cpp did not finish with {file.name} within {SECONDS} s.") from None
        if done.returncode != 0 or not answer.is_file():
            raise SelfCheckFailed(f"llama.cpp cannot run {file.name}: {_last_words(done.stderr)}")
        heard = json.loads(answer.read_text(encoding="utf-8"))
    # A number that is none (weights with NaN) comes as null.
    steps = [
        [[(int(token), -math.inf if log is None else float(log)) for token, log in step] for step in span]
        for span in heard["steps"]
    ]
    return Heard(heard["tokens"], heard["rendered"], steps)


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    faults = [line for line in lines if "error" in line.lower()] or lines
    return " / ".join(faults[-3:]) or "it said nothing"
