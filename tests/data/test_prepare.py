"""From a file to samples: what is cut, left out, held out and warned of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorafit.data import parts
from lorafit.data.clean import CleanSettings
from lorafit.data.prepare import Prepared, prepare
from lorafit.data.settings import SourceSettings
from lorafit.data.template import ChatTemplate, Renderer, choose_template
from lorafit.errors import DataError

LONG = {"instruction": "Count.", "output": "one two three " * 20}
SHORT = {"instruction": "Who?", "output": "Mira."}
NEVER = {"instruction": "Count this. " * 40, "output": "No."}


@pytest.fixture
def renderer(tokenizer: Any) -> Renderer:
    return Renderer(tokenizer, choose_template(tokenizer))


def rows_file(folder: Path, *rows: dict[str, str], name: str = "some.json") -> str:
    path = folder / name
    path.write_text(json.dumps(rows), encoding="utf-8")
    return str(path)


def lengths(prepared: Prepared) -> list[int]:
    return [len(sample) for sample in prepared.training.samples]


def test_the_parts_and_the_summary_agree(renderer: Renderer, data_file: Path) -> None:
    prepared = prepare(renderer, str(data_file), held_out=0.25, max_length=512)
    assert len(prepared.training) + len(prepared.held_out) == prepared.summary["rows"] == 40
    assert 0 < len(prepared.held_out) < 20
    training, statistics = prepared.training.samples, prepared.summary["training"]
    assert [s.source for s in training] == [c.source for c in prepared.training.conversations]
    assert statistics["tokens"] == sum(map(len, training))
    assert statistics["supervised_tokens"] == sum(s.supervised_tokens for s in training)
    assert (statistics["shortest"], statistics["longest"]) == (min(map(len, training)), max(map(len, training)))
    assert prepared.warnings == ()


def test_a_long_sample_is_cut_and_said(renderer: Renderer, tmp_path: Path) -> None:
    prepared = prepare(renderer, rows_file(tmp_path, LONG, SHORT), 0.0, max_length=40, cut_answers=0.5)
    assert lengths(prepared)[0] == 40
    assert (prepared.summary["cut"], prepared.summary["cut_within_answer"]) == (1, 1)
    assert "1 rows were cut to 40 tokens; 1 of them lose the end of their answer" in prepared.warnings[0]


def test_too_many_cut_answers_are_an_error_until_they_are_allowed(renderer: Renderer, tmp_path: Path) -> None:
    path = rows_file(tmp_path, LONG, SHORT, SHORT | {"output": "Bo."}, SHORT | {"output": "Cy."})
    with pytest.raises(DataError, match=r"1 of 4 rows \(25%\) lose the end.*data\.cut_answers=0\.2 allows 20%"):
        prepare(renderer, path, 0.0, max_length=40)
    assert len(prepare(renderer, path, 0.0, max_length=40, cut_answers=0.25).training) == 4


def test_a_sample_whose_answer_is_cut_off_is_left_out_and_not_counted_as_cut(
    renderer: Renderer, tmp_path: Path
) -> None:
    prepared = prepare(renderer, rows_file(tmp_path, NEVER, SHORT), 0.0, max_length=40)
    assert [r.record.source.row for r in prepared.rejected] == [1]
    assert (prepared.summary["rejected"], prepared.summary["cut"]) == (1, 0)
    assert "1 rows are left out (1 from training)" in prepared.warnings[0]


def test_a_long_sample_can_be_dropped_or_refused(renderer: Renderer, tmp_path: Path) -> None:
    path = rows_file(tmp_path, LONG, SHORT)
    dropped = prepare(renderer, path, 0.0, max_length=40, too_long="drop")
    assert len(dropped.training) == 1
    assert "longer than data.max_length=40" in dropped.rejected[0].problem
    assert json.loads(dropped.rejected[0].to_json())["fields"]["messages"][1]["content"] == LONG["output"]
    with pytest.raises(DataError, match=r"1 samples are longer.*some\.json, row 1 with"):
        prepare(renderer, path, 0.0, max_length=40, too_long="error")


def test_nothing_to_train_on_is_an_error_with_the_figures(renderer: Renderer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no sample has a token to train on.*row 1\) has \d+ tokens, of which 0"):
        prepare(renderer, rows_file(tmp_path, NEVER), 0.0, max_length=40)


def test_the_limit_draws_rows_by_the_seed_in_their_order(renderer: Renderer, data_file: Path) -> None:
    def drawn(seed: int) -> list[int]:
        prepared = prepare(renderer, str(data_file), 0.0, 512, limit=10, seed=seed)
        return [c.source.row for c in prepared.training.conversations]

    assert drawn(0) == drawn(0) == sorted(drawn(0))
    assert len(drawn(0)) == 10
    assert drawn(0) != drawn(1)


def test_a_held_out_file_is_read_and_its_bad_rows_dropped_too(renderer: Renderer, tmp_path: Path) -> None:
    train = rows_file(tmp_path, SHORT, LONG)
    held = rows_file(tmp_path, {"instruction": "Where?", "output": "Here."}, {"instruction": "?"}, name="held.json")
    prepared = prepare(renderer, train, held, 512, bad_rows="drop")
    assert (len(prepared.training), len(prepared.held_out)) == (2, 1)
    assert [str(r.record.source) for r in prepared.rejected] == [f"{held}, row 2"]
    with pytest.raises(DataError, match=r"held\.json, row 2"):
        prepare(renderer, train, held, 512)


def test_a_question_on_both_sides_is_warned_of(renderer: Renderer, tmp_path: Path) -> None:
    train = rows_file(tmp_path, SHORT, LONG)
    held = rows_file(tmp_path, {"instruction": " who? ", "output": "Mira!"}, LONG, name="held.json")
    assert any("2 of 2 held-out prompts also stand in the" in w for w in prepare(renderer, train, held, 512).warnings)


def test_an_empty_held_out_share_is_warned_of_only_where_one_was_asked_for(renderer: Renderer, tmp_path: Path) -> None:
    path = rows_file(tmp_path, SHORT)
    assert any("there will be no held-out loss" in w for w in prepare(renderer, path, 1e-9, 512).warnings)
    assert prepare(renderer, path, 0.0, 512).warnings == ()


def test_when_all_rows_are_held_out_there_is_nothing_to_train_on(renderer: Renderer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="all 1 rows fell into the held-out share"):
        prepare(renderer, rows_file(tmp_path, SHORT), 1.0, 512)


def test_a_template_that_does_not_teach_to_stop_is_warned_of(tokenizer: Any, tmp_path: Path) -> None:
    jinja = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    prepared = prepare(Renderer(tokenizer, ChatTemplate("odd", jinja)), rows_file(tmp_path, SHORT), 0.0, 512)
    (warning,) = prepared.warnings
    assert "the model will not learn where to stop" in warning


def test_a_second_run_reads_no_row_again(renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = rows_file(tmp_path, SHORT, LONG, NEVER)
    held = rows_file(tmp_path, LONG, name="held.json")
    first = prepare(renderer, path, held, 200, cut_answers=1.0)

    def unread(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(parts, "iterate_conversations", unread)
    second = prepare(renderer, path, held, 200, cut_answers=1.0)
    assert (first.cached, second.cached) == (False, True)
    assert second.training.samples.digest() == first.training.samples.digest()
    assert second.training.conversations == first.training.conversations
    assert [str(row) for row in second.rejected] == [str(row) for row in first.rejected] != []
    assert (second.summary, second.warnings) == (first.summary, first.warnings)


def test_anything_that_changes_the_samples_is_tokenised_anew(
    renderer: Renderer, tokenizer: Any, chat_tokenizer: Any, tmp_path: Path
) -> None:
    path = rows_file(tmp_path, SHORT, LONG)
    prepare(renderer, path, 0.0, 512)
    assert prepare(renderer, path, 0.0, 512, cut_answers=1.0, cache_gb=1.0, processes=0, seed=3).cached
    assert not prepare(renderer, path, 0.0, 511).cached
    assert not prepare(renderer, path, 0.0, 512, clean=CleanSettings(unicode="nfc")).cached
    assert not prepare(Renderer(tokenizer, choose_template(tokenizer, "alpaca")), path, 0.0, 512).cached
    assert not prepare(Renderer(chat_tokenizer, renderer.template), path, 0.0, 512).cached
    rows_file(tmp_path, SHORT, SHORT)
    assert not prepare(renderer, path, 0.0, 512).cached


def test_a_damaged_cache_is_made_anew_and_said(renderer: Renderer, tmp_path: Path) -> None:
    path = rows_file(tmp_path, SHORT, LONG)
    first = prepare(renderer, path, 0.0, 512)
    digest = first.training.samples.digest()
    (first.folder / "training" / "token_ids").write_bytes(b"")
    second = prepare(renderer, path, 0.0, 512)
    assert "was damaged" in second.warnings[0]
    assert (second.cached, second.training.samples.digest()) == (False, digest)


def test_data_that_the_cache_has_no_room_for_is_refused(renderer: Renderer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"larger than data\.cache_gb=1e-08 allows"):
        prepare(renderer, rows_file(tmp_path, SHORT), 0.0, 512, cache_gb=1e-8)


def test_split_makes_several_samples_of_a_dialogue(renderer: Renderer, tmp_path: Path) -> None:
    turns = [{"role": role, "content": f"{role} {n}"} for n in range(6) for role in ("user", "assistant")]
    path = rows_file(tmp_path, {"messages": turns})
    whole, parts = (prepare(renderer, path, 0.0, length, too_long="split").training for length in (512, 100))
    assert len(whole) == 1 < len(parts)
    assert len(parts.conversations) == 1
    assert parts.samples.lengths.max() <= 100
    answers = [prepared.samples.supervised.sum() for prepared in (whole, parts)]
    assert answers[0] == answers[1]


def test_cleaning_drops_with_its_reason_and_its_receipt(renderer: Renderer, tmp_path: Path) -> None:
    clean = CleanSettings(exact_duplicates="drop")
    prepared = prepare(renderer, rows_file(tmp_path, SHORT, LONG, SHORT), 0.0, 512, clean=clean)
    assert [sample.source.row for sample in prepared.training.samples] == [1, 2]
    assert [(row.record.source.row, row.field) for row in prepared.rejected] == [(3, "clean.exact_duplicates")]
    assert prepared.summary["rejected_for"] == {"clean.exact_duplicates": 1}
    assert (prepared.summary["cleaning"]["read"], prepared.summary["cleaning"]["dropped"]) == (3, 1)


def test_a_source_counts_as_often_as_its_weight_says(renderer: Renderer, tmp_path: Path) -> None:
    twice = SourceSettings(source=rows_file(tmp_path, SHORT, LONG, name="twice.json"), weight=2)
    half = SourceSettings(source=rows_file(tmp_path, *[SHORT] * 60, name="half.json"), weight=0.5)
    prepared = prepare(renderer, [twice, half], 0.0, 512)
    rows = [(Path(s.source.file).name, s.source.row) for s in prepared.training.samples]
    assert rows[:4] == [("twice.json", 1)] * 2 + [("twice.json", 2)] * 2
    assert 15 < len(rows) - 4 < 45  # 30 expected, five standard deviations
    figures = prepared.summary["sources"]
    assert figures[twice.source]["samples"] == 4
    assert figures[half.source]["samples"] + figures[half.source]["left_out_by_weight"] == 60
