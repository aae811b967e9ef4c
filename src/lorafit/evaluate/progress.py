"""What the model answers to a few held-out prompts while it is trained: after each measurement of the held-out loss."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lorafit.data.template import Renderer
from lorafit.evaluate.question import Question
from lorafit.evaluate.samples import tuned_answers
from lorafit.memory import is_out_of_memory
from lorafit.run import write_text


class Progress:
    """Lines of `file`, an answer each: {update, prompt, reference, text, ended}.

    Answers are greedy and draw nothing, so training goes on as it would without them. after: the update that a run goes
    on from; what was answered later is answered again. warn: told when memory runs out, which ends the answers and not
    the run.
    """

    def __init__(
        self,
        file: Path,
        model: Any,
        renderer: Renderer,
        questions: Sequence[Question],
        max_new_tokens: int,
        warn: Callable[[str], None],
        after: int = 0,
    ) -> None:
        self._file, self._model, self._renderer, self._warn = file, model, renderer, warn
        self._questions, self._max_new_tokens = questions, max_new_tokens
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
        write_text(file, "".join(line for line in lines if line.endswith("\n") and json.loads(line)["update"] <= after))

    def __call__(self, update: int) -> None:
        """Ask. update: the one after which it is."""
        if not self._questions:
            return
        training = self._model.training
        try:
            answers = tuned_answers(self._model, self._renderer, self._questions, self._max_new_tokens)["tuned"]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._questions = ()
            self._warn(
                "memory ran out as held-out prompts were answered (evaluate.while_training): no more of them are"
            )
            return
        finally:
            self._model.train(training)
        with self._file.open("a", encoding="utf-8") as file:
            for question, answer in zip(self._questions, answers, strict=True):
                line = {
                    "update": update,
                    "prompt": [{"role": m.role, "content": m.content} for m in question.messages],
                    "reference": question.references[0],
                    "text": answer.text,
                    "ended": answer.ended,
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
