"""Adapters while they are served: switching, loading, many in one batch, merged or not; and 64 clients for a while.

    python benchmarks/serve.py [--shape 135m] [--adapters 8] [--rank 16] [--rounds 3] [--threads 2]
    python benchmarks/serve.py --soak 60 [--clients 64]

Random weights of the shape, float32, greedy. The soak is of the built-in model with random adapters, over HTTP: each
answer is compared with the one that transformers and PEFT give alone, margin-aware (it may differ from where the two
best logits are closer than 1e-4).
"""

from __future__ import annotations

import dataclasses
import gc
import json
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import work

PARSER = work.parser(__doc__)
PARSER.add_argument("--adapters", type=int, default=8)
PARSER.add_argument("--rank", type=int, default=16)
PARSER.add_argument("--requests", type=int, default=32)
PARSER.add_argument("--tokens", type=int, default=16, help="of an answer")
PARSER.add_argument("--soak", type=float, default=0, metavar="SECONDS")
PARSER.add_argument("--clients", type=int, default=64)
ARGS = work.parse(PARSER)

import httpx  # noqa: E402
import peft  # noqa: E402
import psutil  # noqa: E402
import torch  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from lorafit import builtin  # noqa: E402
from lorafit.data.template import Renderer, choose_template  # noqa: E402
from lorafit.infer.engine import Engine, Request  # noqa: E402
from lorafit.model.hub import load_tokenizer  # noqa: E402
from lorafit.records import Message  # noqa: E402
from lorafit.serve.adapter import Adapter  # noqa: E402
from lorafit.serve.limits import Limits  # noqa: E402
from lorafit.serve.place import Place, take_port  # noqa: E402
from lorafit.serve.server import make_server, open_service  # noqa: E402
from lorafit.serve.shelf import Shelf  # noqa: E402
from lorafit.serve.wanted import Wanted, plan  # noqa: E402

PROMPT, MARGIN = 24, 1e-4
Ids = tuple[int, ...]


