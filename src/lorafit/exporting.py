"""`lorafit export`: a run's tuned model taken away, each time checked by the engine that will use it."""

from __future__ import annotations

import contextlib
import difflib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from lorafit import hardware
from lorafit.errors import ExportError
from lorafit.export import quantized
from lorafit.export.card import Card, model_card
from lorafit.export.check import check_export
from lorafit.export.fold import adapter_of, read_adapter
from lorafit.export.gguf import Exported as ExportedGguf
from lorafit.export.gguf import check_form as check_gguf_form
from lorafit.export.gguf import export_adapter_gguf, export_gguf
from lorafit.export.gguf import reference_of as gguf_reference
from lorafit.export.merge import Shards, Trained, check_empty, write_merged, write_surroundings
from lorafit.export.onnx_model import FORMATS as ONNX_FORMATS
from lorafit.export.onnx_model import require_onnx, write_onnx
from lorafit.export.reference import (
    ANSWER_TOKENS,
    Reference,
    fitting,
    read_reference,
    reference_of,
    write_reference,
)
from lorafit.export.weights import size_in_bytes
from lorafit.export.whole import write_whole
from lorafit.identity import file_hash
from lorafit.model.hub import is_local, read_config
from lorafit.model.load import empty_model, longest_sequence, quiet_transformers
from lorafit.observe.console import Console
from lorafit.opened import Located
from lorafit.records import Message
from lorafit.run import read_json, replace_folder, write_json, write_text

