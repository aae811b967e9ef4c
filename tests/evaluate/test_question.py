from lorafit.evaluate.question import Question
from lorafit.records import Message, Source

CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": "那里"}}}


def test_a_question_survives_its_line():
    question = Question(
        3,
        Source("测试.jsonl", 7),
        messages=(Message("user", "在哪?"), Message("assistant", "", tool_calls=(CALL,)), Message("tool", "\ud83c")),
        references=("这里", "here"),
        choices=("A", "B"),
        category="geo",
        tools=({"type": "function"},),
    )
    assert Question.from_json(question.to_json().encode().decode()) == question


def test_what_was_asked_is_the_last_turn_of_the_user_or_the_text():
    turns = (Message("system", "s"), Message("user", "one"), Message("assistant", "two"), Message("user", "three"))
    assert Question(1, Source("f", 1), messages=turns).asked == "three"
    assert Question(1, Source("f", 1), text="a shot\n\ngo\non ").asked == "go\non"
