"""One server in a thread, on a free port, with the built-in base and two random adapters; OpenAI's client to ask it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from lorafit import builtin
from lorafit.serve.app import Service
from lorafit.serve.limits import Limits
from lorafit.serve.place import Place, take_port
from lorafit.serve.server import make_server, open_service
from lorafit.serve.wanted import Wanted, plan

SMALL = Limits(running=16, queue=32, seconds=30.0, body_bytes=1 << 16, choices=4, tokens=256)


@dataclass(frozen=True)
class Served:
    service: Service
    url: str
    token: str

    @functools.cached_property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.token or "none", max_retries=0, timeout=30)

    def settled(self) -> bool:
        """Whether nothing waits or runs any more, soon."""
        for _ in range(500):
            if not self.service.worker.waiting + self.service.worker.running:
                return True
            time.sleep(0.01)
        return False


@contextlib.contextmanager
def serving(service: Service, token: str = "") -> Iterator[Served]:
    place = Place(port=0, token=token)
    with take_port(place) as listening:
        server = make_server(service, place)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield Served(service, f"http://127.0.0.1:{listening.getsockname()[1]}", token)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the PEFT adapters `law` (rank 4) and `med` (rank 3, fewer layers) of the built-in base."""
    folder = tmp_path_factory.mktemp("adapters")
    for seed, (name, rank, targets) in enumerate([("law", 4, "all-linear"), ("med", 3, ["o_proj", "down_proj"])]):
        torch.manual_seed(seed)
        base = AutoModelForCausalLM.from_pretrained(builtin.MODEL, dtype=torch.float32)
        config = peft.LoraConfig(r=rank, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM")
        model = peft.get_peft_model(base, config)
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if "lora_B" in parameter_name:
                    parameter.normal_(0, 0.05)
        model.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="session")
def start(adapters: Path) -> Callable[..., Service]:
    """start(queue=0, ...): a service of the built-in base, law and med, with some limits changed."""

    def made(
        named: dict[str, Path] | None = None, folder: Path | None = None, loaded: int = 4, **limits: Any
    ) -> Service:
        chosen = {"law": adapters / "law", "med": adapters / "med"} if named is None else named
        wanted = Wanted(
            base=builtin.NAME, adapters=tuple((name, str(path)) for name, path in chosen.items()), folder=folder
        )
        planned = plan(wanted)
        planned = dataclasses.replace(planned, model=planned.model.model_copy(update={"dtype": "float32"}))
        return open_service(planned, dataclasses.replace(SMALL, **limits), loaded, 1 << 26)

    return made


@pytest.fixture(scope="session")
def served(start: Callable[..., Service]) -> Iterator[Served]:
    with serving(start()) as running:
        yield running


@pytest.fixture(scope="session")
def offline(adapters: Path) -> Callable[[str, str, int], str]:
    """offline(model, question, tokens): the greedy answer by PEFT and transformers alone, a token at a time."""
    from lorafit.data.template import Renderer, choose_template
    from lorafit.infer.generate import generate_answers
    from lorafit.model.hub import load_tokenizer

    renderer = Renderer(tokenizer := load_tokenizer(builtin.MODEL), choose_template(tokenizer))
    model: Any = AutoModelForCausalLM.from_pretrained(builtin.MODEL, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, adapters / "law", "law")
    model.load_adapter(adapters / "med", "med")

    @functools.cache
    def answered(name: str, question: str, tokens: int) -> str:
        from lorafit.records import Message

        prompt = renderer.prompt_ids([Message("user", question)])
        with model.disable_adapter() if name == "builtin" else contextlib.nullcontext():
            if name != "builtin":
                model.set_adapter(name)
            return generate_answers(model, renderer, [prompt], tokens)[0].text

    return answered


@pytest.fixture
def copied(adapters: Path, tmp_path: Path) -> Callable[[str], Path]:
    """copied("law"): an adapter in a folder of its own, to be changed."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(adapters / name, tmp_path / name))

    return copy
