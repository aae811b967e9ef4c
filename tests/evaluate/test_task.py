"""Task files: what they may say, and that every fault is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorafit.errors import RecipeError
from lorafit.evaluate.task import Step, built_in, load_task

SMALL = "records: rows.jsonl\nprompt: '{{ q }}'\nanswer: '{{ a }}'\n"


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_task_has_its_files_name_and_a_metric(tmp_path: Path) -> None:
    task = load_task(written(tmp_path, SMALL))
    assert (task.name, task.metrics, task.version) == ("mine", ("exact_match",), "1")
    chosen = load_task(written(tmp_path, SMALL + "choices: [x, y]\nversion: 2.5\n"))
    assert (chosen.metrics, chosen.version) == (("accuracy",), "2.5")


def test_what_is_given_takes_the_place_of_what_the_file_says(tmp_path: Path) -> None:
    task = load_task(written(tmp_path, SMALL), "other.csv", "shown.csv", 3)
    assert (task.records, task.examples, task.shots) == ("other.csv", "shown.csv", 3)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    faulty = (
        "records: r\nprompt: '{{ q'\nmetrics: [exact_mach]\nshots: -1\nmax_new_token: 5\nchoices: [1, x]\n"
        "filter: [{pattern: '('}, {lower: true, strip: true}, {patern: x}]\n"
    )
    with pytest.raises(RecipeError) as raised:
        load_task(written(tmp_path, faulty))
    faults = {fault.partition(":")[0]: fault for fault in raised.value.faults}
    assert "line 1 is not Jinja2" in faults["prompt"]
    assert "missing. The reference" in faults["answer"]
    assert "did you mean exact_match" in faults["metrics"]
    assert "greater than or equal to 0" in faults["shots"]
    assert "Did you mean max_new_tokens?" in faults["max_new_token"]
    assert "no regular expression" in faults["filter.0"]
    assert "this one does strip and lower" in faults["filter.1"]
    assert "Did you mean pattern?" in faults["filter.2.patern"]
    assert "found '1'; input should be a valid string" in faults["choices.0"]
    assert str(raised.value).startswith("9 faults in the task") and len(faults) == 9


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("shots: 2", "shots=2 need `examples`"),
        ("choices: [x, y]\nstop: ['.']", "filter and stop are for generated answers"),
        ("choices: [x, y]\nmetrics: [bleu]", "choices are scored by accuracy, and not by bleu"),
        ("normalise: bytes", "normalise is for choices"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path: Path, more: str, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        load_task(written(tmp_path, SMALL + more))


@pytest.mark.parametrize(("text", "problem"), [("[1]", "found a list"), ("a: [", "is not YAML"), ("", "found nothing")])
def test_files_that_are_no_task(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        load_task(written(tmp_path, text))


def test_an_unknown_task_names_what_is_near(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no task cmmul; did you mean cmmlu"):
        load_task("cmmul")
    written(tmp_path, SMALL)
    with pytest.raises(RecipeError, match=r"did you mean .*mine\.yaml"):
        load_task(str(tmp_path / "mien.yaml"))


def test_the_built_in_tasks_are_without_fault() -> None:
    assert built_in() == ["ceval", "cmmlu", "gsm8k", "mmlu"]
    assert [load_task(name).name for name in built_in()] == built_in()


@pytest.mark.parametrize(
    ("step", "text", "expected"),
    [
        ({"pattern": r"\d+"}, "7 and 12", "7"),
        ({"pattern": r"\d+", "take": "last"}, "7 and 12", "12"),
        ({"pattern": r"is (\w)(\w)"}, "it is ab", "a"),
        ({"pattern": r"is (\w)(\w)", "group": 2}, "it is ab", "b"),
        ({"pattern": r"is (\w)(\w)", "group": 0}, "it is ab", "is ab"),
        ({"pattern": "(x)?y"}, "y", ""),
        ({"pattern": "z"}, "7 and 12", ""),
        ({"strip": True}, " a. ", "a."),
        ({"strip": "。"}, "答案。", "答案"),
        ({"lower": True}, "Yes", "yes"),
        ({"replace": {",": "", "$": ""}}, "$1,200", "1200"),
        ({"map": {"对": "yes"}}, "对", "yes"),
        ({"map": {"对": "yes"}}, "不对", "不对"),
    ],
)
def test_steps_of_a_filter(step: dict[str, object], text: str, expected: str) -> None:
    assert Step.model_validate(step).apply(text) == expected
