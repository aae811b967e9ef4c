"""Too long: what `drop`, `cut` and `split` leave, and that nothing is lost without being counted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lorafit.data.length import chunks, cut, fit_length
from lorafit.records import Conversation, Message, Sample, Source

SOURCE = Source("rows.json", 1)
END = 0
PLACES = st.lists(st.booleans(), min_size=2, max_size=40)


def sample(*runs: tuple[int, bool]) -> Sample:
    """Runs of (tokens, trained); a trained run ends with an end-of-turn token."""
    ids, trained = [1], [False]
    for tokens, answered in runs:
        ids += [len(ids) % 50 + 2 for _ in range(tokens - 1)] + [END if answered else 2]
        trained += [answered] * tokens
    return Sample(np.array(ids), np.array(trained), SOURCE)


def dialogue(*turns: str, system: str = "") -> Conversation:
    said = [Message("assistant" if place % 2 else "user", text) for place, text in enumerate(turns)]
    return Conversation((*([Message("system", system)] if system else []), *said), SOURCE)


def spelled(conversation: Conversation) -> list[Sample]:
    """A token a character, answers trained with an end of turn; prompts end with one that is not trained."""
    ids: list[int] = []
    trained: list[bool] = []
    for message in conversation.messages:
        ids += [*(ord(character) for character in message.content), END]
        trained += [message.role == "assistant"] * (len(message.content) + 1)
    return [Sample(np.array(ids), np.array(trained), conversation.source)]


def fitted(conversation: Conversation, max_length: int, too_long: str) -> tuple:
    found = fit_length(conversation, spelled(conversation), spelled, max_length, too_long, {END})
    texts = ["".join(chr(i) if i != END else "|" for i in s.token_ids) for s in found.samples]
    return texts, found


def test_a_cut_answer_keeps_its_end_of_turn() -> None:
    whole = sample((3, False), (10, True))
    short = cut(whole, 8, {END})
    assert short.token_ids.tolist() == [*whole.token_ids[:7], END]
    assert short.trained.tolist() == [False] * 4 + [True] * 4


def test_an_answer_that_would_be_empty_is_left_out_with_its_prompt() -> None:
    for length in (4, 5):  # no token of the answer, or only its end, is within
        assert len(cut(sample((3, False), (10, True)), length, {END})) == 0
    first = cut(sample((1, False), (2, True), (3, False), (10, True)), 8, {END})
    assert len(first) == 4
    assert first.token_ids[-1] == END


def test_a_cut_in_a_question_ends_with_the_answer_before() -> None:
    assert len(cut(sample((1, False), (2, True), (9, False), (3, True)), 8, {END})) == 4


def test_an_answer_without_an_end_of_turn_is_only_cut() -> None:
    whole = sample((3, False), (10, True))
    assert cut(whole, 8, set()).token_ids.tolist() == whole.token_ids[:8].tolist()


@given(trained=PLACES, max_length=st.integers(1, 40))
def test_a_cut_sample_is_short_and_ends_trained(trained: list[bool], max_length: int) -> None:
    whole = Sample(np.arange(len(trained)), np.array([False, *trained[1:]]), SOURCE)
    if len(whole) > max_length:
        short = cut(whole, max_length, {END, *range(0, 40, 3)})
        assert len(short) <= max_length
        assert len(short) == 0 or short.trained[-1]
        assert short.supervised_tokens <= whole.supervised_tokens


@given(trained=PLACES, max_length=st.integers(2, 12))
def test_chunks_train_every_token_once_and_in_its_context(trained: list[bool], max_length: int) -> None:
    whole = Sample(np.arange(len(trained)), np.array([False, *trained[1:]]), SOURCE)
    pieces = list(chunks(whole, max_length))
    assert [i for p in pieces for i in p.token_ids[p.trained]] == whole.token_ids[whole.trained].tolist()
    assert all(len(p) <= max_length and (np.diff(p.token_ids) == 1).all() for p in pieces)
    assert all(after.token_ids[0] == before.token_ids[-1] for before, after in pairwise(pieces))


def test_a_dialogue_is_split_at_turns_with_its_system_prompt() -> None:
    row = dialogue("q1", "a1", "q2", "a2", "q3", "a3", system="S")
    assert fitted(row, 14, "split")[0] == ["S|q1|a1|q2|a2|", "S|q3|a3|"]
    texts, found = fitted(row, 13, "split")
    assert texts == ["S|q1|a1|", "S|q2|a2|", "S|q3|a3|"]
    assert (found.cut, found.lost_end, found.longest) == (0, 0, 20)


def test_a_turn_that_is_too_long_by_itself_is_cut_and_counted() -> None:
    texts, found = fitted(dialogue("q1", "a1", "q2", "a long answer", "q3", "a3"), 8, "split")
    assert texts == ["q1|a1|", "q2|a lo|", "q3|a3|"]
    assert (found.cut, found.lost_end) == (1, 1)


def test_questions_in_a_row_and_tools_stay_with_their_answer() -> None:
    messages = [
        Message("user", "q1"), Message("user", "q2"), Message("assistant", "c"), Message("tool", "t"),
        Message("assistant", "a"), Message("user", "q3"), Message("assistant", "a3"),
    ]  # fmt: skip
    assert fitted(Conversation(tuple(messages), SOURCE), 13, "split")[0] == ["q1|q2|c|t|a|", "q3|a3|"]


def test_a_text_is_split_into_chunks_or_cut_without_an_end() -> None:
    text = Conversation((Message("assistant", "abcdefgh"),), SOURCE)
    assert fitted(text, 5, "split")[0] == ["abcde", "efgh|"]
    texts, found = fitted(text, 5, "cut")
    assert texts == ["abcde"]
    assert found.lost_end == 1


def test_what_is_dropped_is_told() -> None:
    texts, found = fitted(dialogue("q", "an answer"), 5, "drop")
    assert texts == []
    assert (found.left_out, found.problem) == (1, "12 tokens, longer than data.max_length=5")
    assert fitted(dialogue("a question", "a"), 5, "cut")[1].problem == (
        "no token of an answer is left within data.max_length=5"
    )
    assert fitted(dialogue("q", "a"), 4, "drop")[0] == ["q|a|"]
