"""Personal data: what is masked, and the numbers beside it that are not."""

from __future__ import annotations

import pytest

from lorafit.data.clean.personal import PersonalData, is_card, is_resident_id, is_ssn
from lorafit.data.clean.settings import PersonalKind

KINDS: tuple[PersonalKind, ...] = ("email", "phone", "id_number", "card", "ip")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to ann.lee+x@mail.example.com.", "Write to [EMAIL]."),
        ("请联系zhang_san@example.cn，谢谢", "请联系[EMAIL]，谢谢"),
        ("call (415) 555-2671 or 415-555-2671", "call [PHONE] or [PHONE]"),
        ("+1 415 555 2671, +44 20 7946 0958", "[PHONE], [PHONE]"),
        ("我的手机是13800138000。", "我的手机是[PHONE]。"),
        ("手机：+86 138-0013-8000，座机010-62345678", "手机：[PHONE]，座机[PHONE]"),
        ("电话-13912345678", "电话-[PHONE]"),
        ("身份证号11010519491231002X。", "身份证号[ID]。"),
        ("SSN 219-09-9999", "SSN [ID]"),
        ("card 4111 1111 1111 1111, 4111-1111-1111-1111", "card [CARD], [CARD]"),
        ("Amex 3782 822463 10005", "Amex [CARD]"),
        ("卡号6222 0212 3456 7890 128到期", "卡号[CARD]到期"),
        ("host 203.0.113.7, 2001:db8::1", "host [IP], [IP]"),
    ],
)
def test_is_masked(text: str, masked: str) -> None:
    assert PersonalData(KINDS).mend(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "a@b, @handle, user@localhost, x@y..com",
        "2024-11-21 10:30:00, pages 100-200, 3.14159265358979",
        "12345678901, 23800138000, 1380013800, 138001380001",
        "订单号20241121138001380001，金额13800.00元",
        "110105194912310021",  # the check digit of a resident's number is wrong
        "110105194913310026",  # there is no thirteenth month
        "000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567, 123-45-0000",
        "4111 1111 1111 1112",  # Luhn's check digit is wrong
        "0000 0000 0000 0000",
        "version 1.2.3.4.5, 300.1.1.1, 127.0.0.1, 12:30:45, std::vector, ::",
        "ISBN 978-3-16-148410-0",
        "x = 1+12 + 34",
    ],
)
def test_near_miss_stays(text: str) -> None:
    assert PersonalData(KINDS).mend(text) == text


def test_only_the_kinds_that_are_asked_for() -> None:
    text = "a.b@example.com, 13800138000"
    assert PersonalData(["phone"]).mend(text) == "a.b@example.com, [PHONE]"
    assert PersonalData(["email"]).mend(text) == "[EMAIL], 13800138000"


def test_every_wrong_digit_is_seen() -> None:
    for number, is_one in (("11010519491231002X", is_resident_id), ("4111111111111111", is_card)):
        assert is_one(number)
        for digit in "0123456789":
            if digit != number[5]:
                assert not is_one(number[:5] + digit + number[6:])
    assert is_ssn("219-09-9999")


def test_places_are_counted_by_kind_and_veiled_text_is_not() -> None:
    rule = PersonalData(KINDS)
    rule.mend("a@example.com b@example.com 13800138000")
    assert rule.veil("a@example.com 13800138000") == "a*** 1***"
    assert rule.found == {"email": 2, "phone": 1}
