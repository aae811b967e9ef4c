"""The data report: counted by hand on small files, its lines, and a sample shown as what is trained and what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lorafit.data.inspect import Base, data_report, stretches
from lorafit.data.lines import report_lines
from lorafit.data.prepare import Prepared, prepare
from lorafit.data.template import Renderer, choose_template
from lorafit.records import Conversation, Message, Source

SHORT = {"instruction": "Who?", "output": "Mira."}
LONG = {"instruction": "Count.", "output": "one two " * 20}


def report_of(prepared: Prepared, renderer: Renderer, count: int = 5) -> dict[str, Any]:
    return data_report(prepared, renderer, prepared.problems, count)


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return str(path)


def test_stretches_are_the_rendering_in_order(tokenizer: Any) -> None:
    renderer = Renderer(tokenizer, choose_template(tokenizer, "human-assistant"))
    turns = ("Wer? 🦊", "Mira 🎉.", "小镇?", "柳树街")
    messages = tuple(Message("assistant" if n % 2 else "user", text) for n, text in enumerate(turns))
    conversation = Conversation(messages, Source("rows.json", 1))
    assert list(stretches(renderer, renderer.sample(conversation))) == [
        ("Human: Wer? 🦊\n\nAssistant:", False),
        (" Mira 🎉.<|endoftext|>", True),
        ("\n\nHuman: 小镇?\n\nAssistant:", False),
        (" 柳树街<|endoftext|>", True),
    ]


def test_rows_are_counted_by_what_became_of_them(tokenizer: Any, tmp_path: Path) -> None:
    """Six rows: one is bad, one equals another, one is cut within its answer."""
    path = write(
        tmp_path / "six.json", SHORT, LONG, SHORT, {"a": 1}, SHORT | {"output": "米拉。"}, SHORT | {"output": "Bo."}
    )
    renderer = Renderer(tokenizer, choose_template(tokenizer))
    prepared = prepare(renderer, path, 0.0, 30, bad_rows="drop", cut_answers=1.0)
    report = report_of(prepared, renderer)
    assert (report["rows"], report["rejected"], report["conversations"]["training"]) == (6, 1, 5)
    assert (report["cut"], report["cut_within_answer"]) == (1, 1)
    assert report["forms"] == {path: {"Alpaca": 5}}
    texts = {problem.text: problem for problem in prepared.problems}
    duplicate = next(problem for text, problem in texts.items() if "equal an earlier row" in text)
    assert duplicate.text == f"1 of 5 rows equal an earlier row in every turn; the first: {path}, row 3."
    assert (duplicate.severity, duplicate.setting) == ("warning", "data.clean.exact_duplicates=drop")
    cut = next(problem for problem in prepared.problems if problem.symptom == "answers-cut")
    long = len(renderer.sample(Conversation(_turns("Count.", LONG["output"]), Source("", 1))))
    assert cut.setting == f"data.max_length={-(-long // 64) * 64}" and cut.severity == "warning"
    assert report["lengths"]["sample"]["max"] == long, "as it was before it was cut"
    lines = dict(report_lines(report))
    assert lines["rows"] == f"6 read from {path}; 5 kept for training"
    assert lines["cut"] == "1 of 5 rows to 30 tokens; 1 (20.0%) lose the end of their answer"
    assert lines["left out"] == "1 rows: cannot be used 1"
    assert lines["held out"] == "none"


def _turns(question: str, answer: str) -> tuple[Message, ...]:
    return Message("user", question), Message("assistant", answer)


def test_the_report_is_the_same_from_the_cache(tokenizer: Any, data_file: Path) -> None:
    renderer = Renderer(tokenizer, choose_template(tokenizer))
    first, second = (prepare(renderer, str(data_file), 0.25, 512) for _ in range(2))
    assert second.cached
    assert report_of(first, renderer) == report_of(second, renderer)
    assert json.loads(json.dumps(report_of(first, renderer))) == report_of(first, renderer)


def test_lines_leave_out_what_did_not_happen(tokenizer: Any, data_file: Path) -> None:
    renderer = Renderer(tokenizer, choose_template(tokenizer))
    names = [name for name, _ in report_lines(report_of(prepare(renderer, str(data_file), 0.25, 512), renderer))]
    assert names == ["rows", "training", "held out", "prompt", "answer", "both", "cut", "template", "language"]


def test_examples_are_the_longest_the_strangest_and_others(tokenizer: Any, tmp_path: Path) -> None:
    plain = [
        {"instruction": f"Where does Mira live, {n}?", "output": "Mira lives on Willow Street."} for n in range(20)
    ]
    strange = {"instruction": "Where does Mira live?", "output": "Ω≈ç√∫˜µ≤≥÷"}
    longest = {"instruction": "Where does Mira live?", "output": "Mira lives on Willow Street. " * 8}
    renderer = Renderer(tokenizer, choose_template(tokenizer))
    path = write(tmp_path / "odd.json", *plain, strange, longest)
    examples = report_of(prepare(renderer, path, 0.0, 512), renderer)["examples"]
    why = {example["why"].partition(":")[0]: example["row"] for example in examples}
    assert (why["the first"], why["the longest"], why["the strangest"]) == (1, 22, 21)
    assert len(examples) == len({example["row"] for example in examples}) == 5
    shown = next(example for example in examples if example["row"] == 21)
    assert shown["stretches"][1] == [" Ω≈ç√∫˜µ≤≥÷<|endoftext|>", True]
    assert report_of(prepare(renderer, path, 0.0, 512), renderer, count=0)["examples"] == []


def test_a_prompt_on_both_sides_is_a_problem_with_its_setting(tokenizer: Any, tmp_path: Path) -> None:
    train, held = write(tmp_path / "train.json", SHORT, LONG), write(tmp_path / "held.json", LONG)
    renderer = Renderer(tokenizer, choose_template(tokenizer))
    prepared = prepare(renderer, train, held, 512)
    assert prepared.summary["also_in_training"] == 1
    (leak,) = [problem for problem in prepared.problems if "held-out prompts" in problem.text]
    assert leak.setting == "data.clean.in_held_out=drop"
    assert dict(report_lines(report_of(prepared, renderer)))["leakage"].startswith("1 of 1 held-out prompts")


def test_what_the_template_does_not_show_is_counted(tokenizer: Any, tmp_path: Path) -> None:
    thinking = {
        "messages": [
            {"role": "user", "content": "Who?"},
            {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nMira."},
        ]
    }
    renderer = Renderer(tokenizer, choose_template(tokenizer))
    prepared = prepare(renderer, write(tmp_path / "think.json", thinking, LONG), 0.0, 512)
    assert prepared.summary["counted"] == {"thinking": 1, "unsupported thinking": 1}
    (problem,) = prepared.problems
    assert problem.text.startswith("1 rows have thinking, which the chat template (human-assistant) does not show")
    line = dict(report_lines(report_of(prepared, renderer)))["template"]
    assert line.endswith("ends a turn with <|endoftext|>; knows no thinking, 1 rows have some")


def test_texts_have_no_end_of_turn_to_miss(tokenizer: Any, tmp_path: Path) -> None:
    renderer = Renderer(tokenizer, choose_template(tokenizer))
    path = write(tmp_path / "text.json", {"text": "The harbour town wakes. " * 30}, {"text": "Boats go out. " * 20})
    prepared = prepare(renderer, path, 0.0, 40, too_long="split")
    assert prepared.summary["counted"] == {"texts": 2}
    assert prepared.summary["lengths"]["sample"]["count"] == 2, "texts, not their pieces"


def test_whether_a_base_is_tuned_is_judged_with_evidence(tokenizer: Any) -> None:
    def judged(name: str, *more: Any) -> str:
        return Base(name, *more).judgement()[0]

    assert judged("meta/Llama-3-8B-Instruct", False) == "instruction-tuned"
    assert judged("/models/gemma-2-2b-it/", True) == "instruction-tuned"
    assert judged("Qwen/Qwen3-8B", True, ("<|im_end|>",), ("<|im_end|>",)) == "instruction-tuned"
    assert judged("Qwen/Qwen2.5-7B", True, ("<|im_end|>",), ("<|endoftext|>",)) == "perhaps instruction-tuned"
    assert judged("Qwen/Qwen3-8B-Base", True, ("<|im_end|>",), ()) == "a plain base"
    assert judged("gpt2-orbit", False) == "a plain base", "a name that only holds the letters"
    renderer = Renderer(tokenizer, choose_template(tokenizer, "alpaca"))
    problem = Base("some-chat", True).problem(renderer)
    assert problem is not None and problem.setting == "data.template=auto"
    assert Base("some-base", True).problem(renderer) is None
