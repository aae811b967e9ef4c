"""lorafit export: take a tuned model away, checked to answer like what was trained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "export",
        help="take a tuned model away, checked to answer like what was trained",
        description="merged: fold the adapter into the weights that it was trained against and save a plain "
        "transformers folder. gguf: that as a file for llama.cpp and Ollama. The result is opened again by the engine "
        "that will use it and compared on the prompts that the run put aside.",
    )
    parser.add_argument("run_folder", help="a run folder, such as runs/NAME")
    parser.add_argument(
        "--to", choices=["merged", "gguf"], required=True, help="merged: one plain model; gguf: for llama.cpp"
    )
    parser.add_argument("--format", default="q8_0", metavar="FORM", help="of gguf: f16, bf16, q8_0, q4_0, ... (q8_0)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to (RUN/export/merged or gguf-FORM)")
    parser.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16"],
        default="auto",
        help="what merged is saved in; auto keeps the base's own (auto)",
    )
    parser.add_argument("--checkpoint", type=int, metavar="UPDATE", help="use the copy made after this update")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lorafit.observe.console import Console
    from lorafit.opened import export_merged, open_run

    console = Console()
    if args.to == "gguf":
        from lorafit.export.gguf import check_form

        check_form(args.format)
    with console.working(f"loading {args.run_folder}"):
        opened = open_run(args.run_folder, args.checkpoint, args.trust_remote_code)
    if args.to == "gguf":
        from lorafit.opened import export_to_gguf

        target = args.output or opened.run.path / "export" / f"gguf-{args.format}"
        exported = export_to_gguf(opened, args.format, target, console)
        console.say(f"self-check in llama.cpp: {exported.comparison.sentence()}", style="green")
        for remark in exported.remarks:
            console.warn(remark)
        print(f"GGUF: {exported.file}")
        return 0
    name = "merged" if args.checkpoint is None else f"merged-{args.checkpoint:06d}"
    target = args.output or opened.run.path / "export" / name
    merged = export_merged(opened, target, args.dtype, console)
    console.say(
        f"self-check of the run itself, {opened.base.hardware.dtype_name}: {merged.run.sentence()}", style="green"
    )
    console.say(f"self-check of the fold, float32: {merged.fold.sentence()}", style="green")
    console.say(f"self-check of the saved file, {merged.dtype}: {merged.file.sentence()}", style="green")
    if merged.file.broken:
        console.warn(
            f"{merged.file.broken} tokens differ by the rounding to {merged.dtype} alone; --dtype float32 keeps them."
        )
    print(f"merged model: {merged.folder}")
    return 0
