"""The data report, and a sample shown as what is trained and what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lorafit.data.inspect import report_lines, stretches
from lorafit.data.prepare import prepare
from lorafit.data.template import Renderer, choose_template
from lorafit.records import Conversation, Message, Source


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


def test_the_report_says_what_is_cut_and_left_out(tokenizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    rows = [{"instruction": "Who?", "output": "Mira."}, {"instruction": "Count.", "output": "one two " * 20}, {"a": 1}]
    path.write_text(json.dumps(rows), encoding="utf-8")
    renderer = Renderer(tokenizer, choose_template(tokenizer))
    lines = dict(report_lines(prepare(renderer, str(path), 0.0, 30, bad_rows="drop")))
    assert lines["rows"] == f"3 in {path}"
    assert lines["training"].startswith("2 samples, ")
    assert lines["held out"] == "none"
    assert lines["cut"] == "1 to 30 tokens, 1 in the answer"
    assert lines["left out"] == "1 rows"


def test_the_report_leaves_out_what_did_not_happen(tokenizer: Any, data_file: Path) -> None:
    renderer = Renderer(tokenizer, choose_template(tokenizer))
    names = [name for name, _ in report_lines(prepare(renderer, str(data_file), 0.25, 512))]
    assert names == ["rows", "template", "training", "  length", "held out", "  length"]
