"""Dates of the calendar in a text."""

from __future__ import annotations

import datetime
import re

_NUMERIC = re.compile(
    r"(?<![\w./-])(?:(?P<year>\d{4})(?P<mark>[-/.])(?P<a>\d{1,2})(?P=mark)(?P<b>\d{1,2})"
    r"|(?P<c>\d{1,2})(?P<mark2>[-/.])(?P<d>\d{1,2})(?P=mark2)(?P<year2>\d{4}|\d{2}))(?![./-]?\d)"
)
"""Three numbers between equal marks; of four, as of an address, none is a date."""
_MONTHS = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_NAMED = re.compile(
    rf"\b{_DAY}\s+(?:of\s+)?{_MONTHS}|\b{_MONTHS}\s+(?:the\s+)?{_DAY}\b"
    rf"|\b{_MONTHS},?\s+\d{{4}}\b|\d{{1,2}}月\d{{1,2}}[日号]",
    re.IGNORECASE,
)


def has_date(text: str) -> bool:
    """Return whether a text has a date: with a month's name, or three numbers of the calendar."""
    return _NAMED.search(text) is not None or any(map(_exists, _NUMERIC.finditer(text)))


def is_numeric_date(text: str) -> bool:
    """Return whether a text is a date of three numbers, and nothing else."""
    found = _NUMERIC.fullmatch(text)
    return found is not None and _exists(found)


def _exists(found: re.Match[str]) -> bool:
    """Return whether the calendar has a date, its day before its month or behind."""
    year = int(found["year"] or found["year2"])
    one, other = (int(found[group]) for group in (("a", "b") if found["year"] else ("c", "d")))
    return _in_calendar(year, one, other) or _in_calendar(year, other, one)


def _in_calendar(year: int, month: int, day: int) -> bool:
    try:
        # two digits of a year: a leap year may be meant, as in 2000
        datetime.date(year if year > 99 else 2000 + year, month, day)
    except ValueError:
        return False
    return True
