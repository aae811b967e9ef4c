"""A GGUF file opened by llama.cpp in a process of its own.

Reads one request as JSON from stdin and writes the answer to the file named by its argument.

Run by path, so nothing of lorafit or torch is loaded here. llama.cpp's server, inside this process and on a loopback
port, is the part of it that shows log-probabilities.

request: model, adapter (a file or null), context (tokens), threads, top (likeliest tokens to report), texts (to
tokenise), dialogues (lists of {role, content}), spans ([token ids of prompt and answer, length of the prompt]).
answer: tokens [text][...], rendered [dialogue], steps [span][position] = [[token, log-probability], ...], best first.
"""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

Post = Callable[[str, dict[str, Any]], Any]


def main() -> None:
    request = json.load(sys.stdin)
    post = _opened(request)
    answer = {
        "tokens": [
            post("/tokenize", {"content": text, "add_special": False, "parse_special": True})["tokens"]
            for text in request["texts"]
        ],
        "rendered": [_rendered(post, turns) for turns in request["dialogues"]],
        "steps": [_steps(post, tokens, start, request["top"]) for tokens, start in request["spans"]],
    }
    Path(sys.argv[1]).write_text(json.dumps(answer), encoding="utf-8")


def _opened(request: dict[str, Any]) -> Post:
    import xllamacpp  # type: ignore[import-untyped,import-not-found,unused-ignore]

    params = xllamacpp.CommonParams()
    params.model.path = request["model"]
    if request["adapter"]:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(request["adapter"], 1.0)]
    params.n_ctx = request["context"]
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = request["threads"]
    # What is compared is the file: neither a rounded cache nor an approximate attention beside it.
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.swa_full = True
    params.fit_params = params.warmup = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    # Loopback: a proxy of the environment has no business with it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def post(path: str, body: dict[str, Any]) -> Any:
        address = f"{server.listening_address}{path}"
        headers = {"Content-Type": "application/json"}
        with opener.open(urllib.request.Request(address, json.dumps(body).encode(), headers)) as response:
            return json.load(response)

    return post


def _rendered(post: Post, turns: list[dict[str, str]]) -> str:
    try:
        return str(post("/apply-template", {"messages": turns})["prompt"])
    except urllib.error.HTTPError as error:
        return f"[{error.read().decode(errors='replace')[:200]}]"


def _steps(post: Post, tokens: list[int], start: int, top: int) -> list[list[list[float]]]:
    """What llama.cpp thinks likely at every position of an answer, along the answer given.

    The server leaves out tokens that are no whole character, and stops at some. So each position is asked for by
    itself, and the token that is drawn there is always the same letter; the log-probabilities are from before drawing.
    """
    letter = post("/tokenize", {"content": "a"})["tokens"][-1]
    drawn = {"n_predict": 1, "temperature": 0.0, "samplers": ["temperature"], "logit_bias": [[letter, 1e9]]}
    steps = []
    for here in range(start, len(tokens)):
        said = post("/completion", {"prompt": tokens[:here], "n_probs": top, "cache_prompt": True, **drawn})
        likely = said["completion_probabilities"][0]["top_logprobs"]
        steps.append([[one["id"], one["logprob"]] for one in likely])
    return steps


if __name__ == "__main__":
    main()