KINDS = ("merged", "quantized", "onnx", "gguf", "gguf-adapter")
DTYPES = ("auto", *hardware.DTYPES)
# Of each kind: what --format may say, the first of them where nothing is said.
FORMATS: dict[str, Sequence[str]] = {"quantized": quantized.FORMATS, "onnx": ONNX_FORMATS}
Onto = Literal["trained", "original"]


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for besides the run. form: `--format`; onto: `original` folds the adapter of a QLoRA run into the
    16-bit weights that its base was quantised from."""

    kind: str = "merged"
    form: str | None = None
    dtype: str = "auto"
    onto: Onto = "trained"
    shard_size: str = "5GB"
    license: str = "unknown"


@dataclass(frozen=True, slots=True)
class Exported:
    """checks: of what, and how it came out, for people; figures: of the last check."""

    folder: Path
    form: str
    checks: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    figures: Mapping[str, Any]


def settled(options: Options) -> Options:
    """The options with a format filled in. Raises ExportError for names that are not known."""
    _known("--to", options.kind, KINDS)
    _known("--dtype", options.dtype, DTYPES)
    size_in_bytes(options.shard_size)
    if options.kind == "gguf":
        form = options.form or "q8_0"
        check_gguf_form(form)
        return replace(options, form=form)
    formats = FORMATS.get(options.kind)
    if formats is None:
        if options.form is not None:
            raise ExportError("--format belongs to quantized, onnx and gguf; merged is written in --dtype.")
        return options
    form = options.form or formats[0]
    _known(f"--format of {options.kind}", form, formats)
    return replace(options, form=form)


def _known(what: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ExportError(f"{what} {given!r} is not known.{hint} There are {', '.join(known)}.")


def export(run: Located, options: Options, target: Path, console: Console) -> Exported:
    """Export a run to the folder `target`, which is there only when its check held.

    Raises ExportError for what cannot be exported, AdapterError and ModelError for parts that do not fit or cannot be
    read, SelfCheckFailed when the export does not answer like what was trained.
    """
    options = settled(options)
    check_empty(target)
    check_same_base(run)
    if options.kind == "onnx":
        require_onnx()
    reference = _reference(run, console)
    exporters = {"merged": _merged, "quantized": _quantized, "onnx": _onnx, "gguf": _gguf}
    exporter = exporters.get(options.kind, _gguf_adapter)
    return exporter(run, options, target, reference, console)


def check_same_base(run: Located) -> None:
    """Raises ExportError when the base's files are not those that the run was trained on, as far as a checkpoint of the
    run still knows them."""
    states = sorted(run.run.checkpoints.glob("*/state.json"))
    if not states or run.recipe.adapter.method == "none":
        return
    base = read_json(states[-1]).get("identity", {}).get("base", {})
    for name, known in base.items():
        file = run.base / name
        if not file.is_file() or file_hash(file) != known:
            raise ExportError(
                f"{file} is {'another one' if file.is_file() else 'missing, and was there'} when {run.run.path} was "
                "trained. An adapter is of one base: put that one back, or name it in recipe.yaml (model.name)."
            )


def _reference(run: Located, console: Console) -> Reference:
    """What the tuned model answers: kept when training ended, or found out now.

    An unfinished run's weights may still change, and a checkpoint's are others than the kept answers are of.
    """
    finished = read_json(run.run.status).get("state") == "finished"
    to_keep = finished and run.trained in (run.run.adapter, run.run.model)
    if to_keep and (kept := read_reference(run.run.self_check)):
        return kept
    with console.working("the tuned model answers the prompts of its self-check"):
        reference = reference_of(run.open().model, run.renderer, put_aside(run))
    if to_keep:
        write_reference(reference, run.run.self_check)
    return reference


def put_aside(run: Located) -> list[list[Message]]:
    """The prompts that a run keeps for its checks."""
    lines = (run.run.self_check / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return [[Message(**turn) for turn in json.loads(line)] for line in lines]


def _dtype(run: Located, wanted: str) -> str:
    """`auto` keeps float32 where the base is stored so, and takes bfloat16 for all that is not of 16 bits."""
    if wanted != "auto":
        return wanted
    config = read_config(run.base)
    stored = str(config.get("dtype") or config.get("torch_dtype"))
    return stored if stored in hardware.DTYPES else "bfloat16"


def _trained(run: Located, onto: Onto) -> Trained:
    computes_in = run.hardware.dtype
    if run.recipe.adapter.method == "none":
        return Trained(run.base, computes_in, None, remote_code=run.remote_code)
    if run.recipe.model.quantization == "none" or onto == "original":
        return Trained(run.base, computes_in, read_adapter(run.trained), remote_code=run.remote_code)
    from peft import get_peft_model_state_dict

    model = run.open().model
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    adapter = adapter_of(model.peft_config["default"], state, str(run.trained))
    return Trained(run.base, computes_in, adapter, model, run.remote_code)


def _write(
    run: Located, onto: Onto, dtype: str, shard_bytes: int, folder: Path, say: Callable[[str], None]
) -> tuple[str, ...]:
    """Write the merged model to an existing folder; returns remarks."""
    trained = _trained(run, onto)
    shards = Shards(trained)
    obstacle = shards.obstacle()
    if obstacle is None:
        say(f"folding in float32, tensor by tensor, saving in {dtype}")
        write_merged(shards, folder, hardware.DTYPES[dtype], shard_bytes)
    else:
        say(f"{obstacle}: the model is merged as one, which needs it whole in memory")
        write_whole(trained, folder, hardware.DTYPES[dtype], shard_bytes)
    write_surroundings(trained, run.renderer.tokenizer, run.renderer.stop_ids, folder, dtype)
    return () if obstacle is None else (f"{obstacle}: merged as one",)


@contextlib.contextmanager
def _merged_beside(run: Located, dtype: str, target: Path, console: Console) -> Iterator[Path]:
    """The merged model in a folder that is gone afterwards, for exports that are made of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".merged-", dir=target.parent) as folder:
        _write(run, "trained", dtype, size_in_bytes("5GB"), Path(folder), console.say)
        yield Path(folder)


