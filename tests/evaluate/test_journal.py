from pathlib import Path

import pytest

from lorafit.errors import RunError
from lorafit.evaluate.journal import Journal


def test_results_come_back_in_the_order_asked(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        for number in (3, 1, 70):
            journal.write(number, {"text": f"答{number} \ud83c"})
    with Journal(tmp_path / "j") as again:
        assert len(again) == 3 and 3 in again and 2 not in again and 71 not in again
        assert [one["text"] for one in again.results(iter([70, 1]))] == ["答70 \ud83c", "答1 \ud83c"]


def test_what_a_killed_process_left_of_a_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.write(1, {"text": "one"})
        journal.write(2, {"text": "two"})
    path.write_bytes(path.read_bytes()[:-4])
    with Journal(path) as again:
        assert 1 in again and 2 not in again
        again.write(2, {"text": "once more"})
    with Journal(path) as whole:
        assert [one["text"] for one in whole.results(iter([1, 2]))] == ["one", "once more"]


@pytest.mark.parametrize("line", ["no json", '{"text": "x"}', '{"number": "1"}', '{"number": 0}', "[1]"])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "j").write_text('{"number": 1}\n' + line + "\n")
    with pytest.raises(RunError, match="line 2"):
        Journal(tmp_path / "j")
