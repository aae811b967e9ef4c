"""Batches tokenised here and in other processes: the same, in order, and a fault is told."""

from __future__ import annotations

from typing import Any

import pytest

from lorafit.data import tokenise
from lorafit.data.template import ChatTemplate, Renderer, choose_template
from lorafit.data.tokenise import Batch, Tokeniser, tokenised
from lorafit.errors import DataError
from lorafit.records import Conversation, Message, Source

REFUSES = (
    "{% for m in messages %}{% if m.content == 'no' %}{{ raise_exception('not this') }}{% endif %}"
    "{{ m.content }}{{ eos_token }}{% endfor %}"
)


def batch(*questions: str, part: str = "training") -> Batch:
    rows = [
        Conversation((Message("user", question), Message("assistant", f"{question}!")), Source("rows", number))
        for number, question in enumerate(questions, start=1)
    ]
    return Batch(part, rows)


def test_other_processes_give_the_same_in_order(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tokeniser = Tokeniser(Renderer(tokenizer, choose_template(tokenizer)), 64, "cut")
    batches = [batch(f"who is {n}?", f"{n}是谁?" * n, part=f"part {n}") for n in range(7)]
    here = list(tokenised(tokeniser, batches, processes=0))
    monkeypatch.setattr(tokenise, "ROWS_DONE_HERE", 3)
    elsewhere = list(tokenised(tokeniser, batches, processes=2))
    assert [b for b, _ in here] == [b for b, _ in elsewhere] == batches
    for (_, one), (_, other) in zip(here, elsewhere, strict=True):
        assert [a.tolist() for a in one.block] == [a.tolist() for a in other.block]
        assert (one.owners, one.refused, one.unfit, one.longest) == (
            other.owners, other.refused, other.unfit, other.longest,
        )  # fmt: skip


def test_a_row_that_the_template_refuses_is_told_with_its_place(tokenizer: Any) -> None:
    tokeniser = Tokeniser(Renderer(tokenizer, ChatTemplate("strict", REFUSES)), 64, "cut")
    found = tokeniser(batch("yes", "no", "yes").conversations)
    assert [place for place, _ in found.refused] == [1]
    assert "rows, row 2" in found.refused[0][1]
    assert (found.owners, found.unfit) == ([0, 2], [])


def test_a_process_that_dies_is_an_error(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tokeniser = Tokeniser(Renderer(tokenizer, choose_template(tokenizer)), 64, "cut")
    monkeypatch.setattr(tokenise, "ROWS_DONE_HERE", 0)
    monkeypatch.setattr(tokenise.sys, "executable", "/bin/false")
    with pytest.raises(DataError, match=r"ended before its time.*\n.*data\.processes"):
        list(tokenised(tokeniser, [batch("who?")], processes=1))
