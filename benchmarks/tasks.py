"""MMLU and CMMLU by log-likelihood: the engine, a loop of one forward a choice, and lm-evaluation-harness.

    python benchmarks/tasks.py [--rows 20] [--harness PYTHON] [--shared ../shared]
    PYTHON benchmarks/tasks.py --prompts [--rows 8]

rows: of each subject. PYTHON: an interpreter with lm_eval; its HFLM is given the same prompts in a task of its own.
prompts: only compares the prompts with those that the harness' own tasks render. Everything is in float32; contexts
longer than the model are cut at the left.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MODELS, TASKS, SHOTS = ("stories260K", "babyllama-tok361"), ("mmlu", "cmmlu"), (0, 2)
Scores = list[list[float]]  # [questions, choices], nats

HARNESS_TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{context}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: right
target_delimiter: ""
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""

# Runs in the interpreter that has lm_eval: model, folder of tasks, name of the result, tasks.
HARNESS = """
import json, sys
import torch
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
torch.set_num_threads(1)
model, folder, target, *tasks = sys.argv[1:]
found = simple_evaluate(
    "hf", model_args=f"pretrained={model},dtype=float32,device=cpu", tasks=tasks, batch_size=1,
    task_manager=TaskManager(include_path=folder), bootstrap_iters=0,
)
samples = {
    task: [[float(one[0][0]) for one in row["resps"]] for row in sorted(rows, key=lambda row: row["doc_id"])]
    for task, rows in found["samples"].items()
}
with open(target, "w") as file:
    json.dump(samples, file)
"""


def by_engine(engine: Any, tokenizer: Any, questions: Sequence[Any]) -> tuple[Scores, int]:
    """Log-likelihoods, and how many questions were cut."""
    from lorafit.evaluate.pairs import encode_pair, fit
    from lorafit.infer.engine import Request

    requests, cut = [], 0
    for question in questions:
        was_cut = False
        for choice in question.choices:
            context, continuation = encode_pair(tokenizer, question.text, choice)
            context, shorter = fit(context, continuation, engine.longest)
            was_cut |= shorter
            requests.append(Request(context, continuation=continuation))
        cut += was_cut
    done = iter(engine.run(requests))
    return [[next(done).logprob for _ in question.choices] for question in questions], cut


def by_loop(model: Any, tokenizer: Any, questions: Sequence[Any]) -> Scores:
    """One forward a choice, written without anything of lorafit's."""
    import torch

    longest = model.config.max_position_embeddings
    scores = []
    with torch.no_grad():
        for question in questions:
            scores.append([])
            for choice in question.choices:
                whole, context = tokenizer.encode(question.text + choice), tokenizer.encode(question.text)
                continuation = whole[len(context) :]
                logits_TV = model(torch.tensor([whole[-(longest + 1) :][:-1]])).logits[0]
                logprobs_SV = logits_TV[-len(continuation) :].log_softmax(-1)
                scores[-1].append(float(logprobs_SV.gather(1, torch.tensor(continuation)[:, None]).sum()))
    return scores


