"""Tasks of lm-evaluation-harness, answered by lorafit's engine. The package `lm_eval` is optional, and heavy."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from lorafit.errors import DataError, RecipeError
from lorafit.evaluate.pairs import encode, encode_pair, fit, prefix_id
from lorafit.infer.engine import GREEDY, Engine, Request, Sampling

Scores = dict[str, dict[str, dict[str, float | None]]]
LONGEST = 2048  # tokens, as the harness has it where a model says nothing


def engine_model(engine: Engine, tokenizer: Any, adapter: str | None = None) -> Any:
    """A model of the harness (`lm_eval.api.model.TemplateLM`) that answers through the engine.

    adapter: who speaks, None is the base. The engine needs a `decode` for tasks that generate.
    Raises DataError where lm_eval is not installed.
    """
    try:
        from lm_eval import utils  # type: ignore[import-not-found, unused-ignore]
        from lm_eval.api.model import TemplateLM  # type: ignore[import-not-found, unused-ignore]
        from lm_eval.models.utils import (  # type: ignore[import-not-found, unused-ignore]
            handle_stop_sequences,
            normalize_gen_kwargs,
        )
    except ModuleNotFoundError as error:
        raise _missing(error) from None

    class EngineModel(TemplateLM):
        def __init__(self) -> None:
            super().__init__()
            self.tokenizer = tokenizer
            self.max_length = engine.longest or LONGEST

        @property
        def eot_token_id(self) -> int:
            found: int = tokenizer.eos_token_id
            return found

        @property
        def prefix_token_id(self) -> int | None:
            return prefix_id(tokenizer)

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
            if add_special_tokens is None:
                return encode(tokenizer, string)
            ids: list[int] = tokenizer.encode(string, add_special_tokens=add_special_tokens)
            return ids

        def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            pairs = [encode_pair(tokenizer, *request.args) for request in requests]
            return self._loglikelihood_tokens([("", *pair) for pair in pairs])

        def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
            asked = [
                Request(fit(context, continuation, self.max_length)[0], adapter=adapter, continuation=continuation)
                for _, context, continuation in requests
            ]
            return [(done.logprob, done.likeliest) for done in engine.run(asked)]

        def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
            totals = []
            for request in requests:
                windows = utils.get_rolling_token_windows(
                    encode(tokenizer, request.args[0]), self.prefix_token_id, self.max_length, context_len=1
                )
                parts = [("", *utils.make_disjoint_window(window)) for window in windows]
                totals.append(sum(logprob for logprob, _ in self._loglikelihood_tokens(parts)))
            return totals

        def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
            return [done.text for done in engine.run([self._asked(*request.args) for request in requests])]

        def _asked(self, context: str, settings: Mapping[str, Any]) -> Request:
            settings = normalize_gen_kwargs(settings, 256)
            tokens = settings["max_gen_toks"]
            room = self.max_length - tokens
            if room < 1:
                raise DataError(
                    f"A task asks for answers of {tokens} tokens; the model takes {self.max_length} in all."
                )
            return Request(
                encode(tokenizer, context)[-room:],
                tokens,
                adapter,
                _sampling(settings),
                frozenset([tokenizer.eos_token_id]),
                tuple(stop for stop in handle_stop_sequences(settings["until"], None) if stop),
            )

    return EngineModel()


def harness_scores(
    engine: Engine,
    tokenizer: Any,
    adapter: str | None,
    tasks: Sequence[str],
    limit: int | None = None,
    include_path: str | None = None,
    shots: int | None = None,
) -> Scores:
    """{task: {metric: {score, stderr, samples}}} of the harness' tasks, and of groups of them, for one speaker.

    include_path: a folder with more task files. A metric after a filter is called `metric,filter`.
    Raises DataError where lm_eval is not installed or the data of a task cannot be had, RecipeError for a task that the
    harness does not have.
    """
    model = engine_model(engine, tokenizer, adapter)
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager  # type: ignore[import-not-found, unused-ignore]

    manager = TaskManager(include_path=include_path)
    for name in tasks:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, n=3)
            meant = f"; did you mean {' or '.join(near)}?" if near else "."
            raise RecipeError(f"lm-evaluation-harness has no task {name!r}{meant}")
    try:
        found = simple_evaluate(
            model, tasks=list(tasks), num_fewshot=shots, limit=limit, task_manager=manager, log_samples=False
        )
    except OSError as error:  # no network, no such data set
        raise DataError(f"lm-evaluation-harness cannot get the data of {', '.join(tasks)}: {error}") from error
    counts = found.get("n-samples", {})
    return {
        task: _scores(results, counts.get(task, {}).get("effective", 0)) for task, results in found["results"].items()
    }


def _scores(results: Mapping[str, Any], samples: int) -> dict[str, dict[str, float | None]]:
    """The harness writes a metric as `acc,none`, and beside it its error as `acc_stderr,none`, which may be "N/A"."""
    scores = {}
    for key, value in results.items():
        metric, comma, after = key.partition(",")
        if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
            stderr = results.get(f"{metric}_stderr,{after}")
            name = metric if after == "none" else key
            scores[name] = {
                "score": float(value),
                "stderr": stderr if isinstance(stderr, float) else None,
                "samples": samples,
            }
    return scores


def _sampling(settings: Mapping[str, Any]) -> Sampling:
    if not settings["do_sample"]:
        return GREEDY
    return Sampling(
        float(settings.get("temperature", 1.0)),
        int(settings.get("top_k", 0)),
        float(settings.get("top_p", 1.0)),
        float(settings.get("repetition_penalty", 1.0)),
        seed=0,
    )


def _missing(error: ModuleNotFoundError) -> DataError:
    return DataError(
        f"Tasks of lm-evaluation-harness need the package lm_eval ({error}).\nRun: pip install lm_eval==0.4.13"
    )
