"""Which form columns are of."""

from __future__ import annotations

import pytest

from lorafit.data.forms.layout import ColumnMap, recognise
from lorafit.data.forms.values import BadRow


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ("instruction input output", "Alpaca (instruction as prompt, input, output as answer)"),
        ("instruction input output text", "Alpaca (instruction as prompt, input, output as answer); not used: text"),
        ("instruction context response kind",
         "question/answer (instruction as prompt, context, response as answer); not used: kind"),
        ("prompt completion", "prompt/completion (prompt, completion as answer)"),
        ("prompt completion label", "KTO (prompt, completion as answer, label)"),
        ("Question Answer", "question/answer (Question as prompt, Answer as answer)"),
        ("question answer label", "question/answer (question as prompt, answer); not used: label"),
        ("input output", "question/answer (input as prompt, output as answer)"),
        ("query response system_prompt",
         "question/answer (query as prompt, response as answer, system_prompt as system)"),
        ("id conversations tools", "ShareGPT (conversations as messages, tools); not used: id"),
        ("messages label", "KTO (messages, label)"),
        ("prompt messages", "messages (messages); not used: prompt"),
        ("prompt chosen rejected", "preference (prompt, chosen, rejected)"),
        ("conversations chosen rejected", "preference (conversations as messages, chosen, rejected)"),
        ("text", "text (text)"),
        ("author content ctime", "text (content as text); not used: author, ctime"),
        ("mr ref", "question/answer (mr as prompt, ref as answer)"),
        ("dialogue summary", "question/answer (dialogue as prompt, summary as answer)"),
        ("utterance intent tags", "question/answer (utterance as prompt, intent as answer); not used: tags"),
    ],
)  # fmt: skip
def test_columns_show_the_form(names: str, shown: str) -> None:
    assert str(recognise(names.split(), ColumnMap())) == shown


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ("text label", "a text with its class"),
        ("Question A B C D Answer", "a multiple-choice question"),
        ("question choice0 choice1 answer", "a multiple-choice question"),
        ("role content", "no form that is known"),
        ("a b", r"data\.columns=\{prompt: QUESTION, answer: ANSWER\}"),
    ],
)
def test_what_would_be_trained_wrongly_is_refused(names: str, problem: str) -> None:
    with pytest.raises(BadRow, match=problem):
        recognise(names.split(), ColumnMap())


def test_a_map_with_a_question_in_it_is_all() -> None:
    layout = recognise(
        ["frage", "antwort", "messages", "system", "label"], ColumnMap({"prompt": "frage", "answer": "antwort"})
    )
    assert str(layout) == "question/answer (frage as prompt, antwort as answer); not used: messages, system, label"
    layout = recognise(
        ["question", "A", "B", "C", "D", "answer"], ColumnMap({"prompt": "question", "answer": "answer"})
    )
    assert layout.form == "question/answer"
    layout = recognise(["frage", "antwort", "gut"], ColumnMap({"prompt": "frage", "answer": "antwort", "label": "gut"}))
    assert layout.form == "KTO"


def test_a_map_of_what_is_around_leaves_the_rest_to_be_recognised() -> None:
    layout = recognise(["instruction", "output", "rolle"], ColumnMap({"system": "rolle"}))
    assert dict(layout.columns) == {"prompt": "instruction", "answer": "output", "system": "rolle"}
