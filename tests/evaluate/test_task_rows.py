"""Rows to questions: the text that is asked, where shots come from, and what is said of a row that does not fit."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from lorafit.errors import DataError
from lorafit.evaluate.question import Question
from lorafit.evaluate.task import Task, load_task
from lorafit.evaluate.task_rows import filtered, questions
from lorafit.records import Record, Source

ROWS = [{"q": f"q{i}", "a": f"a{i}", "of": "even" if i % 2 == 0 else "odd"} for i in range(8)]


def rows_file(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def asked(**task: Any) -> list[Question]:
    return list(questions(Task(**{"name": "t", "prompt": "{{ q }}", "answer": "{{ a }}", **task})))


def test_a_plain_question_with_shots_of_its_category(tmp_path: Path) -> None:
    records, examples = rows_file(tmp_path, ROWS[:2]), rows_file(tmp_path, ROWS[2:], "shown.jsonl")
    found = asked(
        records=records, examples=examples, shots=2, category="{{ of }}", description="About {{ title }}.\n",
        titles={"odd": "奇数"}, prompt="Q: {{ q }}\nA:",
    )  # fmt: skip
    assert [q.text for q in found] == [
        "About even.\n\nQ: q2\nA: a2\n\nQ: q4\nA: a4\n\nQ: q0\nA:",
        "About 奇数.\n\nQ: q3\nA: a3\n\nQ: q5\nA: a5\n\nQ: q1\nA:",
    ]
    assert [(q.number, q.source.row, q.category, q.references) for q in found] == [
        (1, 1, "even", ("a0",)),
        (2, 2, "odd", ("a1",)),
    ]


def test_a_chat_question_has_its_shots_as_turns(tmp_path: Path) -> None:
    records = rows_file(tmp_path, ROWS)
    (question,) = asked(
        records=records, examples=records, shots=1, chat=True, description="Answer.", choices=["{{ a }}", "no"]
    )[:1]
    assert [(m.role, m.content) for m in question.messages] == [
        ("user", "Answer.\n\nq0"),
        ("assistant", "a0"),
        ("user", "q1"),
    ]
    assert (question.text, question.choices, question.references) == ("", ("a1", "no"), ("a1",))


def test_drawn_shots_follow_the_seed_and_are_not_asked(tmp_path: Path) -> None:
    records = rows_file(tmp_path, ROWS)
    task = Task(name="t", records=records, examples=records, shots=3, draw="seed", prompt="{{ q }}", answer="{{ a }}")
    shown = set()
    for seed in range(4):
        found = list(questions(task, seed))
        leads = {question.text.rpartition("\n\n")[0] for question in found}
        assert len(found) == 5 and len(leads) == 1
        lead = leads.pop()
        assert not [q for q in found if q.text.rpartition("\n\n")[2] in lead]
        shown.add(lead)
    assert len(shown) > 1
    assert next(questions(task, 3)).text.startswith(lead)


def test_too_few_examples_of_a_category(tmp_path: Path) -> None:
    records, examples = rows_file(tmp_path, ROWS), rows_file(tmp_path, ROWS[:3], "shown.jsonl")
    with pytest.raises(DataError, match=r"row 2: .* asks for 2 shots, and .*shown\.jsonl holds 1 .* category 'odd'"):
        asked(records=records, examples=examples, shots=2, category="{{ of }}")


def test_the_limit_is_for_each_category(tmp_path: Path) -> None:
    records = rows_file(tmp_path, ROWS)
    task = Task(name="t", records=records, prompt="{{ q }}", answer="{{ a }}", category="{{ of }}")
    assert [q.text for q in questions(task, limit=2)] == ["q0", "q1", "q2", "q3"]
    assert len(list(questions(task.model_copy(update={"category": ""}), limit=3))) == 3


@pytest.mark.parametrize(
    ("prompt", "delimiter", "expected"),
    [("答案", None, "A"), ("答案：", None, " A"), ("Answer:", None, " A"), ("Answer:", "", "A"), ("答案", " ", " A")],
)
def test_what_stands_before_a_choice(tmp_path: Path, prompt: str, delimiter: str | None, expected: str) -> None:
    records = rows_file(tmp_path, [{"a": "A"}])
    (question,) = asked(records=records, prompt=prompt, choices=["A", "B"], delimiter=delimiter)
    assert question.choices[0] == expected and question.references == (expected,)


@pytest.mark.parametrize("choices", ["options", "{{ options | tojson }}", "text"])
@pytest.mark.parametrize("answer", ["二", 1, "1"])
def test_choices_are_a_list_and_the_answer_a_text_or_a_place(tmp_path: Path, choices: str, answer: Any) -> None:
    row = {"q": "?", "a": answer, "options": ["一", "二"], "text": '["一", "二"]'}
    (question,) = asked(records=rows_file(tmp_path, [row]), choices=choices)
    assert (question.choices, question.references) == ((" 一", " 二"), (" 二",))


def test_a_choice_that_is_a_number_is_itself_and_not_a_place(tmp_path: Path) -> None:
    (question,) = asked(records=rows_file(tmp_path, [{"q": "?", "a": 1}]), choices=["1", "0"])
    assert question.references == (" 1",)


def test_several_references_are_a_column_with_a_list(tmp_path: Path) -> None:
    (question,) = asked(records=rows_file(tmp_path, [{"q": "?", "all": ["x", "y"]}]), answer="all")
    assert question.references == ("x", "y")


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ({"prompt": "{{ qq }}"}, r"row 1: prompt of the task t cannot be rendered: there is no 'qq'. Did you mean 'q'"),
        ({"prompt": "{{ row['A'] }}"}, r"there is no 'A'. Did you mean 'a'"),
        ({"answer": "{{ a.missing() }}"}, "there is no 'missing'"),
        ({"prompt": "{{ ['x'].index(q) }}"}, "ValueError: 'q0' is not in list"),
        ({"prompt": "{{ q.__class__ }}"}, "SecurityError"),
        ({"prompt": " "}, "row 1: the prompt of the task t is empty"),
        ({"answer": "{{ none }}"}, "row 1: the answer of the task t is empty"),
        (
            {"choices": ["x", "y"]},
            r"the answer 'a0' .* none of the choices \(x, y\) and no place among them \(0 to 1\)",
        ),
        ({"choices": "{{ q }}"}, "has 1 choices, and needs two"),
        ({"choices": "[{{ q }}"}, "choices of the task t is a text that begins like JSON"),
        ({"records": "nowhere.jsonl"}, r"The records of the task t: No data file nowhere\.jsonl"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path: Path, task: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        asked(**{"records": rows_file(tmp_path, ROWS), **task})


def test_a_broken_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("q,a\n1,2\n1,2,3\n")
    with pytest.raises(DataError, match=r"rows\.csv, row 2: the row has 3 cells"):
        asked(records=str(path))


@pytest.mark.parametrize("header", ["", "question,choice0,choice1,choice2,choice3,answer\n"])
@pytest.mark.parametrize("answer", ["C", "2"])
def test_mmlu_with_and_without_a_line_of_names(tmp_path: Path, header: str, answer: str) -> None:
    for split in ("test", "dev"):
        (tmp_path / split).mkdir()
        row = f'" One, {split}? ",a,b,c,d,{answer}\n'
        (tmp_path / split / f"high_school_physics_{split}.csv").write_text(header + row)
    (question,) = questions(load_task("mmlu", str(tmp_path / "test"), str(tmp_path / "dev"), 1))
    assert question.text == (
        "The following are multiple choice questions (with answers) about high school physics.\n\n"
        "One, dev?\nA. a\nB. b\nC. c\nD. d\nAnswer: C\n\nOne, test?\nA. a\nB. b\nC. c\nD. d\nAnswer:"
    )
    assert (question.choices, question.references) == ((" A", " B", " C", " D"), (" C",))
    assert question.category == "high_school_physics"


@pytest.mark.parametrize(
    ("name", "file", "columns", "lead"),
    [
        ("cmmlu", "agronomy.csv", ",Question,A,B,C,D,Answer", "关于农学的单项选择题，请直接给出正确答案的选项。"),
        (
            "ceval",
            "law_val.csv",
            "id,question,A,B,C,D,answer",
            "中国关于法学的单项选择题，请选出其中的正确答案。",
        ),
    ],
)
def test_chinese_choices_as_they_ship(tmp_path: Path, name: str, file: str, columns: str, lead: str) -> None:
    (tmp_path / file).write_text(f"{columns}\n0,问题,甲,乙,丙,丁,D\n", encoding="utf-8")
    (question,) = questions(load_task(name, str(tmp_path / file)))
    assert question.text == f"以下是{lead}\n\n问题\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案："
    assert question.references == (" D",)


def test_gsm8k_shows_solutions_and_compares_numbers(tmp_path: Path) -> None:
    rows = [{"question": f"How many? {i}", "answer": f"It is <<1>>1.\n#### 1,20{i}"} for i in range(3)]
    task = load_task("gsm8k", rows_file(tmp_path, rows[:1]), rows_file(tmp_path, rows[1:], "train.jsonl"), 1)
    (question,) = questions(task)
    assert "<<1>>1.\n#### 1,20" in question.text and question.text.endswith("Question: How many? 0\nAnswer:")
    assert question.references == ("1200",)
    assert filtered(task, " 3 times 400.\n#### $1,200.") == "1200"
    assert filtered(task, "I cannot say") == ""


def test_rows_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def records(*_: object) -> Any:
        for i in range(1_000_000):
            taken.append(i)
            yield Record({"q": f"q{i}", "a": "a"}, Source("rows.jsonl", i + 1))

    monkeypatch.setattr("lorafit.evaluate.task_rows._records", records)
    task = Task(name="t", records=rows_file(tmp_path, ROWS), prompt="{{ q }}", answer="{{ a }}")
    assert [q.text for q in islice(questions(task), 3)] == ["q0", "q1", "q2"] and len(taken) == 3
