"""Distributions, scripts, and how unusual tokens are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lorafit.data.counting import endless
from lorafit.data.figures import BARS, bar_width, bits_a_token, distribution, script
from lorafit.data.lines import blocks
from lorafit.data.samples import Block, Samples, Writer
from lorafit.records import Sample, Source


def test_a_distribution_by_hand() -> None:
    found = distribution(np.array([3, 1, 2, 4, 10, 10, 10, 10, 10, 100]))
    assert (found["p50"], found["p95"], found["max"], found["count"]) == (10, 100, 100, 10)
    assert found["histogram"]["edges"][:3] == [0, 5, 10] and found["histogram"]["edges"][-1] == 105
    assert found["histogram"]["rows"][:4] == [4, 0, 5, 0] and found["histogram"]["rows"][-1] == 1
    assert distribution(np.array([], dtype=int)) == {"count": 0}


def test_the_last_bar_has_all_that_are_larger() -> None:
    found = distribution(np.array([5] * 199 + [5000]))
    assert sum(found["histogram"]["rows"]) == 200
    assert found["histogram"] == {"edges": [0, 1, 2, 3, 4, 5, 6], "rows": [0, 0, 0, 0, 0, 200]}


@pytest.mark.parametrize("most", [1, 24, 25, 240, 241, 30_000])
def test_bars_are_as_narrow_as_their_number_allows(most: int) -> None:
    assert bar_width(most) * BARS >= most
    assert bar_width(most) == 1 or bar_width(most) * BARS < 2.5 * most * (1 + 1e-9)


def test_blocks_show_that_there_is_something_and_that_there_is_nothing() -> None:
    assert blocks([0, 1, 500, 1000]) == "·▁▄█"
    assert blocks([]) == ""


def test_scripts() -> None:
    texts = ("Mira lives.", "米拉住在柳树街。", "みらは街に住む", "Мира живёт", "12 + 3", "مرحبا")
    assert [script(text) for text in texts] == [
        "Latin",
        "Chinese characters",
        "Japanese",
        "Cyrillic",
        "no letters",
        "Arabic",
    ]


def test_bits_are_those_of_the_frequencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight tokens four are 1, two are 2, and 3 and 4 stand once: 1, 2, 3 and 3 bits."""
    monkeypatch.setattr("lorafit.data.figures.AT_ONCE", 3)
    rows = [[1, 1, 2], [1, 3], [4], [1, 2]]
    writer = Writer(tmp_path / "part", "uint16", {})
    samples = [Sample(np.array(ids), np.ones(len(ids), bool), Source("a", 1)) for ids in rows]
    writer.add(Block.of(samples), [s.source for s in samples])
    writer.close()
    written = Samples(tmp_path / "part", "uint16", ["a"])
    assert bits_a_token(written).tolist() == pytest.approx([4 / 3, 2, 3, 1.5])


def test_every_trained_stretch_has_to_end() -> None:
    end = 9
    ids = [[1, 2, end, 3, 4, end], [1, 2, 3, 4, end], [1, 2, 3], [1, end]]
    trained = [[0, 1, 1, 0, 1, 1], [0, 1, 0, 1, 1], [0, 1, 1], [0, 1]]
    samples = [Sample(np.array(i), np.array(t, dtype=bool), Source("a", 1)) for i, t in zip(ids, trained, strict=True)]
    assert endless(Block.of(samples), {end}).tolist() == [1, 2]