def _merged(run: Located, options: Options, target: Path, reference: Reference, console: Console) -> Exported:
    dtype, shard_bytes = _dtype(run, options.dtype), size_in_bytes(options.shard_size)
    original = options.onto == "original" and run.recipe.model.quantization != "none"
    checks: list[tuple[str, str]] = []
    if original:
        with _merged_beside(run, dtype, target, console) as beside:
            one = check_export(beside, dtype, reference, remote_code=run.remote_code)
        checks.append((f"folded into the {run.recipe.model.quantization} base that was trained", one.sentence()))
    what = "folded into the original weights, another function than was trained" if original else "transformers"
    form = str(run.recipe.model.quantization) if original else dtype
    done: list[Exported] = []

    def fill(folder: Path) -> None:
        remarks = _write(run, options.onto, dtype, shard_bytes, folder, console.say)
        with console.working("opening the folder in transformers, in a fresh process"):
            found = check_export(folder, form, reference, remote_code=run.remote_code, must_hold=not original)
        done.append(Exported(target, dtype, (*checks, (what, found.sentence())), remarks, found.to_json()))
        _finish(run, options, folder, done[0])

    replace_folder(target, fill)
    return done[0]


def _quantized(run: Located, options: Options, target: Path, reference: Reference, console: Console) -> Exported:
    form: Any = options.form
    dtype = _dtype(run, options.dtype)
    remarks: tuple[str, ...] = ()
    if run.recipe.model.quantization != "none":
        remarks = (
            f"The run was trained on a base in {run.recipe.model.quantization}. With the adapter folded in, its "
            "weights are others and were quantised anew, which rounds them a second time: the self-check's figures "
            "are of that.",
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    done: list[Exported] = []

    def fill(folder: Path) -> None:
        with _merged_beside(run, dtype, target, console) as merged:
            with console.working(f"quantising to {form}"):
                odd = quantized.write_quantized(
                    merged,
                    folder,
                    form,
                    hardware.DTYPES[dtype],
                    size_in_bytes(options.shard_size),
                    run.remote_code,
                )
            _copy_surroundings(merged, folder)
        with console.working("opening the folder in transformers, in a fresh process"):
            found = check_export(folder, form, reference, device=device, remote_code=run.remote_code)
        checks = ((f"transformers with bitsandbytes, {device}", found.sentence()),)
        done.append(Exported(target, form, checks, (*remarks, *odd), found.to_json()))
        _finish(run, options, folder, done[0])

    replace_folder(target, fill)
    return done[0]


def _onnx(run: Located, options: Options, target: Path, reference: Reference, console: Console) -> Exported:
    form = str(options.form)
    done: list[Exported] = []

    def fill(folder: Path) -> None:
        with _merged_beside(run, "float32", target, console) as merged:
            with console.working("tracing the model for ONNX"):
                write_onnx(merged, folder, form, run.remote_code)
            _copy_surroundings(merged, folder, "config.json")
        with console.working("opening the file in ONNX Runtime, in a fresh process"):
            found = check_export(folder, form, reference, "onnxruntime", remote_code=run.remote_code)
        done.append(Exported(target, form, (("ONNX Runtime", found.sentence()),), (), found.to_json()))
        _finish(run, options, folder, done[0])

    replace_folder(target, fill)
    return done[0]


def _gguf(run: Located, options: Options, target: Path, reference: Reference, console: Console) -> Exported:
    """llama.cpp is compared with the merged model in float32, and that one with the run."""
    from transformers import AutoModelForCausalLM

    form, dtype, name = str(options.form), _dtype(run, options.dtype), run.run.path.resolve().name
    dialogues = fitting(put_aside(run), run.renderer, longest_sequence(empty_model(run.base, run.remote_code)))
    with _merged_beside(run, dtype, target, console) as merged:
        one = check_export(merged, dtype, reference, remote_code=run.remote_code)
        with console.working("the merged model answers"):
            with quiet_transformers():
                model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
            prompts = [ids for _, ids in dialogues]
            wanted = gguf_reference(model, prompts, run.renderer.stop_ids, ANSWER_TOKENS)
        del model
        made = export_gguf(
            merged, target, form, run.renderer, wanted, [turns for turns, _ in dialogues], name, console.say
        )
    return _from_gguf(run, options, form, made, (("merged, transformers", one.sentence()),))


def _gguf_adapter(run: Located, options: Options, target: Path, reference: Reference, console: Console) -> Exported:
    """The adapter alone: llama.cpp puts it on a GGUF of its base. Compared with PEFT's on the base in float32."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    if run.recipe.adapter.method == "none":
        raise ExportError(f"{run.run.path} trained every weight: there is no adapter. Use --to gguf.")
    name = run.run.path.resolve().name
    dialogues = fitting(put_aside(run), run.renderer, longest_sequence(empty_model(run.base, run.remote_code)))
    with console.working("base and adapter answer"):
        with quiet_transformers():
            base = AutoModelForCausalLM.from_pretrained(run.base, dtype=torch.float32)
        model = PeftModel.from_pretrained(base, run.trained).eval()
        wanted = gguf_reference(model, [ids for _, ids in dialogues], run.renderer.stop_ids, ANSWER_TOKENS)
    del model, base
    made = export_adapter_gguf(run.trained, run.base, target, run.renderer, wanted, name, console.say)
    if run.recipe.model.quantization != "none":
        remark = (
            f"It was trained on a base in {run.recipe.model.quantization}; on a GGUF of the original it is another "
            "function, and the check is of that one."
        )
        made = replace(made, remarks=(*made.remarks, remark))
    return _from_gguf(run, options, "adapter", made)


def _from_gguf(
    run: Located, options: Options, form: str, made: ExportedGguf, before: tuple[tuple[str, str], ...] = ()
) -> Exported:
    checks = (*before, ("llama.cpp", made.comparison.sentence()))
    figures = {name: value for name, value in asdict(made.comparison).items() if name != "remarks"}
    done = Exported(made.file.parent, form, checks, made.remarks, figures)
    write_text(made.file.parent / "README.md", _card(run, options, done))
    return done


def _copy_surroundings(merged: Path, folder: Path, *more: str) -> None:
    """Tokenizer, chat template and generation config of the merged model."""
    for path in merged.iterdir():
        own = path.suffix == ".safetensors" or path.name in ("config.json", "model.safetensors.index.json")
        if not own or path.name in more:
            (folder / path.name).write_bytes(path.read_bytes())


def _finish(run: Located, options: Options, folder: Path, done: Exported) -> None:
    write_json(folder / "self_check.json", {**done.figures, "checks": [list(check) for check in done.checks]})
    write_text(folder / "README.md", _card(run, options, done))


def _card(run: Located, options: Options, done: Exported) -> str:
    model = run.recipe.model.name
    card = Card(
        options.kind,
        done.form,
        run.run.path.resolve().name,
        Path(model).name if is_local(model) else model,  # a path says nothing on another machine
        run.recipe.model_dump(mode="json"),
        done.checks,
        done.remarks,
        options.license,
        done.figures,
    )
    return model_card(card, run.run)


def push(folder: Path, repo: str) -> str:
    """Upload an export to the Hugging Face hub, to a repository that is made private where there is none yet; returns
    its address. Raises ExportError with the hub's words."""
    import huggingface_hub
    from huggingface_hub import errors

    hub = huggingface_hub.HfApi()
    try:
        made = hub.create_repo(repo, private=True, exist_ok=True)
        hub.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message="lorafit export")
    except (errors.HfHubHTTPError, errors.HFValidationError, errors.LocalTokenNotFoundError, OSError) as error:
        raise ExportError(
            f"{folder} could not be uploaded to {repo}: {' '.join(str(error).split())}\n"
            "The export itself is whole. Log in with `hf auth login`, with a token that may write."
        ) from error
    return str(made)
