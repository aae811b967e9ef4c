"""lorafit evaluate: is the tuned model better, than what, and by how much."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lorafit.cli.arguments import positive
from lorafit.errors import RecipeError


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "evaluate",
        help="score the tuned model and its base side by side",
        description="Let the base and the tuned model of a run answer the same questions, and say which is better and "
        "by how much: `lorafit evaluate runs/NAME --data test.jsonl`. Stopped, the same command goes on.",
        epilog="Without --data, --task and --lm-eval it is the run's own held-out rows. Metrics: docs/metrics.md; "
        "tasks: docs/tasks.md.",
    )
    parser.add_argument("model", help="a run folder, such as runs/NAME; or a model (folder, hub id) that is no run")
    parser.add_argument("--data", action="append", default=[], metavar="FILE", help="rows to ask; may be repeated")
    parser.add_argument(
        "--task", action="append", default=[], metavar="TASK", help="mmlu, cmmlu, ceval, gsm8k, or a YAML file"
    )
    parser.add_argument("--records", metavar="FILES", help="where the questions of the --task are")
    parser.add_argument("--examples", metavar="FILES", help="where its shots are drawn from")
    parser.add_argument("--shots", type=int, metavar="N", help="examples before each question (the task's own)")
    parser.add_argument(
        "--lm-eval", action="append", default=[], metavar="TASK", help="a task of lm-evaluation-harness (needs lm_eval)"
    )
    parser.add_argument("--lm-eval-path", metavar="FOLDER", help="task files of your own for it")
    parser.add_argument(
        "--metrics", default="", metavar="A,B", help="scores of --data; e2e: as the E2E scorer (fitting)"
    )
    parser.add_argument("--schema", type=Path, metavar="FILE", help="a JSON Schema, for the metric json_schema")
    parser.add_argument("--words", default="", choices=("zh", "ja", "ko"), help="cut this language into words")
    parser.add_argument("--category", default="", metavar="COLUMN", help="break the scores of --data down by it")
    parser.add_argument(
        "--forgetting", default="builtin", metavar="FILE", help="general text: a file, builtin, or none (builtin)"
    )
    parser.add_argument("--max-new-tokens", type=positive, metavar="N", help="the longest answer (the run's own)")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N rows (of a task: per category)")
    parser.add_argument("--seed", type=int, default=0, help="draws the shots (0)")
    parser.add_argument("--drop-bad-rows", action="store_true", help="leave out rows that cannot be used")
    parser.add_argument("--checkpoint", type=int, metavar="UPDATE", help="of a run: the copy made after this update")
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help="of a model that is no run: a PEFT adapter")
    parser.add_argument("--template", default="auto", help="of a model that is no run: its chat template (auto)")
    parser.add_argument("--quantization", default="none", choices=("none", "nf4", "int8"), help="of such a one (none)")
    parser.add_argument("--name", default="", help="the folder in RUN/evaluation (made from what is asked)")
    parser.add_argument("--restart", action="store_true", help="throw away what was answered before")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if (args.records or args.examples) and len(args.task) != 1:
        raise RecipeError("--records and --examples belong to one --task: name one, or put them into its YAML file.")
    if args.category and not args.data:
        raise RecipeError("--category is a column of --data: name the file. (A task has its own category.)")

    from lorafit.assess.conduct import evaluate
    from lorafit.assess.subject import subject_of
    from lorafit.assess.wanted import Wanted
    from lorafit.evaluate.metrics import E2E
    from lorafit.observe.console import Console

    metrics = E2E if args.metrics == "e2e" else tuple(filter(None, args.metrics.split(",")))
    wanted = Wanted(
        data=tuple(args.data),
        tasks=tuple(args.task),
        records=args.records,
        examples=args.examples,
        harness=tuple(args.lm_eval),
        harness_path=args.lm_eval_path,
        metrics=metrics,
        schema=args.schema,
        word_language=args.words,
        category=args.category,
        forgetting=args.forgetting,
        max_new_tokens=args.max_new_tokens,
        shots=args.shots,
        limit=args.limit,
        seed=args.seed,
        drop_bad_rows=args.drop_bad_rows,
    )
    console = Console()
    subject = subject_of(
        args.model, args.adapter, args.checkpoint, args.template, args.quantization, args.trust_remote_code, console
    )
    evaluate(subject, wanted, console, args.name, args.restart, args.trust_remote_code)
    return 0
