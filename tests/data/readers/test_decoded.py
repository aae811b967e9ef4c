"""Text that comes in chunks is the text of the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorafit.data.readers.decoded import Decoder, lines
from lorafit.errors import DataError

CHINESE = '{"text": "今天天气很好，我们去公园玩。你说的这些话是什么意思？"}\n'


def text_of(content: bytes, size: int) -> tuple[str, str]:
    decoder = Decoder("rows.jsonl")
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    return "".join(decoder.decoded(chunks, is_whole=len(chunks) == 1)), decoder.encoding


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030", "utf-32"])
@pytest.mark.parametrize("size", [256, 333, 100_000])
def test_characters_may_stand_across_chunks(encoding: str, size: int) -> None:
    text = CHINESE * 40
    assert text_of(text.encode(encoding), size)[0] == text


def test_the_encoding_may_show_itself_late() -> None:
    ascii_first = '{"text": "plain"}\n' * 200
    text, encoding = text_of((ascii_first + CHINESE * 20).encode("gb18030"), 500)
    assert (text, encoding) == (ascii_first + CHINESE * 20, "gb18030")
    assert text_of(b"only ascii", 4) == ("only ascii", "utf-8")


def test_bytes_that_do_not_fit_are_named_by_their_line() -> None:
    content = (CHINESE * 30).encode() + b"\n\xff\n" + CHINESE.encode()
    with pytest.raises(DataError, match=r"rows\.jsonl, line 32: this is not utf-8"):
        text_of(content, 300)
    with pytest.raises(DataError, match="this is not utf-8"):
        text_of((CHINESE * 30).encode()[:-4], 300)  # cut within a character


@given(st.text("ab\n\r\u2028"), st.integers(1, 4))
def test_lines_are_those_of_the_whole(text: str, size: int) -> None:
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    expected = text.split("\n")
    assert list(lines(chunks)) == (expected if expected[-1] else expected[:-1])
