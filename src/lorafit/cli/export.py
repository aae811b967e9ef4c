"""lorafit export: take a tuned model away, checked to answer like what was trained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "export",
        help="take a tuned model away, checked to answer like what was trained",
        description="merged: the adapter folded into the weights that it was trained against, a plain transformers "
        "folder. quantized: that in 4 or 8 bits (bitsandbytes). onnx: for ONNX Runtime. gguf: for llama.cpp and "
        "Ollama. The result is opened by the engine that will use it, in a fresh process, and compared on the prompts "
        "that the run put aside; where it differs by more than its format explains, there is no export.",
    )
    parser.add_argument("run_folder", help="a run folder, such as runs/NAME")
    parser.add_argument("--to", required=True, metavar="KIND", help="merged, quantized, onnx, gguf or gguf-adapter")
    parser.add_argument(
        "--format",
        metavar="FORM",
        help="quantized: nf4, int8 (nf4); onnx: float32, int8 (float32); gguf: f16, bf16, q8_0, q4_0, ... (q8_0)",
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to (RUN/export/KIND or KIND-FORM)")
    parser.add_argument(
        "--dtype", default="auto", metavar="TYPE", help="float32, bfloat16 or float16; auto keeps the base's own (auto)"
    )
    parser.add_argument(
        "--onto",
        choices=["trained", "original"],
        default="trained",
        help="merged, after QLoRA: fold into the 4-bit weights that were trained against, or into the original "
        "16-bit ones, which is another function (trained)",
    )
    parser.add_argument("--max-shard-size", default="5GB", metavar="SIZE", help="of a file of weights (5GB)")
    parser.add_argument("--license", default="unknown", metavar="NAME", help="for the model card (unknown)")
    parser.add_argument("--push", metavar="REPO", help="then upload it to this repository of the Hugging Face hub")
    parser.add_argument("--checkpoint", type=int, metavar="UPDATE", help="use the copy made after this update")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lorafit.exporting import Options, export, push, settled
    from lorafit.observe.console import Console
    from lorafit.opened import locate_run

    options = settled(Options(args.to, args.format, args.dtype, args.onto, args.max_shard_size, args.license))
    console = Console()
    located = locate_run(args.run_folder, args.checkpoint, args.trust_remote_code)
    name = options.kind if options.form is None else f"{options.kind}-{options.form}"
    if args.checkpoint is not None:
        name += f"-{args.checkpoint:06d}"
    done = export(located, options, args.output or located.run.path / "export" / name, console)
    for what, sentence in done.checks:
        console.say(f"self-check, {what}: {sentence}", style="green")
    for remark in done.remarks:
        console.warn(remark)
    print(f"{options.kind}, {done.form}: {done.folder}")
    if args.push:
        print(f"uploaded: {push(done.folder, args.push)}")
    return 0
