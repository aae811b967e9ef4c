"""Near duplicates against the Jaccard similarity itself, and what only shares a part."""

from __future__ import annotations

import random

import numpy as np
import pytest
from tests.data.clean.rows import row
from tests.data.clean.test_repeats import CHINESE, ENGLISH

from lorafit.data.clean.near import NearDuplicates, _Index, _runs
from lorafit.records import Conversation


def judged(*data: Conversation, similarity: float = 0.8) -> list[bool]:
    return [problem is not None for problem in NearDuplicates(similarity).faults(data)]


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_a_word_more_and_other_signs_are_nearly_the_same(text: str) -> None:
    changed = "  " + text.replace(".", "!").replace("。", "！").upper() + " ok"
    assert judged(row("Tell me a story", text), row("tell me a story!", changed, 2)) == [False, True]


@pytest.mark.parametrize("passage", [ENGLISH, CHINESE])
def test_two_questions_about_one_passage_are_not(passage: str) -> None:
    data = [row(f"{passage}\nHow many steps?", "112"), row(f"{passage}\nWhen do children visit?", "Sundays", 2)]
    assert judged(*data) == [False, False]


@pytest.mark.parametrize("passage", [ENGLISH, CHINESE])
def test_one_answer_to_two_questions_is_not(passage: str) -> None:
    assert judged(row("Summarise.", passage), row("Write about the sea, please.", passage, 2)) == [False, False]


def test_short_rows_must_be_the_same() -> None:
    data = [row("1+1", "2"), row("1+2", "3", 2), row("1+1 ", "2", 3), row("🙂", "👍", 4), row("🙃", "👍", 5)]
    data += [row("9-9", "0", 6), row("9+9", "0", 7)]
    assert judged(*data) == [False, False, True, False, False, False, False]


def test_the_system_message_does_not_count() -> None:
    assert judged(
        row("What is iron?", "A metal.", system=ENGLISH), row("Who was Bach?", "A composer.", 2, ENGLISH)
    ) == [
        False,
        False,
    ]


def variants(seed: int, changes: int) -> str:
    draw = random.Random(seed)
    said = [f"w{i}" for i in range(120)]
    for place in draw.sample(range(120), changes):
        said[place] = f"x{draw.random()}"
    return " ".join(said)


@pytest.mark.parametrize(("changes", "found"), [(2, True), (20, False)])
def test_it_agrees_with_jaccard_away_from_the_border(changes: int, found: bool) -> None:
    original = set(_runs(variants(0, 0)))
    for seed in range(40):
        text = variants(seed, changes)
        jaccard = len(original & set(_runs(text))) / len(original | set(_runs(text)))
        assert (jaccard > 0.88) if found else (jaccard < 0.65)
        assert judged(row("same", variants(0, 0)), row("same", text, 2)) == [False, found]


def test_batches_do_not_matter() -> None:
    data = [row(variants(n % 7, n % 3), variants(n % 11, n % 13), n) for n in range(300)]
    whole = NearDuplicates(0.8).faults(data)
    rule = NearDuplicates(0.8)
    parts = [problem for start in range(0, 300, 37) for problem in rule.faults(data[start : start + 37])]
    assert parts == whole
    assert 0 < sum(problem is None for problem in whole) < 300


def test_the_index_keeps_the_first_row_of_a_key() -> None:
    index, first = _Index(), dict[int, int]()
    draw = np.random.default_rng(0)
    for start in range(0, 200, 20):
        keys = draw.integers(0, 1500, (20, 4), dtype=np.uint64)
        found = index.find(keys)
        assert found.tolist() == [[first.get(key, -1) for key in line] for line in keys.tolist()]
        index.add(keys, start, found < 0)
        for place, line in enumerate(keys.tolist()):
            for key in line:
                first.setdefault(key, start + place)
    assert len(index._runs) <= 8
