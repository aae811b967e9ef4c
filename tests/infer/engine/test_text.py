from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.infer.engine.reference import prompts

from lorafit.infer.engine import Engine, Request
from lorafit.infer.engine.text import Text

TEXTS = ["米拉住在柳树街。🦊 and the fox 安静", "plain words, twice  spaced", "小", ""]


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_whole_characters_and_together_the_text(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text).input_ids
    made = Text(tokenizer.decode)
    pieces = [made.push(token) for token in ids]
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join([*pieces, made.end()]) == text == made.text


def test_half_a_character_at_the_end_is_dropped(tokenizer: Any) -> None:
    ids = tokenizer("小🦊").input_ids
    made = Text(tokenizer.decode)
    shown = "".join(made.push(token) for token in ids[:-1]) + made.end()
    assert shown == made.text == "小"


def test_bytes_that_make_no_character_are_not_waited_for(tokenizer: Any) -> None:
    fox = tokenizer("🦊").input_ids
    assert len(fox) == 4
    made, text = Text(tokenizer.decode), ""
    for token in [fox[0]] * 9 + fox + fox[:3] * 3 + fox:
        text += made.push(token)
        assert text.replace("\ufffd", "").strip("🦊") == ""
    assert text == tokenizer.decode([fox[0]] * 9 + fox + fox[:3] * 3 + fox)
    assert text.count("🦊") == 2


@pytest.mark.parametrize("stop", [("\n\nHuman:",), ("never", "Hum"), ("。",), ("xyz", "\n\nH", "\n\nHuman")])
def test_nothing_of_a_stop_text_is_shown(tokenizer: Any, stop: tuple[str, ...]) -> None:
    text = "米拉住在柳树街\n\nHome。 Hu\n\nHuman: And 小镇"
    made, shown = Text(tokenizer.decode, stop), ""
    for token in tokenizer(text).input_ids:
        shown += made.push(token)
        if made.stopped:
            break
        assert text.startswith(shown)
    expected = text[: min(text.index(each) for each in stop if each in text)]
    assert made.stopped
    assert shown + made.end() == made.text == expected


def test_what_only_might_have_been_a_stop_text_is_shown_at_the_end(tokenizer: Any) -> None:
    made = Text(tokenizer.decode, ("Human:",))
    shown = "".join(made.push(token) for token in tokenizer("So Hum").input_ids)
    assert shown == "So "
    assert made.end() == "Hum"


def test_an_engine_streams_the_text_of_its_completions(load: Callable[[str], Any]) -> None:
    def decode(ids: Sequence[int]) -> str:
        return "".join(f" {token}" for token in ids)

    engine = Engine(load("llama"), decode)
    asked = prompts(5, 9, 4)
    plain = engine.run(Request(p, 30) for p in asked)
    stops = [(f"{c.ids[19]} {c.ids[20]}",) for c in plain]
    shown: list[list[str]] = [[], [], []]
    completions = engine.run(
        Request(p, 30, stop=stop, on_text=pieces.append) for p, stop, pieces in zip(asked, stops, shown, strict=True)
    )
    for before, completion, stop, pieces in zip(plain, completions, stops, shown, strict=True):
        assert before.text == decode(before.ids)
        assert completion.text == before.text[: before.text.index(stop[0])] == "".join(pieces)
        assert completion.reason == "stop"
        assert len(pieces) > 1