def save_adapters(base: Any, names: list[str], folder: Path, spread: float) -> None:
    """PEFT adapters that differ from the base and from one another, each in a folder of its name."""
    config = peft.LoraConfig(r=ARGS.rank, lora_alpha=ARGS.rank, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(base, config)
    draw = torch.Generator().manual_seed(0)
    for name in names:
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if "lora_B" in parameter_name:
                    parameter.normal_(0, spread, generator=draw)
        model.save_pretrained(folder / name)


# ------------------------------------------------------------------------------------------------------- in one process


def loading(shelf: Shelf, adapters: list[Adapter]) -> None:
    """The first adapter makes PEFT's layers; each one after that takes the place of another, from disk."""
    seconds: dict[str, list[float]] = {"first": [], "others": [], "loaded": []}
    for number, adapter in enumerate([*adapters, *adapters]):
        began = time.perf_counter()
        assert shelf.take(adapter)
        kind = "first" if not number else "others" if number < len(adapters) else "loaded"
        seconds[kind].append(time.perf_counter() - began)
        shelf.give_back(adapter)
    for kind, taken in seconds.items():
        print(f"{'taking an adapter, ' + kind:40}{1000 * statistics.median(taken):9.3f} ms (median of {len(taken)})")


def switching(engine: Engine, keys: list[str], prompts: list[list[int]]) -> None:
    """One request at a time: what a change of the adapter between requests costs beside always the same one."""
    ways = {"always the same adapter": keys[:1], "another adapter each time": keys}
    for _ in range(2):
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(4 * len(keys)):
            for name, chosen in ways.items():
                began = time.perf_counter()
                engine.run([Request(prompts[0], 2, adapter=chosen[number % len(chosen)])])
                taken[name].append(time.perf_counter() - began)
    same, other = (statistics.median(each) for each in taken.values())
    print(
        f"{'switching to a loaded adapter':40}{1000 * (other - same):9.3f} ms "
        f"(a request of 2 tokens: {1000 * same:.1f} ms)"
    )


@torch.no_grad()
def by_peft(model: Any, prompts: list[list[int]], keys: list[str]) -> list[Ids]:
    """Adapter after adapter, each with a batch of its own requests."""
    said: dict[int, Ids] = {}
    for number, key in enumerate(keys):
        model.set_adapter(key)
        mine = range(number, len(prompts), len(keys))
        ids = generate(model, [prompts[i] for i in mine])
        said |= dict(zip(mine, ids, strict=True))
    return [said[i] for i in range(len(prompts))]


@torch.no_grad()
def generate(model: Any, prompts: list[list[int]]) -> list[Ids]:
    batch = torch.tensor(prompts)
    settings = {"max_new_tokens": ARGS.tokens, "do_sample": False, "eos_token_id": None}
    made = model.generate(input_ids=batch, attention_mask=torch.ones_like(batch), **settings)
    return [tuple(row[PROMPT:].tolist()) for row in made]


def batches(engine: Engine, model: Any, prompts: list[list[int]], keys: list[str]) -> None:
    def by_engine(chosen: list[str | None]) -> list[Ids]:
        asked = (Request(p, ARGS.tokens, adapter=chosen[i % len(chosen)]) for i, p in enumerate(prompts))
        return [done.ids for done in engine.run(asked)]

    ways: dict[str, Callable[[], list[Ids]]] = {
        "engine, one adapter": lambda: by_engine([keys[0]]),
        f"engine, {len(keys)} adapters": lambda: by_engine([*keys]),
        f"PEFT, {len(keys)} adapters": lambda: by_peft(model, prompts, keys),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ARGS.rounds + 1):  # the first one warms up
        said = []
        for name, answers in ways.items():
            began = time.perf_counter()
            said.append(answers())
            if number:
                seconds[name].append(time.perf_counter() - began)
    same = sum(a == b for a, b in zip(said[1], said[2], strict=True))
    one, _, slowest = (statistics.median(taken) for taken in seconds.values())
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        rate = ARGS.requests * ARGS.tokens / middle
        print(f"{name:40}{rate:9.1f} tokens/s{one / middle:7.0%} of one{slowest / middle:7.2f} times PEFT")
    print(f"{same} of {len(prompts)} answers of {len(keys)} adapters are the same as PEFT's")


def latency(engine: Engine, model: Any, prompt: list[int], key: str) -> None:
    """One request alone: through the adapter, and with it folded into the weights."""
    requests = {name: Request(prompt, ARGS.tokens, adapter=who) for name, who in (("base", None), ("unmerged", key))}
    ways: dict[str, Callable[[], Any]] = {
        f"engine, {name}": lambda request=request: engine.run([request]) for name, request in requests.items()
    }
    model.set_adapter(key)
    ways["transformers and PEFT, unmerged"] = lambda: generate(model, [prompt])
    measure(ways)
    merged = model.merge_and_unload(adapter_names=[key])
    vars(merged).pop("peft_config", None)
    alone = Engine(merged)
    measure(
        {
            "engine, merged": lambda: alone.run([Request(prompt, ARGS.tokens)]),
            "transformers, merged": lambda: generate(merged, [prompt]),
        }
    )


def measure(ways: dict[str, Callable[[], Any]]) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(2 * ARGS.rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if number:
                seconds[name].append(time.perf_counter() - began)
    for name, taken in seconds.items():
        print(f"{name:40}{1000 * statistics.median(taken) / ARGS.tokens:9.1f} ms a token, one request")


def in_process() -> None:
    names = [f"a{number}" for number in range(ARGS.adapters)]
    draw = torch.Generator().manual_seed(1)
    drawn = torch.randint(0, work.vocabulary(ARGS.shape), (ARGS.requests, PROMPT), generator=draw)
    prompts = drawn.tolist()
    with tempfile.TemporaryDirectory() as folder:
        save_adapters(work.random_model(ARGS.shape, "float32"), names, Path(folder), 0.02)
        engine = Engine(work.random_model(ARGS.shape, "float32").eval(), max_running=ARGS.requests)
        assert engine.fallback is None, engine.fallback
        adapters = []
        for name in names:
            config = peft.LoraConfig.from_pretrained(Path(folder) / name)
            config.inference_mode = True
            adapters.append(Adapter(name, Path(folder) / name, config, None))
        shelf = Shelf(engine, len(names))
        loading(shelf, adapters)
    keys = [adapter.key for adapter in adapters]
    switching(engine, keys, prompts)
    model: Any = engine.adapters.model
    batches(engine, model, prompts, keys)
    latency(engine, model, prompts[0], keys[0])


# ------------------------------------------------------------------------------------------------------------- the soak


class Offline:
    """Greedy answers of one adapter at a time, with by how much each token leads."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        base: Any = AutoModelForCausalLM.from_pretrained(builtin.MODEL, dtype=torch.float32)
        tokenizer = load_tokenizer(builtin.MODEL)
        self.renderer = Renderer(tokenizer, choose_template(tokenizer))
        self.model: Any = peft.PeftModel.from_pretrained(base, folder / names[0], names[0]).eval()
        for name in names[1:]:
            self.model.load_adapter(folder / name, name)

    @torch.no_grad()
    def answers(self, name: str, question: str) -> list[str]:
        """The greedy answer, and the text up to a choice between two equally good tokens where there is one."""
        self.model.set_adapter(name)
        renderer = self.renderer
        ids = renderer.prompt_ids([Message("user", question)])
        start, sure = len(ids), None
        while len(ids) - start < ARGS.tokens:
            best = self.model(input_ids=torch.tensor([ids])).logits[0, -1].topk(2)
            if sure is None and float(best.values[0] - best.values[1]) < MARGIN:
                sure = len(ids)
            if int(best.indices[0]) in renderer.stop_ids:
                break
            ids.append(int(best.indices[0]))
        text = [
            renderer.tokenizer.decode(ids[start:end], skip_special_tokens=True) for end in (len(ids), sure or len(ids))
        ]
        stops = [text[0].find(stop) for stop in renderer.template.stops if stop in text[0]]
        return [each[: min(stops, default=None)].strip("\ufffd").strip() for each in text]


def soak() -> None:
    names = [f"a{number}" for number in range(ARGS.adapters)]
    questions = [row["instruction"] for row in json.loads(builtin.HELD_OUT.read_text(encoding="utf-8"))[:12]]
    with tempfile.TemporaryDirectory() as folder:
        base = AutoModelForCausalLM.from_pretrained(builtin.MODEL, dtype=torch.float32)
        save_adapters(base, names, Path(folder), 0.05)
        offline = Offline(Path(folder), names)
        expected = {(name, text): offline.answers(name, text) for name in names for text in questions}
        del offline, base
        gc.collect()
        wanted = plan(Wanted(base=builtin.NAME, adapters=tuple((name, f"{folder}/{name}") for name in names)))
        wanted = dataclasses.replace(wanted, model=wanted.model.model_copy(update={"dtype": "float32"}))
        # Fewer places than adapters, so that they come and go all the time.
        service = open_service(wanted, Limits(queue=4 * ARGS.clients), max_loaded=max(1, ARGS.adapters - 2))
        place = Place(port=0)
        with take_port(place) as listening:
            server = make_server(service, place)
            thread = threading.Thread(target=server.run, args=([listening],))
            thread.start()
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/chat/completions"
            found, memory = crowd(url, names, questions, expected)
            server.should_exit = True
            thread.join()
        shelf = service.worker.shelf
        print(f"{ARGS.clients} clients, {ARGS.soak:.0f} s: " + ", ".join(f"{n} {what}" for what, n in found.items()))
        print(
            f"adapters: {len(names)}, loads {shelf.loads}, evictions {shelf.evictions}, "
            f"{1000 * shelf.load_seconds / shelf.loads:.1f} ms each"
        )
        print("memory (MiB) at each tenth: " + " ".join(f"{bytes_ / 2**20:.0f}" for bytes_ in memory))


def crowd(
    url: str, names: list[str], questions: list[str], expected: dict[tuple[str, str], list[str]]
) -> tuple[Counter[str], list[int]]:
    """Clients that ask one question after another; (what became of the answers, memory at each tenth of the time)."""
    found: Counter[str] = Counter(right=0, within_margin=0, mixed_up=0, failed=0, went_away=0)
    until = time.monotonic() + ARGS.soak

    def one(number: int) -> None:
        draw = random.Random(number)
        with httpx.Client(timeout=120) as client:
            while time.monotonic() < until:
                name, text = draw.choice(names), draw.choice(questions)
                stream = draw.random() < 0.5
                body = {"model": name, "messages": [{"role": "user", "content": text}], "temperature": 0}
                body |= {"max_tokens": ARGS.tokens, "stream": stream}
                if draw.random() < 0.05:  # asks, and does not wait
                    try:
                        client.post(url, json=body, timeout=0.05)
                    except httpx.TimeoutException:
                        found["went_away"] += 1
                    continue
                reply = client.post(url, json=body)
                said = answer_of(reply, stream)
                whole, sure = expected[name, text]
                if said is None:
                    found["failed"] += 1
                elif said == whole:
                    found["right"] += 1
                else:
                    found["within_margin" if len(sure) < len(whole) and said.startswith(sure) else "mixed_up"] += 1

    memory = []
    with ThreadPoolExecutor(ARGS.clients) as clients:
        running = [clients.submit(one, number) for number in range(ARGS.clients)]
        for _ in range(11):
            memory.append(psutil.Process().memory_info().rss)
            time.sleep(max(0, min(ARGS.soak / 10, until - time.monotonic())))
        for each in running:
            each.result()
    return found, memory


def answer_of(reply: httpx.Response, stream: bool) -> str | None:
    if reply.status_code != 200:
        return None
    if not stream:
        return str(reply.json()["choices"][0]["message"]["content"])
    events = [line.removeprefix("data: ") for line in reply.text.splitlines() if line]
    if events[-1] != "[DONE]":
        return None
    choices = [json.loads(event)["choices"][0] for event in events[:-1]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


if __name__ == "__main__":
    torch.set_num_threads(ARGS.threads)
    if ARGS.soak:
        soak()
    else:
        print(
            f"{ARGS.shape}, rank {ARGS.rank}, float32, {ARGS.threads} threads, "
            f"{ARGS.requests} requests of {ARGS.tokens} tokens"
        )
        in_process()
