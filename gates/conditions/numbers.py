"""Numbers with a check digit or a numbering plan: phone, card and account numbers, addresses."""

from __future__ import annotations

import ipaddress
import re

from errata.gates.conditions.dates import is_numeric_date

REGIONS = (
    "US", "GB", "DE", "FR", "ES", "IT", "PT", "BR", "NL", "SE", "DK", "PL", "TR", "FI", "CZ",
    "RU", "CN", "JP", "KR", "IN",
)  # fmt: skip
"""Regions whose national notation of phone numbers is recognised; +49 … is, from any region."""

_CARD = re.compile(r"(?<![\w.])[2-6]\d{3}(?:[ -]?\d){9,15}(?![\w-]|\.\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}\b", re.IGNORECASE)
_ISBN = re.compile(r"(?<![\w-])(?:97[89][ -]?)?\d(?:[ -]?\d){8}[ -]?[\dXx](?![\w-])")
_ADDRESS = re.compile(r"[0-9a-f:.]{2,}", re.IGNORECASE)


def has_phone_number(text: str, min_digits: int = 7) -> bool:
    """Return whether a text has a phone number that the numbering plans know.

    A national number has separators or a leading 0: ten bare digits may be an order's number. A
    date is none, though Denmark has one with the digits of 2024-05-06.

    :param min_digits: digits that a text has at least; shorter numbers are those of services,
        which a date or a price may look like.
    """
    if sum(char.isdigit() for char in text) < min_digits:
        return False
    from phonenumbers import Leniency, PhoneNumberMatcher

    if PhoneNumberMatcher(text, None, leniency=Leniency.VALID).has_next():
        return True
    return any(
        not found.raw_string.isdigit() or found.raw_string.startswith("0")
        for region in REGIONS
        for found in PhoneNumberMatcher(text, region, leniency=Leniency.STRICT_GROUPING)
        if not is_numeric_date(found.raw_string)
    )


def has_card_number(text: str) -> bool:
    """Return whether a text has 13 to 19 digits of a payment card, by Luhn's check digit."""
    from stdnum import luhn

    found = (re.sub(r"[ -]", "", one.group()) for one in _CARD.finditer(text))
    return any(luhn.is_valid(digits) for digits in found)


def has_iban(text: str) -> bool:
    """Return whether a text has an IBAN of its country's format, by ISO 7064's check digits."""
    from stdnum import iban

    for found in _IBAN.finditer(text):
        parts = re.split("[ -]", found.group())
        # words after the number may look like more of it: "DE89 3704 0044 0532 0130 00 by May"
        if any(iban.is_valid("".join(parts[:size])) for size in range(len(parts), 0, -1)):
            return True
    return False


def has_isbn(text: str) -> bool:
    """Return whether a text has an ISBN of 10 or 13 digits, by its check digit."""
    from stdnum import isbn

    return any(isbn.is_valid(found.group()) for found in _ISBN.finditer(text))


def has_ip_address(text: str) -> bool:
    """Return whether a text has an IPv4 or IPv6 address."""
    return any(_is_address(found.group().rstrip(".:")) for found in _ADDRESS.finditer(text))


def _is_address(text: str) -> bool:
    if text.count(":") < 2 and text.count(".") != 3:
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
