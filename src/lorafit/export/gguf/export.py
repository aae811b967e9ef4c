"""The folder that `lorafit export --to gguf` makes: the GGUF file, a Modelfile, and the figures of its check."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from jinja2 import TemplateError

from lorafit.data.template import Renderer
from lorafit.errors import ExportError
from lorafit.export.gguf.check import Comparison, Reference, check_gguf
from lorafit.export.gguf.checkpoint import read_config
from lorafit.export.gguf.engine import require_engine
from lorafit.export.gguf.families import family_of
from lorafit.export.gguf.lora import convert_adapter
from lorafit.export.gguf.metadata import context_length
from lorafit.export.gguf.modelfile import modelfile
from lorafit.export.gguf.vocabulary import adds_bos_eos
from lorafit.export.gguf.write import convert
from lorafit.records import Message
from lorafit.run import replace_folder, write_json, write_text

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """file: in its folder, beside the Modelfile; comparison: what llama.cpp answered; remarks: for people."""

    file: Path
    comparison: Comparison
    remarks: tuple[str, ...]


def export_gguf(
    folder: Path,
    target: Path,
    form: str,
    renderer: Renderer,
    reference: Reference,
    dialogues: Sequence[Sequence[Message]] = (),
    name: str = "model",
    say: Say = lambda text: None,
) -> Exported:
    """Write the merged model in `folder` to the folder `target` as NAME-FORM.gguf with a Modelfile, and check it.

    renderer: the tokenizer and the template that the model was trained with; reference: its answers in float32;
    dialogues: such as it was asked (its template and tokens are compared on them).

    Raises ExportError for what cannot be written or a target that is not empty, SelfCheckFailed when llama.cpp does not
    answer like the reference. Either leaves nothing behind.
    """
    require_engine()
    _check_empty(target)
    file = f"{name}-{form}.gguf"
    done: list[tuple[Comparison, tuple[str, ...]]] = []
    config = read_config(folder)
    context, _ = context_length(config, family_of(config))
    asked = _with_dialogues(_within(reference, context), renderer, dialogues)

    def fill(temporary: Path) -> None:
        say(f"writing {form}")
        written = convert(
            folder,
            temporary / file,
            form,
            renderer.tokenizer,
            template=renderer.template.jinja,
            stop_ids=renderer.stop_ids,
            texts=[text for text, _ in asked.texts],
            say=say,
        )
        begins, _ = adds_bos_eos(renderer.tokenizer)
        text, remark = modelfile(file, renderer, begins)
        write_text(temporary / "Modelfile", text)
        say("asking llama.cpp")
        comparison = check_gguf(written.path, form, asked, renderer.tokenizer)
        remarks = (*written.remarks, *comparison.remarks, *([remark] if remark else []))
        if written.wide:
            remarks += (f"{len(written.wide)} matrices stay float16: blocks of 32 do not divide their rows",)
        done.append((comparison, remarks))
        write_json(temporary / "self_check.json", {"engine": "llama.cpp", **asdict(comparison)})

    replace_folder(target, fill)
    return Exported(target / file, *done[0])


def export_adapter_gguf(
    adapter: Path,
    base: Path,
    target: Path,
    renderer: Renderer,
    reference: Reference,
    name: str = "adapter",
    say: Say = lambda text: None,
) -> Exported:
    """Write the LoRA adapter in `adapter`, trained on the model in `base`, to the folder `target` as NAME.gguf, with a
    Modelfile.

    It is checked on the base's own GGUF, which is made for that and thrown away.

    reference: the answers of base and adapter in float32. Raises as `export_gguf` does.
    """
    require_engine()
    _check_empty(target)
    done: list[Comparison] = []
    remarks: list[str] = []
    form = "bf16" if str(read_config(base).dtype) == "torch.bfloat16" else "f32"

    def fill(temporary: Path) -> None:
        file = temporary / f"{name}.gguf"
        layers = convert_adapter(adapter, base, file)
        say(f"asking llama.cpp with {layers} adapted layers on the base in {form}")
        with tempfile.TemporaryDirectory(prefix=".base-", dir=target.parent) as beside:
            whole = convert(base, Path(beside) / "base.gguf", form, renderer.tokenizer)
            done.append(check_gguf(whole.path, form, reference, renderer.tokenizer, adapter=file))
        begins, _ = adds_bos_eos(renderer.tokenizer)
        text, remark = modelfile("base.gguf", renderer, begins, adapter=file.name)
        write_text(temporary / "Modelfile", f"# base.gguf: {base.name} as GGUF, in any format\n{text}")
        write_json(temporary / "self_check.json", {"engine": "llama.cpp", **asdict(done[0])})
        remarks.extend([remark] if remark else [])

    replace_folder(target, fill)
    return Exported(target / f"{name}.gguf", done[0], (*done[0].remarks, *remarks))


def _check_empty(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExportError(f"{target} exists already and is not empty. Name another folder with --output.")


def _within(reference: Reference, context: int) -> Reference:
    """The prompts that fit the file's context with their answers: beyond it the file promises nothing."""
    kept = [number for number, (tokens, _) in enumerate(reference.spans) if len(tokens) <= context]
    if not kept:
        raise ExportError(
            f"None of the prompts fits the {context} tokens that llama.cpp can take: nothing to check on."
        )
    return replace(
        reference,
        spans=[reference.spans[number] for number in kept],
        logits=[reference.logits[number] for number in kept],
    )


def _with_dialogues(reference: Reference, renderer: Renderer, dialogues: Sequence[Sequence[Message]]) -> Reference:
    """The reference with dialogues as they are rendered, and their texts with their tokens.

    Where the renderer has to adapt a dialogue to the template (a system prompt that it refuses), llama.cpp adapts it in
    its own way: of such only the text is compared.
    """
    tokenizer = renderer.tokenizer
    rendered = [renderer.text(turns, ask=True) for turns in dialogues]
    turns = [[{"role": turn.role, "content": turn.content} for turn in one] for one in dialogues]
    plain = [pair for pair in zip(turns, rendered, strict=True) if _as_it_stands(renderer, pair[0]) == pair[1]]
    texts = [(text, tokenizer(text, add_special_tokens=False).input_ids) for text in rendered]
    begin = tokenizer.bos_token or ""
    return replace(reference, texts=[*reference.texts, *texts], dialogues=[*reference.dialogues, *plain], begin=begin)


def _as_it_stands(renderer: Renderer, turns: list[dict[str, str]]) -> str | None:
    try:
        return str(
            renderer.tokenizer.apply_chat_template(
                turns, chat_template=renderer.template.jinja, add_generation_prompt=True, tokenize=False
            )
        )
    except TemplateError:
        return None
