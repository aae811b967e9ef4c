"""Rows are a function of requests and answers: whatever was stopped, and where, the same rows come out."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.data.generate.server import serving

from lorafit.data.documents import Chunk
from lorafit.data.generate import (
    Checks,
    Counts,
    Duplicates,
    Failure,
    Form,
    Limits,
    Messages,
    Reply,
    Target,
    from_chunks,
    from_seeds,
    generate,
    load_prompt,
    read_seeds,
)
from lorafit.data.generate.journal import Journal
from lorafit.errors import DataError
from lorafit.records import Source

CHUNKS = [
    Chunk(f"Boat {n} leaves at {n} o'clock.", Source("boats.md", n), f"line {n}", ("Boats",)) for n in range(1, 13)
]


class Model:
    """Answers with two rows about the passage, at its own pace; counts what it was asked."""

    def __init__(self, answer: Callable[[str], str | Failure] | None = None) -> None:
        self.asked: Counter[str] = Counter()
        self.answer = answer or self.rows
        self.before: Callable[[int], None] = lambda number: None
        self._lock = threading.Lock()

    @staticmethod
    def rows(passage: str) -> str:
        boat = passage.split()[1]
        rows = [{"question": f"When does boat {boat} go?", "answer": passage}, {"question": "Same?", "answer": "米拉"}]
        return json.dumps(rows, ensure_ascii=False)

    def __call__(self, group: Sequence[Messages], stopping: threading.Event) -> list[Reply | Failure]:
        outcomes: list[Reply | Failure] = []
        for messages in group:
            passage = messages[-1].content.split("<passage>\n")[1].split("\n</passage>")[0]
            with self._lock:
                self.asked[passage] += 1
                number = self.asked.total()
            self.before(number)
            time.sleep(random.random() * 0.002)
            answer = self.answer(passage)
            outcomes.append(answer if isinstance(answer, Failure) else Reply(answer, (100, 10)))
        return outcomes


def make(
    path: Path,
    model: Any,
    limits: Limits | None = None,
    checks: Checks | None = None,
    chunks: Sequence[Chunk] = CHUNKS,
    form: Form = "messages",
    **options: Any,
) -> Counts:
    requests = from_chunks(chunks, lambda text: [load_prompt("qa")], "model")
    counts = Counts()
    target, limits, checks = Target(path, form, "small"), limits or Limits(), checks or Checks()
    generate(requests, model, target, limits, checks, Duplicates(), counts, **options)
    return counts


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_with_their_source_and_counts(tmp_path: Path) -> None:
    counts = make(tmp_path / "rows.jsonl", Model(), form="alpaca")
    rows = rows_of(tmp_path / "rows.jsonl")
    assert len(rows) == counts.rows == 13
    assert counts.rejected == {"it equals an earlier row": 11}
    assert (counts.asked, counts.tokens_read, counts.tokens_written, counts.unmetered) == (12, 1200, 120, 0)
    first = next(row for row in rows if row["instruction"] == "When does boat 7 go?")
    assert first == {
        "instruction": "When does boat 7 go?",
        "input": "",
        "output": "Boat 7 leaves at 7 o'clock.",
        "source": {"file": "boats.md", "chunk": 7, "place": "line 7", "prompt": "qa.en", "model": "small"},
    }
    rejected = rows_of(tmp_path / "rows.jsonl.rejected")
    assert {one["reason"] for one in rejected} == {"it equals an earlier row"}
    assert rejected[0]["answer"]["answer"] == "米拉"


def test_order_of_answers_changes_nothing(tmp_path: Path) -> None:
    made = []
    for name, at_once, group in (("a", 1, 1), ("b", 6, 1), ("c", 2, 3)):
        make(tmp_path / name, Model(), Limits(at_once=at_once), group=group)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1] == made[2]


def test_cut_anywhere_the_progress_file_gives_the_same_rows(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    make(whole, Model(), chunks=CHUNKS[:6])
    progress = (tmp_path / "whole.jsonl.progress").read_bytes()
    ends = [0, *(place + 1 for place, byte in enumerate(progress) if byte == ord("\n"))]
    cuts = {*ends, *(end - 1 for end in ends[1:]), *(end + 5 for end in ends[:-1]), len(progress) // 2}
    for cut in sorted(cuts):
        path = tmp_path / f"{cut}.jsonl"
        path.write_text("{half a row")
        path.with_name(f"{cut}.jsonl.progress").write_bytes(progress[:cut])
        model = Model()
        counts = make(path, model, chunks=CHUNKS[:6])
        done = sum(end <= cut for end in ends) - 1
        assert path.read_bytes() == whole.read_bytes()
        assert (model.asked.total(), counts.kept) == (6 - done, done)


def test_ctrl_c_keeps_what_is_in_the_air(tmp_path: Path) -> None:
    make(tmp_path / "whole.jsonl", Model())
    path, model, said = tmp_path / "rows.jsonl", Model(), list[str]()
    calls = itertools.count()

    def interrupt() -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(path, model, Limits(at_once=3), watch=interrupt, say=said.append)
    first = model.asked.total()
    assert 4 <= first < 12
    counts = make(path, model)
    assert set(model.asked.values()) == {1}
    assert counts.kept == first
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_killed_process_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process killed between and within answers, several times: no answered request is sent again."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "boats.md").write_text("\n\n".join(f"# Boat {n}\n\nIt leaves at {n} o'clock." for n in range(20)))
    script = (
        "import sys; from lorafit.cli.data_generate import *; parser = argparse.ArgumentParser();"
        "add_parser(parser.add_subparsers()); args = parser.parse_args(sys.argv[1:]); args.run(args)"
    )

    def write(body: dict[str, Any]) -> str:
        time.sleep(0.01)
        return json.dumps([{"question": body["messages"][-1]["content"][-600:], "answer": "Soon."}])

    with serving(write) as server:
        command = [
            sys.executable,
            "-c",
            script,
            "data-generate",
            str(tmp_path / "boats.md"),
            "--passage",
            "40",
            "--at-once",
            "2",
        ]
        command += ["--endpoint", server.address, "--model", "small", "--mentions-allowed", "--out"]

        command.append(str(tmp_path / "rows.jsonl"))

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        for stop, sent in ((signal.SIGKILL, 5), (signal.SIGINT, 11)):
            process = start()
            while len(server.asked) < sent:
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.002)
            os.kill(process.pid, stop)
            process.communicate()
        process = start()
        shown = process.communicate()[0]
        assert process.returncode == 0, shown
        assert "20 rows from 20 requests" in shown
        asked = Counter(server.questions())
        assert len(asked) == 20
        assert sum(asked.values()) <= 22  # two were in the air at the kill; Ctrl-C waits for its own


def test_budgets(tmp_path: Path) -> None:
    model = Model()
    assert make(tmp_path / "a.jsonl", model, Limits(requests=5)).asked == 5
    assert make(tmp_path / "a.jsonl", model, Limits(requests=5)).kept == 5
    assert model.asked.total() == 5
    counts = make(tmp_path / "a.jsonl", model, Limits(requests=8))
    assert (counts.asked, counts.kept, model.asked.total()) == (8, 5, 8)
    model = Model()
    assert make(tmp_path / "b.jsonl", model, Limits(rows=4, at_once=1)).rows == 4
    assert len(rows_of(tmp_path / "b.jsonl")) == 4
    assert model.asked.total() <= 5
    few = make(tmp_path / "a.jsonl", model, Limits(rows=4))
    assert rows_of(tmp_path / "a.jsonl") == rows_of(tmp_path / "b.jsonl")
    assert few.rows == 4


def test_the_same_passage_is_asked_about_once(tmp_path: Path) -> None:
    model = Model()
    counts = make(tmp_path / "a.jsonl", model, chunks=[*CHUNKS, *CHUNKS])
    assert (model.asked.total(), counts.asked, counts.repeated) == (12, 12, 12)


def test_other_checks_ask_nothing_again(tmp_path: Path) -> None:
    model = Model()
    make(tmp_path / "a.jsonl", model)
    counts = make(tmp_path / "a.jsonl", model, checks=Checks(shortest=3))
    assert model.asked.total() == 12
    assert counts.rejected == {"the answer has fewer than 3 characters": 12}


def test_failures_are_counted_and_asked_again(tmp_path: Path) -> None:
    model = Model(lambda passage: Failure("HTTP 400") if "Boat 3" in passage else Model.rows(passage))
    counts = make(tmp_path / "a.jsonl", model)
    assert (counts.failed, counts.rows) == ({"HTTP 400": 1}, 12)
    model.answer = Model.rows
    assert make(tmp_path / "a.jsonl", model).rows == 13
    assert model.asked.total() == 13


def test_failures_in_a_row_end_the_run(tmp_path: Path) -> None:
    model = Model()
    model.answer = lambda passage: Failure("HTTP 500") if model.asked.total() > 4 else Model.rows(passage)
    with pytest.raises(DataError, match=r"3 requests in a row got no answer; the last: HTTP 500"):
        make(tmp_path / "a.jsonl", model, Limits(at_once=1, failures=3))
    assert model.asked.total() <= 8
    model.answer = Model.rows
    assert make(tmp_path / "a.jsonl", model).kept == 4


@pytest.mark.parametrize("group", [1, 4])
def test_what_ask_raises_ends_the_run(tmp_path: Path, group: int) -> None:
    def refuse(group: Sequence[Messages], stopping: threading.Event) -> list[Reply | Failure]:
        raise DataError("the key is wrong")

    with pytest.raises(DataError, match="the key is wrong"):
        make(tmp_path / "a.jsonl", refuse, group=group)


def test_useless_answers_are_kept_aside(tmp_path: Path) -> None:
    answers = {
        "Boat 1": "Sorry.",
        "Boat 2": '[{"question": "Who?"}]',
        "Boat 3": '[{"question": "?", "answer": "\\ud800"}]',
    }
    model = Model(lambda passage: answers[passage[:6]])
    counts = make(tmp_path / "a.jsonl", model, chunks=CHUNKS[:3])
    reasons = ("the answer has no JSON", "it has no answer", "the answer holds half a surrogate pair")
    assert counts.rejected == dict.fromkeys(reasons, 1)
    assert {one["reason"] for one in rows_of(tmp_path / "a.jsonl.rejected")} == set(reasons)
    assert (tmp_path / "a.jsonl").read_text() == ""


def test_nothing_of_others_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        make(path, Model())
    assert path.read_text() == "mine"


def test_one_process_at_a_time_and_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.progress"
    with Journal.open(path) as journal:
        journal.write("k", Reply("\ud800 谁", None, True))
        with pytest.raises(DataError, match="another process"), Journal.open(path):
            pass
    with Journal.open(path) as journal:
        assert (len(journal), journal["k"]) == (1, Reply("\ud800 谁", None, True))
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(DataError, match=r"line 1: this is no line"), Journal.open(path):
        pass


def test_seeds(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    turns = [{"role": "user", "content": "说说港口。"}, {"role": "assistant", "content": "好。"}]
    seeds = [{"instruction": "写一首诗。", "output": "海。"}, {"question": "谁住在这里？"}, {"messages": turns}]
    path.write_text("\n".join(json.dumps(seed) for seed in seeds), encoding="utf-8")
    read = read_seeds(path)
    assert [one.messages[0].content for one in read] == ["写一首诗。", "谁住在这里？", "说说港口。"]
    requests = list(itertools.islice(from_seeds(read, lambda text: [load_prompt("instructions", "zh")], "m"), 5))
    assert len({request.key for request in requests}) == 5
    assert "写一首诗。" in requests[0].messages[-1].content
    again = itertools.islice(from_seeds(read, lambda text: [load_prompt("instructions", "zh")], "m"), 5)
    assert requests == list(again)
    path.write_text('{"instruction": "a"}\n{"text": "b"}')
    with pytest.raises(DataError, match=r"row 2: a seed needs an instruction.*text"):
        read_seeds(path)