def by_harness(python: str, model: Path, asked: dict[str, Sequence[Any]]) -> dict[str, Scores]:
    """All tasks of a model in one process of the harness."""
    with tempfile.TemporaryDirectory() as folder:
        for name, questions in asked.items():
            rows = Path(folder) / f"{name}.jsonl"
            content = [
                {"context": q.text, "choices": q.choices, "right": q.choices.index(q.references[0])} for q in questions
            ]
            rows.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
            (Path(folder) / f"{name}.yaml").write_text(HARNESS_TASK.format(name=name, rows=rows), encoding="utf-8")
        target = Path(folder) / "scores.json"
        offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": folder}
        command = [python, "-c", HARNESS, str(model), folder, str(target), *asked]
        ran = subprocess.run(command, env=offline, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise SystemExit(f"the harness failed:\n{ran.stderr[-2000:]}")
        found: dict[str, Scores] = json.loads(target.read_text(encoding="utf-8"))
    return found


def compare_prompts(data: Path, rows: int) -> None:
    """Prompts, choices and the right choice, as lorafit's and the harness' own task files make them."""
    import csv

    import lm_eval.tasks
    import yaml
    from lm_eval.api.task import ConfigurableTask

    from lorafit.evaluate.task import load_task
    from lorafit.evaluate.task_rows import questions

    harness = Path(lm_eval.tasks.__file__).parent
    homes = {"mmlu": (harness / "mmlu/default", "_{split}.csv"), "cmmlu": (harness / "cmmlu", ".csv")}
    compared = differing = 0
    with tempfile.TemporaryDirectory() as folder:
        for (task, (home, ending)), shots in itertools.product(homes.items(), (0, 3)):
            loaded = load_task(task, str(data / task / "test"), str(data / task / "dev"), shots)
            ours = list(questions(loaded, limit=rows))
            for subject in dict.fromkeys(question.category for question in ours):
                files = {}
                for split in ("test", "dev"):
                    source = data / task / split / (subject + ending.format(split=split))
                    with source.open(encoding="utf-8-sig", newline="") as file:
                        read = [{key: value for key, value in row.items() if key} for row in csv.DictReader(file)]
                    if task == "mmlu":  # as the data set of the hub has it
                        read = [
                            {**row, "choices": [row[f"choice{i}"] for i in range(4)], "answer": int(row["answer"])}
                            for row in read
                        ]
                    target = Path(folder) / f"{task}_{subject}_{split}.jsonl"
                    target.write_text("".join(json.dumps(row) + "\n" for row in read), encoding="utf-8")
                    files[split] = str(target)
                settings = yaml.safe_load((home / "_default_template_yaml").read_text(encoding="utf-8"))
                settings |= yaml.safe_load((home / f"{task}_{subject}.yaml").read_text(encoding="utf-8"))
                for key in ("include", "dataset_name", "task_alias", "tag"):
                    settings.pop(key, None)
                settings |= {"dataset_path": "json", "dataset_kwargs": {"data_files": files}, "num_fewshot": shots}
                theirs = ConfigurableTask(config=settings)
                theirs.build_all_requests(limit=rows, rank=0, world_size=1)
                asked: dict[int, list[Any]] = {}
                for instance in theirs.instances:
                    asked.setdefault(instance.doc_id, []).append(instance)
                mine = [question for question in ours if question.category == subject]
                for question, (_, instances) in zip(mine, sorted(asked.items()), strict=True):
                    choices = tuple(instance.args[1] for instance in instances)
                    right = choices[theirs.doc_to_target(instances[0].doc)]
                    same = (question.text, question.choices, question.references) == (
                        instances[0].args[0], choices, (right,),
                    )  # fmt: skip
                    compared, differing = compared + 1, differing + (not same)
    print(f"{compared} prompts with their choices compared, {differing} differ")


def beside(ours: Scores, theirs: Scores) -> str:
    worst = max(abs(a - b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True))
    differing = sum(a.index(max(a)) != b.index(max(b)) for a, b in zip(ours, theirs, strict=True))
    return f"{worst:12.1e}{differing:6}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared")
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--harness", metavar="PYTHON")
    parser.add_argument("--prompts", action="store_true")
    arguments = parser.parse_args()
    data, models = arguments.shared / "data", arguments.shared / "models"
    if not (data / "mmlu").is_dir() or not models.is_dir():
        print(f"{arguments.shared} is not there, which holds the tasks and models.")
        return
    if arguments.prompts:
        compare_prompts(data, arguments.rows)
        return
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging

    from lorafit.evaluate.task import load_task
    from lorafit.evaluate.task_rows import questions
    from lorafit.infer.engine import Engine

    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    print("largest difference of log-likelihoods in nats, and how many questions have another choice")
    print(f"{'':40}{'':24}{'engine beside loop':>18}{'beside harness' if arguments.harness else '':>18}")
    for name in MODELS:
        tokenizer = AutoTokenizer.from_pretrained(models / name)
        model = AutoModelForCausalLM.from_pretrained(models / name, dtype=torch.float32).eval()
        engine = Engine(model)
        asked = {}
        for task in TASKS:
            for shots in SHOTS:
                loaded = load_task(task, str(data / task / "test"), str(data / task / "dev"), shots)
                asked[f"{task}_{shots}_shots"] = list(questions(loaded, limit=arguments.rows))
        harness = by_harness(arguments.harness, models / name, asked) if arguments.harness else {}
        for task, rows in asked.items():
            ours, cut = by_engine(engine, tokenizer, rows)
            right = sum(q.choices[one.index(max(one))] == q.references[0] for q, one in zip(rows, ours, strict=True))
            line = f"{name:18}{task:16}{len(rows):5} questions,{cut:5} cut, accuracy {right / len(rows):.3f}"
            print(line, beside(ours, by_loop(model, tokenizer, rows)), end="")
            print(beside(ours, harness[task]) if harness else "", flush=True)


if __name__ == "__main__":
    main()
