"""lm-evaluation-harness through the engine, with a stand-in for the package; benchmarks/tasks.py runs the real one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from lorafit.errors import DataError, RecipeError
from lorafit.evaluate.harness import engine_model, harness_scores
from lorafit.infer.engine import Engine, Sampling


@pytest.fixture
def lm_eval(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The parts of lm_eval that are used, each as small as it can be."""
    names = ("lm_eval", "lm_eval.utils", "lm_eval.api", "lm_eval.api.model", "lm_eval.models", "lm_eval.models.utils")
    modules: Any = {name: ModuleType(name) for name in (*names, "lm_eval.tasks")}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    modules["lm_eval"].utils = modules["lm_eval.utils"]
    modules["lm_eval.api.model"].TemplateLM = object
    # Windows of the last tokens, each with the one before it.
    modules["lm_eval.utils"].get_rolling_token_windows = lambda ids, prefix, longest, context_len: [
        ([prefix, *ids[:-1]][i : i + longest], ids[i : i + longest]) for i in range(0, len(ids), longest)
    ]
    modules["lm_eval.utils"].make_disjoint_window = lambda pair: (pair[0][: len(pair[0]) - len(pair[1]) + 1], pair[1])
    modules["lm_eval.models.utils"].handle_stop_sequences = lambda until, eos: until
    modules["lm_eval.models.utils"].normalize_gen_kwargs = lambda given, tokens: {
        "max_gen_toks": tokens, "until": [], "do_sample": False, **given
    }  # fmt: skip
    modules["lm_eval.tasks"].TaskManager = lambda include_path: SimpleNamespace(all_tasks=["mmlu", "arc_easy"])
    return modules


@pytest.fixture(scope="module")
def base(llama: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(llama).eval()


@pytest.fixture(scope="module")
def engine(base: Any, tokenizer: Any) -> Engine:
    return Engine(base, lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)))


def asked(*rows: tuple[Any, ...]) -> list[Any]:
    return [SimpleNamespace(args=row) for row in rows]


def slow(base: Any, ids: list[int], scored: int) -> float:
    """The log-likelihood of the last `scored` ids."""
    with torch.no_grad():
        logprobs_TV = base(torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
    return float(logprobs_TV[-scored:].gather(1, torch.tensor(ids[-scored:])[:, None]).sum())


@pytest.mark.usefixtures("lm_eval")
def test_log_likelihoods_are_those_of_the_model(base: Any, engine: Engine, tokenizer: Any) -> None:
    long = " The harbour town wakes before the sun." * 30
    rows = [("The harbour town", " wakes"), ("答案：", "柳树街"), (long, " Mira")]
    found = engine_model(engine, tokenizer).loglikelihood(asked(*rows))
    for (context, continuation), (logprob, _) in zip(rows, found, strict=True):
        ids, first = tokenizer.encode(context + continuation), len(tokenizer.encode(context))
        assert logprob == pytest.approx(slow(base, ids[-257:], len(ids) - first), rel=1e-5)
    assert len(tokenizer.encode(long)) > 257 == base.config.max_position_embeddings + 1


@pytest.mark.usefixtures("lm_eval")
def test_rolling_windows_are_added_up(base: Any, engine: Engine, tokenizer: Any) -> None:
    text = "The boats go out one after another. " * 30
    ids = tokenizer.encode(text)
    assert 256 < len(ids) <= 512
    (found,) = engine_model(engine, tokenizer).loglikelihood_rolling(asked((text,)))
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    parts = slow(base, [begin, *ids[:256]], 256) + slow(base, ids[255:], len(ids) - 256)
    assert found == pytest.approx(parts, rel=1e-5)


@pytest.mark.usefixtures("lm_eval")
def test_answers_end_at_a_stop_text_and_at_their_length(base: Any, engine: Engine, tokenizer: Any) -> None:
    model, prompt = engine_model(engine, tokenizer), "Mira lives on"
    greedy = base.generate(
        torch.tensor([tokenizer.encode(prompt)]), max_new_tokens=12, do_sample=False, pad_token_id=0
    )[0].tolist()
    text = tokenizer.decode(greedy[len(tokenizer.encode(prompt)) :], skip_special_tokens=True)
    stop = text[len(text) // 2 :][:2]
    settings = {"max_gen_toks": 12}
    found = model.generate_until(asked((prompt, settings), (prompt, {**settings, "until": [stop]})))
    assert found == [text, text.partition(stop)[0]]
    sampled = {"do_sample": True, "temperature": 0.5, "top_k": 3}
    assert model._asked(prompt, {**settings, **sampled}).sampling == Sampling(0.5, 3, seed=0)
    with pytest.raises(DataError, match="answers of 256 tokens; the model takes 256"):
        model.generate_until(asked((prompt, {})))


@pytest.mark.usefixtures("lm_eval")
def test_the_adapter_speaks(llama: Path, tokenizer: Any) -> None:
    settings = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    tuned = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(llama), settings, "law").eval()
    rows, engine = asked(("The harbour town", " wakes")), Engine(tuned)
    of_base, of_law = (engine_model(engine, tokenizer, name).loglikelihood(rows)[0][0] for name in (None, "law"))
    ids = tokenizer.encode("The harbour town wakes")
    scored = len(ids) - len(tokenizer.encode("The harbour town"))
    assert of_law == pytest.approx(slow(tuned, ids, scored), rel=1e-5) != of_base


def test_scores_are_told_by_task_and_metric(lm_eval: dict[str, Any], engine: Engine, tokenizer: Any) -> None:
    given: dict[str, Any] = {}

    def evaluate(model: Any, **settings: Any) -> dict[str, Any]:
        given.update(settings)
        results = {
            "alias": "mmlu", "acc,none": 0.5, "acc_stderr,none": 0.1, "exact_match,strict": 1,
            "exact_match_stderr,strict": "N/A", "sample_len": 20,
        }  # fmt: skip
        return {"results": {"mmlu": results}, "n-samples": {"mmlu": {"original": 90, "effective": 20}}}

    lm_eval["lm_eval"].simple_evaluate = evaluate
    assert harness_scores(engine, tokenizer, None, ["mmlu"], limit=20, shots=2) == {
        "mmlu": {
            "acc": {"score": 0.5, "stderr": 0.1, "samples": 20},
            "exact_match,strict": {"score": 1.0, "stderr": None, "samples": 20},
        }
    }
    assert (given["tasks"], given["limit"], given["num_fewshot"]) == (["mmlu"], 20, 2)
    with pytest.raises(RecipeError, match="no task 'mmul'; did you mean mmlu"):
        harness_scores(engine, tokenizer, None, ["mmul"])


def test_data_that_cannot_be_had(lm_eval: dict[str, Any], engine: Engine, tokenizer: Any) -> None:
    def evaluate(*_: Any, **__: Any) -> None:
        raise ConnectionError("offline")

    lm_eval["lm_eval"].simple_evaluate = evaluate
    with pytest.raises(DataError, match="cannot get the data of arc_easy: offline"):
        harness_scores(engine, tokenizer, None, ["arc_easy"])


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, engine: Engine, tokenizer: Any) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(DataError, match="pip install lm_eval"):
        harness_scores(engine, tokenizer, None, ["mmlu"])
