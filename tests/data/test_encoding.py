"""Bytes in the encodings that people's files are in, and what is said of bytes that are no text."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorafit.data.encoding import decode
from lorafit.errors import DataError

SIMPLIFIED = "输出：这是一个关于机器学习的说明，请先阅读再开始训练。\n"
TRADITIONAL = "臺灣的夏天很熱，大家都喜歡去海邊游泳。系統會顯示檔案名稱。\n"
JAPANESE = "名前,年齢,住所\r\n佐藤太郎,30,東京\r\nこれは説明書です。\r\n"
KOREAN = "전월 이용금액 제외 대상. 훈련을 시작하기 전에 읽어 주세요.\n"
WESTERN = "Die schöne Frau sagte: „Das war köstlich!“ – 15,50 €. L'été était très chaud.\n"
CENTRAL = "Zażółć gęślą jaźń, Příliš žluťoučký kůň.\n"
RUSSIAN = "Это документация по машинному обучению. Прочитайте её.\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (SIMPLIFIED, "gb18030"),
        (TRADITIONAL, "big5"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (KOREAN, "euc_kr"),
        (WESTERN, "cp1252"),
        (CENTRAL, "cp1250"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
    ],
)
def test_legacy_encodings_are_seen_from_their_letters(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), "notes.txt")[0] == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", [SIMPLIFIED, WESTERN, "plain\n"])
def test_unicode_with_and_without_a_mark(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), "notes.txt") == (text, encoding)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [WESTERN, "a: 1\n" + SIMPLIFIED])
def test_wide_encodings_without_a_mark(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), "notes.txt") == (text, encoding)


@given(st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])))
def test_utf8_is_never_taken_for_anything_else(text: str) -> None:
    assert decode(text.encode(), "notes.txt") == (text, "utf-8")


@pytest.mark.parametrize(
    "head",
    [
        '<html><meta charset="{}"><p>',
        '<meta http-equiv=Content-Type content="text/html; charset={}">',
        '<?xml version="1.0" encoding="{}"?>',
    ],
)
def test_declared_encoding_is_used(head: str) -> None:
    # "ó" alone reads well in many sets: only the declaration says that it is Greek.
    page = head.format("iso-8859-7") + "Γεια"
    assert decode(page.encode("iso-8859-7"), "page.html") == (page, "iso8859-7")


def test_declared_gb2312_is_read_as_the_larger_set() -> None:
    page = '<meta charset="gb2312">镕'  # not in GB2312 itself
    assert decode(page.encode("gb18030"), "page.html") == (page, "gb18030")


def test_a_stale_declaration_gives_way_to_utf8() -> None:
    page = '<meta charset="gb2312">中文中文'  # its UTF-8 is valid GB18030 too
    assert page.encode().decode("gb18030") != page
    assert decode(page.encode(), "page.html") == (page, "utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10", "not a text file"),
        (codecs.BOM_UTF16_LE + "ab".encode("utf-16-le")[:-1], "begins with the mark of utf-16"),
        (SIMPLIFIED.encode() * 9 + b"\n\xff", "line 11"),
        (bytes(range(128, 256)) * 4, "in no encoding that is known"),
    ],
)
def test_bytes_that_are_no_text_are_refused_by_name(content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=r"notes\.txt") as caught:
        decode(content, "notes.txt")
    assert said in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_a_data_error(content: bytes) -> None:
    try:
        text, encoding = decode(content, "notes.txt")
    except DataError as error:
        assert "notes.txt" in str(error)
    else:
        assert text.encode(encoding, errors="surrogatepass") is not None
