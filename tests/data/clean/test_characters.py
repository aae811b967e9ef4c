"""Text rules: what they mend, and what only looks like it."""

from __future__ import annotations

import pytest

from lorafit.data.clean.characters import ControlCharacters, Mojibake, UnicodeForm


@pytest.mark.parametrize(
    "text",
    [
        "Café au lait",
        "naïve “quotes” — and a dash",
        "价格是三百元，不含税。",
        "机器学习是什么？",
        "ラーメン一丁",
        "한국어 문장",
    ],
)
def test_text_that_was_decoded_wrongly_is_mended(text: str) -> None:
    assert Mojibake().mend(text.encode().decode("latin-1")) == text


def test_chinese_utf8_read_as_gbk_is_mended() -> None:
    for text in ("机器学习是什么？有用", "请用中文回答，谢谢！！", "答案是 42，对吗？？"):
        broken = text.encode().decode("gb18030", "replace")
        if "\ufffd" not in broken:  # an odd number of bytes loses some for good
            assert broken != text
            assert Mojibake().mend(broken) == text
    assert Mojibake().mend("涓枃鏈哄櫒瀛︿範") == "涓枃鏈哄櫒瀛︿範"  # bytes were lost: left as it is


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "SÃO PAULO",
        "联通",
        "联通移动",
        "锟斤拷",
        "一个正常的中文句子。",
        "“curly” ’quotes’",
        "ﬁne",
    ],
)
def test_good_text_stays(text: str) -> None:
    assert Mojibake().mend(text) == text


def test_control_characters_and_those_without_width_go() -> None:
    mend = ControlCharacters().mend
    assert mend("a\x00b\x07c\x1b[0m\x85") == "abc[0m"
    assert mend("\ufeff机\u200b器\u2060学\u00ad习") == "机器学习"


@pytest.mark.parametrize(
    "text", ["tab\tline\nreturn\r\n", "👩\u200d💻", "می\u200cخواهم", "\u200fשלום", "a\u00a0b", "全角\u3000空格"]
)
def test_what_has_a_meaning_stays(text: str) -> None:
    assert ControlCharacters().mend(text) == text


def test_nfc_composes_and_nfkc_evens_out() -> None:
    assert UnicodeForm("NFC").mend("Cafe\u0301 \u304b\u3099 \u1112\u1161\u11ab") == "Café が 한"
    assert UnicodeForm("NFC").mend("ＡＢＣ１２３，①ﬁ") == "ＡＢＣ１２３，①ﬁ"
    assert UnicodeForm("NFKC").mend("ＡＢＣ１２３，①ﬁ") == "ABC123,1fi"
