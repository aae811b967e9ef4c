import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lorafit.data.settings import DataSettings
from lorafit.errors import DataError
from lorafit.evaluate.questions import categories_of, conversations_of, questions_of, read_questions, write_questions


def settings(path: Path, rows: list[dict[str, Any]], **more: Any) -> DataSettings:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataSettings(train=[str(path)], **more)


def test_rows_with_one_prompt_are_one_question_with_several_references(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "answer": "1"}, {"prompt": "b", "answer": "2"}, {"prompt": "a", "answer": "3"}]
    rows += [{"prompt": "A", "answer": "4"}, {"prompt": "a", "answer": "1"}, {"text": "no prompt"}]
    found = list(questions_of(partial(conversations_of, settings(tmp_path / "f.jsonl", rows))))
    assert [(q.number, q.asked, q.references, q.source.row) for q in found] == [
        (1, "a", ("1", "3"), 1),
        (2, "b", ("2",), 2),
        (3, "A", ("4",), 4),
    ]
    count, digest = write_questions(found, tmp_path / "q")
    assert count == 3 and list(read_questions(tmp_path / "q")) == found
    assert digest != write_questions(found[:2], tmp_path / "r")[1]


def test_the_category_is_that_of_the_row_even_where_rows_between_are_left_out(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "a", "answer": "1", "kind": "law"},
        {"prompt": "", "answer": "", "kind": "bad"},
        {"prompt": "a", "answer": "2", "kind": "second"},
        {"prompt": "b", "answer": "3", "kind": 7},
    ]
    made = settings(tmp_path / "f.jsonl", rows, bad_rows="drop")
    found = questions_of(partial(conversations_of, made), partial(categories_of, made, "kind"))
    assert [q.category for q in found] == ["law", "7"]
    with pytest.raises(DataError, match=r"row 1 has no column 'kid'.*kind"):
        list(categories_of(made, "kid"))


def test_rows_that_cannot_be_used_are_named_unless_they_are_dropped(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"prompt": "a", "answer": "1"}, {"prompt": "b", "answer": None}]
    with pytest.raises(DataError, match="row 2"):
        list(conversations_of(settings(tmp_path / "f.jsonl", rows)))
    assert len(list(conversations_of(settings(tmp_path / "f.jsonl", rows, bad_rows="drop")))) == 1
