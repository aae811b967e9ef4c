from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lorafit.errors import RunError
from lorafit.report.page import write_report
from lorafit.run import RunFolder

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
RECIPE = "model:\n  name: tiny\n  quantization: nf4\nadapter:\n  method: lora\n"


class Outline(HTMLParser):
    """The tags of a page, what stands open at its end, and its text."""

    VOID = frozenset({"meta", "path", "img", "br", "link", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder.create(tmp_path / "first")
    run.recipe.write_text(RECIPE)
    run.write_status("finished", update=40, updates=40, message="40 of 40 updates")
    return run


def page_of(run: RunFolder) -> Outline:
    outline = Outline(write_report(run).read_text(encoding="utf-8"))
    assert outline.open == []
    return outline


def write_metrics(run: RunFolder, updates: int = 40) -> None:
    with run.metrics.open("w") as file:
        file.write('{"update": 0, "held_out_loss": 4.0}\n')
        for update in range(1, updates + 1):
            line = {
                "update": update,
                "loss": None if update == 7 else 4 / update,
                "learning_rate": 2e-4,
                "gradient_norm": 1 / update**2,
                "tokens_per_second": 5000.0 + update % 17,
                "memory_bytes": 900_000_000,
                "peak_memory_bytes": 950_000_000,
                "elapsed_seconds": update / 2,
            }
            file.write(json.dumps(line) + "\n")
        file.write(json.dumps({"update": updates, "held_out_loss": 1.25}) + "\n")


def write_samples(run: RunFolder, text: str) -> None:
    run.evaluation.mkdir()
    answer: dict[str, Any] = {"text": text, "ended": True, "exact_match": 0.0, "token_f1": 0.5}
    line = {"prompt": [{"role": "user", "content": text}], "reference": text, "base": answer, "tuned": answer}
    (run.evaluation / "samples.jsonl").write_text(json.dumps(line))
    interval = {"mean": 0.5, "low": 0.25, "high": 0.75}
    scores = {speaker: {"token_f1": interval} for speaker in ("base", "tuned")}
    (run.evaluation / "scores.json").write_text(json.dumps({"schema": 1, "prompts": 1, "scores": scores}))


def test_a_whole_run(run: RunFolder) -> None:
    write_metrics(run)
    write_samples(run, "米拉住在哪里?")
    part = {"samples": 9, "tokens": 90, "supervised_tokens": 45, "shortest": 5, "median": 9, "longest": 20}
    data = {"train": "数据.json", "held_out": "0.1", "rows": 11, "rejected": 1, "training": part, "warnings": ["short"]}
    run.data.write_text(json.dumps(data))
    parts = {"base weights": 700, "activations": 300}
    plan = {"needed": 1000, "budget": 2000, "parts": parts, "verdict": "yes", "device": "this CPU", "trained": 77}
    run.plan.write_text(json.dumps(plan))
    run.rejected.write_text(json.dumps({"row": 4, "field": "output", "reason": "missing", "fields": {"a": 1}}) + "\n")
    finding = {"symptom": "loss-flat", "title": "The loss is flat", "severity": "warning", "evidence": "1 to 40"}
    finding |= {"cause": "too low a rate", "remedy": "ten times of it", "setting": "train.learning_rate=2e-3"}
    (run.path / "findings.json").write_text(json.dumps({"schema": 1, "findings": [finding]}))
    sample = {"time": 1.0, "resident_bytes": 5e8, "available_bytes": 9e9, "cpu_share": 0.5, "gpus": []}
    (run.path / "hardware.jsonl").write_text(json.dumps(sample) + "\n" + json.dumps({**sample, "time": 9.0}) + "\n")
    page = page_of(run)
    for words in (
        "finished",
        "QLoRA (nf4)",
        "40 of 40 updates",
        "trained for 20 s",
        "1.250",  # the best held-out loss
        "1 update without a finite loss",
        "The loss is flat",
        "train.learning_rate=2e-3",
        "米拉住在哪里?",
        "best held-out loss after update 40",
        "50.0%",
        "fits",
        "数据.json",
        "1 warning about the data",
        "1 row left out",
        "Host memory",
    ):
        assert words in page.text, words
    assert page.text.index("The loss is flat") < page.text.index("Training") < page.text.index("recipe.yaml")
    assert page.tags[0] == ("html", {"lang": "en"})
    assert ("div", {"class": "speech", "dir": "auto", "lang": "zh"}) in page.tags


def test_nothing_comes_from_elsewhere_and_no_script_but_ours_runs(run: RunFolder) -> None:
    write_metrics(run)
    write_samples(run, "see https://example.org")
    page = page_of(run)
    for tag, attributes in page.tags:
        assert tag not in ("link", "img", "iframe", "object", "base")
        assert "src" not in attributes and (attributes.get("href") or "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    style = re.search("<style>(.*?)</style>", write_report(run).read_text(encoding="utf-8"), re.DOTALL)
    assert style and "url(" not in style[1] and "@import" not in style[1]
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy and policy.startswith("default-src 'none'")


def test_what_data_and_models_say_stays_text(run: RunFolder) -> None:
    write_metrics(run)
    write_samples(run, EVIL)
    plain = sum(tag == "script" for tag, _ in page_of(run).tags)
    run.recipe.write_text(f"# {EVIL}\nmodel:\n  name: '{EVIL.replace(chr(39), '')}'\n")
    run.write_status("failed", update=1, updates=2, message=EVIL)
    run.data.write_text(json.dumps({"train": EVIL, "held_out": EVIL, "template": EVIL, "warnings": [EVIL]}))
    run.environment.write_text(json.dumps({EVIL: EVIL, "packages": {EVIL: EVIL}}))
    run.rejected.write_text(json.dumps({"row": EVIL, "field": EVIL, "reason": EVIL, "fields": {EVIL: EVIL}}))
    finding = dict.fromkeys(("title", "severity", "evidence", "cause", "remedy", "setting"), EVIL)
    (run.path / "findings.json").write_text(json.dumps({"findings": [finding]}))
    parts = {EVIL: 5}
    run.plan.write_text(json.dumps({"needed": 5, "budget": 9, "parts": parts, "verdict": EVIL, "device": EVIL}))
    page = page_of(run)
    assert page.text.count(EVIL) >= 15
    assert sum(tag == "script" for tag, _ in page.tags) == plain
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in page.tags)


def test_half_a_surrogate_pair_does_not_stop_the_page(run: RunFolder) -> None:
    run.rejected.write_text('{"row": 1, "field": "output", "reason": "odd", "fields": {"output": "\\ud83d"}}\n')
    assert "odd" in page_of(run).text


def test_a_bare_folder_says_what_is_missing(run: RunFolder) -> None:
    run.status.unlink()
    text = page_of(run).text
    for words in ("no readable status.json", "No update has been made", "No prompts were answered", "not planned"):
        assert words in text


def test_a_failed_run_says_why_first(run: RunFolder) -> None:
    run.write_status("failed", update=0, updates=0, message="The disk is full.\nFree some space.")
    text = page_of(run).text
    assert "The disk is full." in text and text.index("The disk is full.") < text.index("Training")


def test_a_broken_file_is_named(run: RunFolder) -> None:
    run.plan.write_text('{"half')
    assert "plan.json cannot be read" in page_of(run).text


@pytest.mark.parametrize(("age", "words"), [(1, "still going when the page was made"), (600, "stopped without a word")])
def test_a_run_that_goes_on_is_told_from_one_that_was_killed(run: RunFolder, age: float, words: str) -> None:
    status = {"state": "running", "heartbeat": time.time() - age, "update": 10, "updates": 40, "message": ""}
    run.status.write_text(json.dumps(status))
    text = page_of(run).text
    assert words in text and "10 of 40 updates" in text


@pytest.mark.parametrize(
    "wrong", ["[]", "{}", "7", '{"scores": 3}', '{"training": 5, "warnings": 2}', '{"parts": {"a": "b"}}']
)
def test_pieces_of_another_shape_do_not_stop_the_page(run: RunFolder, wrong: str) -> None:
    run.evaluation.mkdir()
    run.self_check.mkdir()
    others = (run.evaluation / "scores.json", run.self_check / "step.json", run.path / "findings.json")
    for path in (run.status, run.data, run.plan, run.environment, run.recipe, *others):
        path.write_text(wrong)
    for path in (run.evaluation / "samples.jsonl", run.rejected, run.metrics, run.path / "hardware.jsonl"):
        path.write_text(wrong + "\n")
    assert "How to make it again" in page_of(run).text


def test_two_hundred_thousand_updates_stay_small(run: RunFolder) -> None:
    line = '{{"update": {}, "loss": {}, "gradient_norm": 0.5, "tokens_per_second": 5e3, "peak_memory_bytes": 9e8}}\n'
    run.metrics.write_text("".join(line.format(n, 2 + n % 7) for n in range(1, 200_001)))
    began = time.process_time()
    page = write_report(run)
    assert time.process_time() - began < 10  # measured: about 2 s; the bound is for a busy machine
    assert page.stat().st_size < 2_000_000


def test_long_texts_and_many_prompts_stay_small(run: RunFolder) -> None:
    run.evaluation.mkdir()
    answer = {"text": "字" * 50_000, "ended": False, "exact_match": 0.0, "token_f1": 0.1}
    line = json.dumps({"prompt": [{"role": "user", "content": "x" * 50_000}], "reference": "", "tuned": answer})
    (run.evaluation / "samples.jsonl").write_text(f"{line}\n" * 60)
    run.rejected.write_text((json.dumps({"row": 1, "fields": {"a": "y" * 50_000}}) + "\n") * 60)
    page = write_report(run)
    assert page.stat().st_size < 500_000
    assert "49,100 more characters" in page.read_text(encoding="utf-8")


def test_where_the_page_goes(run: RunFolder, tmp_path: Path) -> None:
    assert write_report(run.path) == run.path / "report.html"
    assert write_report(run.path, tmp_path / "other.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(RunError, match="No run folder"):
        write_report(tmp_path / "none")
    with pytest.raises(RunError, match="Could not write"):
        write_report(run, tmp_path / "none" / "report.html")
