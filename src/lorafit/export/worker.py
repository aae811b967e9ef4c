"""An exported folder opened, in a process of its own, by the library that its users will open it with.

Reads one request as JSON from stdin and writes the answer to the file named by its argument. Run by path, so nothing of
lorafit is loaded here.

request: engine (transformers, onnxruntime), folder, device, remote_code, prompts: ids and answer (token ids), likely
(of each answer token, the ids to report), turns (a dialogue, or null).
answer: eos (ids that end an answer), tied (whether the head is the embedding, or null), absent (weights that are not
there), prompts: text and ids (the dialogue by the folder's own template and tokenizer, or null), best, logits, totals
and hidden as `steps` gives them.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

KEPT = 8


def main() -> None:
    answer = answered(json.load(sys.stdin))
    Path(sys.argv[1]).write_text(json.dumps(answer), encoding="utf-8")


def answered(request: dict[str, Any]) -> dict[str, Any]:
    folder = request["folder"]
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=request["remote_code"])
    engine = {"transformers": _transformers, "onnxruntime": _onnxruntime}[request["engine"]]
    answer = engine(request)
    for said, prompt in zip(answer["prompts"], request["prompts"], strict=True):
        said |= _rendered(tokenizer, prompt["turns"])
    return answer


def steps(logits: np.ndarray[Any, Any], likely: Sequence[Sequence[int]], hidden: Any = None) -> dict[str, Any]:
    """Of float32 logits [T, V]: best [T], the likeliest tokens; logits [T][...] at the ids `likely`; totals [T], the
    logarithm of the sum of their exponentials. hidden [T, 8]: some values of the states [T, H] before the
    head, or null."""
    logits = logits.astype(np.float64)
    largest = logits.max(-1)
    totals = largest + np.log(np.exp(logits - largest[:, None]).sum(-1))
    return {
        "best": logits.argmax(-1).tolist(),
        "logits": [row[list(ids)].tolist() for row, ids in zip(logits, likely, strict=True)],
        "totals": totals.tolist(),
        "hidden": None if hidden is None else hidden[:, :: max(1, hidden.shape[1] // KEPT)][:, :KEPT].tolist(),
    }


def _transformers(request: dict[str, Any]) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(
        request["folder"],
        dtype="auto",
        device_map={"": request["device"]},
        local_files_only=True,
        trust_remote_code=request["remote_code"],
        output_loading_info=True,
    )
    model.eval()
    prompts = []
    for prompt in request["prompts"]:
        logits, hidden = follow(model, prompt["ids"], prompt["answer"])
        prompts.append(steps(logits, prompt["likely"], hidden))
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    eos = model.generation_config.eos_token_id
    with torch.no_grad():
        tied = head is not None and head.weight.data_ptr() == table.weight.data_ptr()
    return {"eos": _listed(eos), "tied": tied, "absent": sorted(report["missing_keys"]), "prompts": prompts}


def follow(model: Any, ids: Sequence[int], answer: Sequence[int]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The float32 logits [T, V] that a transformers model has for each of the T tokens of an answer, and the hidden
    states [T, H] before its head."""
    import torch

    with torch.no_grad():
        tokens = torch.tensor([[*ids, *answer]], device=model.get_input_embeddings().weight.device)
        out = model(input_ids=tokens, use_cache=False, output_hidden_states=True)
        rows = slice(len(ids) - 1, -1)
        return out.logits[0, rows].float().cpu().numpy(), out.hidden_states[-1][0, rows].float().cpu().numpy()


def _onnxruntime(request: dict[str, Any]) -> dict[str, Any]:
    """The prompt at once, then the answer's tokens one by one from the keys and values kept."""
    import onnxruntime  # type: ignore[import-untyped,import-not-found,unused-ignore]

    folder = Path(request["folder"])
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    prompts = []
    for prompt in request["prompts"]:
        past = {
            one.name: np.zeros([1, one.shape[1], 0, one.shape[3]], dtype=np.float32)
            for one in session.get_inputs()
            if one.name.startswith("past_key_values.")
        }
        rows, done = [], 0
        for tokens in (prompt["ids"], *([token] for token in prompt["answer"][:-1])):
            end = done + len(tokens)
            inputs = {
                "input_ids": np.array([tokens], dtype=np.int64),
                "attention_mask": np.ones((1, end), dtype=np.int64),
                "position_ids": np.arange(done, end, dtype=np.int64)[None],
            }
            logits, *present = session.run(None, inputs | past)
            rows.append(logits[0, -1])
            past, done = dict(zip(past, present, strict=True)), end
        prompts.append(steps(np.stack(rows), prompt["likely"]))
    generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    return {"eos": _listed(generation.get("eos_token_id")), "tied": None, "absent": [], "prompts": prompts}


def _rendered(tokenizer: Any, turns: list[dict[str, str]] | None) -> dict[str, Any]:
    if turns is None:
        return {"text": None, "ids": None}
    try:
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    except Exception as error:  # noqa: BLE001  a template can fail in any way; what it says is then not the prompt
        return {"text": f"[{type(error).__name__}: {error}]", "ids": None}
    return {"text": text, "ids": tokenizer(text, add_special_tokens=False).input_ids}


def _listed(ids: Any) -> list[int]:
    return ids if isinstance(ids, list) else [] if ids is None else [ids]


if __name__ == "__main__":
    main()
