"""Personal data: patterns with the checksums and ranges that tell a number of that kind from any other number."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

from lorafit.data.clean.rows import EachRow
from lorafit.data.clean.settings import PersonalKind
from lorafit.records import Conversation

# Python's \b and \d know all scripts; Chinese text stands right beside a number, so the borders are written out.
_START, _END = r"(?<![0-9A-Za-z])", r"(?![0-9A-Za-z])"

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}"
    r"[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_PHONE = re.compile(
    _START + r"(?<!\+)(?<![0-9][.-])(?:"
    r"(?:\+?86[ -]?)?1[3-9]\d(?:\d{8}|([ -])\d{4}\1\d{4})"  # Chinese mobile
    r"|0\d{2,3}-\d{7,8}"  # Chinese landline
    r"|(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}"  # North American plan, grouped
    r"|\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,6}"  # international, E.164: 8 to 15 digits
    r")" + _END + r"(?![.-]\d)",
    re.ASCII,
)
_RESIDENT = re.compile(_START + r"[1-9]\d{16}[0-9Xx]" + _END, re.ASCII)
_SSN = re.compile(_START + r"(?<![0-9][.-])\d{3}-\d{2}-\d{4}" + _END + r"(?!-\d)", re.ASCII)
_CARD = re.compile(
    _START + r"(?<![0-9][.-])[2-6]\d{3}(?:([ -]?)\d{4}\1\d{4}\1(?:\d{4}\1)?\d{1,7}|([ -])\d{6}\2\d{4,5})" + _END,
    re.ASCII,
)
_IPV4 = re.compile(r"(?<![0-9A-Za-z.])(?:\d{1,3}\.){3}\d{1,3}(?![0-9A-Za-z]|\.\d)", re.ASCII)
_IPV6 = re.compile(r"(?<![0-9A-Za-z:.])[0-9A-Fa-f:]*:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]*(?<![.])(?![0-9A-Za-z:])", re.ASCII)


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def is_phone(text: str) -> bool:
    return 8 <= len(_digits(text)) <= 15


def is_card(text: str) -> bool:
    """Luhn's check digit (ISO/IEC 7812-1), 13 to 19 digits, not one digit over and over."""
    digits = [int(digit) for digit in reversed(_digits(text))]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


def is_resident_id(text: str) -> bool:
    """A Chinese resident's number (GB 11643-1999): a day of birth in it, and ISO 7064 MOD 11-2 as its last place."""
    try:
        born = date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    check = sum(int(digit) * 2 ** (17 - place) for place, digit in enumerate(text[:17])) % 11
    return 1850 <= born.year <= date.today().year and "10X98765432"[check] == text[17].upper()


def is_ssn(text: str) -> bool:
    """A US social security number: areas 000, 666 and 900 to 999, group 00 and serial 0000 are never given out."""
    area, group, serial = text.split("-")
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def is_ip(text: str) -> bool:
    """A public or private address of one machine. 0.0.0.0, loopback and the like belong to nobody."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast)


@dataclass(frozen=True, slots=True)
class _Kind:
    name: PersonalKind
    token: str
    needs: re.Pattern[str]  # a quick look before the pattern itself
    pattern: re.Pattern[str]
    is_one: Callable[[str], bool]


_AT, _DIGITS, _DOTS, _COLONS = (re.compile(one, re.ASCII) for one in ("@", r"\d\D?\d", r"\d\.\d", ":[0-9A-Fa-f]{0,4}:"))
# In this order: a longer number is taken before the shorter one that could be found in it.
_KINDS = (
    _Kind("email", "[EMAIL]", _AT, _EMAIL, lambda text: ".." not in text),
    _Kind("id_number", "[ID]", _DIGITS, _RESIDENT, is_resident_id),
    _Kind("id_number", "[ID]", _DIGITS, _SSN, is_ssn),
    _Kind("card", "[CARD]", _DIGITS, _CARD, is_card),
    _Kind("phone", "[PHONE]", _DIGITS, _PHONE, is_phone),
    _Kind("ip", "[IP]", _DOTS, _IPV4, is_ip),
    _Kind("ip", "[IP]", _COLONS, _IPV6, is_ip),
)


class PersonalData(EachRow):
    """Finds e-mail addresses, phone numbers, ID and card numbers, addresses of machines; `mend` masks them.

    `found` counts the places, by kind.
    """

    name = "personal_data"

    def __init__(self, kinds: Sequence[PersonalKind]) -> None:
        self.found: Counter[str] = Counter()
        self._kinds = [kind for kind in _KINDS if kind.name in kinds]

    def mend(self, text: str) -> str:
        return self._mask(text, self.found)

    def mask(self, text: str) -> str:
        """As `mend`, but nothing is counted."""
        return self._mask(text, Counter())

    def veil(self, text: str) -> str:
        """For texts that are shown: of what is found only the first character. Nothing is counted."""
        return self._mask(text, Counter(), veil=True)

    def _fault(self, row: Conversation) -> str | None:
        found: Counter[str] = Counter()
        for message in row.messages:
            self._mask(message.content, found)
        self.found += found
        return ", ".join(f"{count} {kind}" for kind, count in found.items()) or None

    def _mask(self, text: str, found: Counter[str], veil: bool = False) -> str:
        for kind in self._kinds:
            if kind.needs.search(text):
                text = kind.pattern.sub(partial(_cover, kind, found, veil), text)
        return text


def _cover(kind: _Kind, found: Counter[str], veil: bool, match: re.Match[str]) -> str:
    if not kind.is_one(match[0]):
        return match[0]
    found[kind.name] += 1
    return f"{match[0][0]}***" if veil else kind.token
