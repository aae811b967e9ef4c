"""Adapters added, replaced, removed, given up for others; and those that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
from safetensors.torch import load_file, save_file

from lorafit.errors import AdapterError, LorafitError
from lorafit.infer.engine import Request
from lorafit.records import Message
from lorafit.serve.app import Service
from tests.serve.conftest import Served, serving
from tests.serve.test_app import QUESTIONS, ask

Offline = Callable[[str, str, int], str]
WEIGHTS = "adapter_model.safetensors"


def said(served: Served, model: str, question: str = QUESTIONS[0], tokens: int = 8) -> str:
    reply = served.client.chat.completions.create(model=model, messages=ask(question), max_tokens=tokens, temperature=0)
    return str(reply.choices[0].message.content)


def names(served: Served) -> list[str]:
    return [model.id for model in served.client.models.list()]


def post(served: Served, route: str, /, **body: Any) -> httpx.Response:
    return httpx.post(f"{served.url}{route}", json=body)


def test_adapters_come_and_go_while_others_are_answered(start: Any, adapters: Path, offline: Offline) -> None:
    law, med = (offline(name, QUESTIONS[0], 8) for name in ("law", "med"))
    with serving(start({"law": adapters / "law"})) as served:
        running = served.client.chat.completions.create(
            model="law", messages=ask(QUESTIONS[0]), max_tokens=8, temperature=0, stream=True
        )
        pieces = [next(iter(running)).choices[0].delta.content or ""]
        assert post(served, "/v1/adapters", name="法/med-1.0", path=str(adapters / "med")).json()["parent"] == "builtin"
        assert said(served, "法/med-1.0") == med
        # Replaced while it answers: that answer is still the old one's.
        assert post(served, "/v1/adapters", name="law", path=str(adapters / "med")).status_code == 200
        pieces += [chunk.choices[0].delta.content or "" for chunk in running]
        assert "".join(pieces) == law
        assert said(served, "law") == med
        assert names(served) == ["builtin", "law", "法/med-1.0"]
        assert post(served, "/v1/load_lora_adapter", lora_name="b", lora_path=str(adapters / "law")).status_code == 200
        assert said(served, "b") == law
        assert post(served, "/v1/unload_lora_adapter", lora_name="b").status_code == 200
        assert httpx.delete(f"{served.url}/v1/adapters/法/med-1.0").json()["deleted"] is True
        assert httpx.delete(f"{served.url}/v1/adapters/builtin").status_code == 404
        with pytest.raises(openai.NotFoundError):
            said(served, "b")
        assert names(served) == ["builtin", "law"] and served.settled()
        assert len(served.service.worker.shelf) == 1, "what was removed is out of memory"


def test_a_folder_of_more_adapters_than_fit(start: Any, adapters: Path, offline: Offline) -> None:
    with serving(start({}, folder=adapters, loaded=1)) as served:
        assert names(served) == ["builtin", "law", "med"] and not len(served.service.worker.shelf)
        streams = {
            name: served.client.chat.completions.create(
                model=name, messages=ask(QUESTIONS[1]), max_tokens=8, temperature=0, stream=True
            )
            for name in ("law", "med", "builtin")
        }
        for name, stream in streams.items():
            assert "".join(c.choices[0].delta.content or "" for c in stream) == offline(name, QUESTIONS[1], 8)
        shelf = served.service.worker.shelf
        assert (len(shelf), shelf.loads, shelf.evictions) == (1, 2, 1)
        assert said(served, "law") == offline("law", QUESTIONS[0], 8)
        assert shelf.loads == 3
        with pytest.raises(openai.NotFoundError):
            said(served, "../law")


def test_an_adapter_given_up_and_taken_again_between_two_steps(start: Any, adapters: Path, offline: Offline) -> None:
    """To the engine it is another one, which takes no request along."""
    service = start(loaded=1)
    engine, shelf = service.worker.engine, service.worker.shelf
    law, med = (service.catalogue.get(name).adapter for name in ("law", "med"))
    prompt = service.catalogue.first.renderer.prompt_ids([Message("user", QUESTIONS[0])])
    assert shelf.take(law)
    engine.step()
    shelf.give_back(law)
    assert shelf.take(med)
    shelf.give_back(med)
    assert shelf.take(law)
    (done,) = engine.run([Request(prompt, 8, law.key)])
    assert done.text.strip() == offline("law", QUESTIONS[0], 8)


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "another rank": (lambda f: change_config(f, r=8), "has rank 4 at .*, its adapter_config.json says 8"),
    "another base": (lambda f: change_config(f, base_model_name_or_path="Org/Other"), "another base: .* on Org/Other"),
    "other sizes": (
        lambda f: change_weights(f, lambda s: {k: v[:, :-1].contiguous() if "A" in k else v for k, v in s.items()}),
        "is of another base: .* is made for",
    ),
    "other layers": (
        lambda f: change_weights(f, lambda s: {k.replace("layers.0", "layers.99"): v for k, v in s.items()}),
        "has no layer .*layers.99",
    ),
    "half a file": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:900]), "cannot be read"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "cannot be read"),
    "no config": (lambda f: (f / "adapter_config.json").write_text("{"), "adapter_config.json cannot be read"),
    "another kind": (lambda f: change_config(f, peft_type="IA3"), "of the kind IA3; LoRA is served"),
    "trained biases": (lambda f: change_config(f, bias="all"), "changes the base's own weights"),
    "a layer less": (
        lambda f: change_weights(f, lambda s: {k: v for k, v in s.items() if "layers.0.mlp.up" not in k}), ""
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_an_adapter_that_does_not_fit_is_refused(
    served: Served, start: Callable[..., Service], copied: Callable[[str], Path], fault: str
) -> None:
    """At the start and while it runs; what is served goes on."""
    spoil, message = FAULTS[fault]
    folder = copied("law")
    spoil(folder)
    reply = post(served, "/v1/adapters", name="bad", path=str(folder))
    if not message:  # fewer layers than the config's targets is an adapter of those layers
        assert reply.status_code == 200 and said(served, "bad")
        assert post(served, "/v1/unload_lora_adapter", lora_name="bad").status_code == 200
        return
    with pytest.raises(LorafitError, match=message) as error:
        start({"bad": folder})
    assert error.value.exit_code == 2
    assert reply.status_code == 400 and reply.json()["error"]["message"] == str(error.value)
    assert "bad" not in names(served)


def test_weights_that_are_gone_when_they_are_needed(
    start: Any, copied: Callable[[str], Path], offline: Offline
) -> None:
    law, med = copied("law"), copied("med")
    with serving(start({"law": law, "med": med}, loaded=1)) as served:
        (med / WEIGHTS).unlink()
        with pytest.raises(openai.BadRequestError, match="cannot be loaded"):
            said(served, "med")
        assert said(served, "law") == offline("law", QUESTIONS[0], 8)


def test_the_quick_way_of_loading_is_pefts(start: Any, adapters: Path) -> None:
    """The second adapter of a layer is put in without PEFT's add_adapter: the same tensors and scalings."""
    service = start({"law": adapters / "law"})
    shelf, known = service.worker.shelf, service.catalogue
    for name, path in (("again", "law"), ("med", "med")):
        adapter = known.look_over(name, adapters / path).adapter
        assert shelf.take(adapter)
    model = shelf._model
    model.load_adapter(adapters / "law", "slow_law")
    model.load_adapter(adapters / "med", "slow_med")
    first, again, med = (name for name in model.peft_config if not name.startswith("slow"))
    pairs = [(first, "slow_law"), (again, "slow_law"), (med, "slow_med")]
    for module in (module for module in model.modules() if hasattr(module, "lora_A")):
        for quick, slow in pairs:
            assert (quick in module.lora_A) == (slow in module.lora_A)
            if slow in module.lora_A:
                assert module.scaling[quick] == module.scaling[slow] and module.r[quick] == module.r[slow]
                for factors in (module.lora_A, module.lora_B):
                    assert torch.equal(factors[quick].weight, factors[slow].weight)


def test_names(start: Any, adapters: Path) -> None:
    known = start({}).catalogue
    for name in ("", "builtin", "a b", "-a", "x" * 200, "a\nb"):
        with pytest.raises(AdapterError):
            known.look_over(name, adapters / "law")
