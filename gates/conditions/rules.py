"""Formal conditions, decided by rules: the form of a text, independent of its meaning.

"the question is in Chinese", "the text contains a date", "the message is longer than 50 words".
"""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from errata.gates.conditions.dates import has_date
from errata.gates.conditions.language import LANGUAGES, is_in_language
from errata.gates.conditions.links import has_email_address, has_link
from errata.gates.conditions.numbers import (
    has_card_number,
    has_iban,
    has_ip_address,
    has_isbn,
    has_phone_number,
)

Predicate = Callable[[str], bool | None]
"""Whether a text has something; None: undecided."""
Groups = dict[str, str | None]
"""The named groups of a condition's pattern."""

_PATTERNS = {
    "time": re.compile(
        r"\b(?:[01]?\d|2[0-3]):[0-5]\d\b|\b(?:1[0-2]|0?[1-9])\s?(?:[ap]\.?m\b|o'clock)",
        re.IGNORECASE,
    ),
    "year": re.compile(r"(?<![\d.,$€£])(?:1[0-9]|20)\d{2}(?![\d%]|[.,]\d)"),
    "number": re.compile(
        r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|"
        r"forty|fifty|hundred|thousand|million)\b",
        re.IGNORECASE,
    ),
    "digit": re.compile(r"\d"),
    "percentage": re.compile(r"\d\s?(?:%|per\s?cent\b)", re.IGNORECASE),
    "amount of money": re.compile(
        r"[$€£¥]\s?\d|\d\s?(?:[$€£¥]|(?:dollars?|euros?|pounds?|cents?|yen|usd|eur|gbp)\b)",
        re.IGNORECASE,
    ),
    "hashtag": re.compile(r"(?<!\w)#\w*[^\W\d_]"),
    "mention": re.compile(r"(?<![\w.])@\w"),
    "question mark": re.compile(r"[?？]"),
    "exclamation mark": re.compile(r"[!！]"),
    "line break": re.compile(r"\n"),
    "quotation": re.compile(r"\"[^\"]+\"|“[^”]+”|«[^»]+»"),
    "code": re.compile(r"```|`[^`]+`"),
}
_SYNONYMS = {
    "email": "e-mail address", "e-mail": "e-mail address", "email address": "e-mail address",
    "mail address": "e-mail address", "url": "link", "web address": "link", "website": "link",
    "hyperlink": "link", "telephone number": "phone number", "price": "amount of money",
    "sum of money": "amount of money", "currency amount": "amount of money", "digits": "digit",
    "per cent sign": "percentage", "percent": "percentage", "time of day": "time",
    "clock time": "time", "line feed": "line break", "new line": "line break",
    "code block": "code", "code snippet": "code", "quote": "quotation", "calendar date": "date",
    "mobile number": "phone number", "credit card number": "card number",
    "debit card number": "card number", "payment card number": "card number",
    "iban number": "iban", "isbn number": "isbn",
}  # fmt: skip
_NUMBERS = {
    word: number
    for number, word in enumerate(
        "no one two three four five six seven eight nine ten eleven twelve".split()
    )
}
_COUNT = rf"(?P<count>\d+|a hundred|{'|'.join(_NUMBERS)})"
_UNIT = r"(?P<unit>words?|characters?|letters?|sentences?|lines?|digits?)"

_OR_COMPARISON = {"more": "at least", "longer": "at least", "less": "at most", "fewer": "at most",
       "shorter": "at most"}  # fmt: skip
_COMPARISONS = {
    "longer than": operator.gt, "more than": operator.gt, "at least": operator.ge,
    "shorter than": operator.lt, "fewer than": operator.lt, "less than": operator.lt,
    "at most": operator.le,
}  # fmt: skip
_NOT = r"(?P<not>(?:does|do|is|are)(?:\s+not|n't)\s+|never\s+)?"
_CONTAINS = re.compile(
    rf"^{_NOT}(?:contains?|mentions?|includes?|has|have|gives?|names?|holds?)\s+"
    r"(?:(?:(?P<not2>no)|an|a|any|some|at least one|one|the)\s+)?(?P<thing>[a-z -]+?)"
    r"(?P<plural>s|es)?$",
    re.IGNORECASE,
)
_LANGUAGE = re.compile(
    rf"^{_NOT}(?:(?:is|are|comes?|arrives?|asks?|writes?|speaks?|uses?)\s+)?(?P<not2>not\s+)?"
    r"(?:(?:written|asked|posed|typed|put|phrased|formulated)\s+)?(?:in\s+)?"
    rf"(?P<language>{'|'.join(sorted(LANGUAGES))})(?:\s+language)?$",
    re.IGNORECASE,
)
_LENGTH = re.compile(
    rf"^{_NOT}(?:(?:is|are|has|have|contains?|consists?)\s+)?(?:of\s+)?(?P<than>longer than|"
    r"shorter than|more than|fewer than|less than|at least|at most|exactly|only|just)?\s*"
    rf"{_COUNT}\s+(?:single\s+)?{_UNIT}(?:\s+long)?(?:\s+or\s+(?P<or>more|less|fewer|longer|shorter))?$",
    re.IGNORECASE,
)
_CASE = re.compile(
    rf"^{_NOT}(?:(?:is|are|writes?|types?)\s+)?(?:written\s+)?(?:in\s+)?(?:all\s+|only\s+)?"
    r"(?P<case>capitals|capital letters|caps|upper[- ]?case|lower[- ]?case|small letters)"
    r"(?:\s+letters)?(?:\s+only)?$",
    re.IGNORECASE,
)
_ENDS = re.compile(
    rf"^{_NOT}(?P<where>begins?|starts?|opens?|ends?)\s+(?:with|in)\s+(?:(?:an|a|the)\s+)?"
    r"(?:(?:words?|phrase|string|letters?)\s+)?"
    r"(?:[\"“'‘](?P<text>.+)[\"”'’]|"
    r"(?P<mark>question mark|exclamation mark|number|digit|full stop))$",
    re.IGNORECASE,
)
_IS = re.compile(
    rf"^{_NOT}is\s+(?P<not2>not\s+)?(?:a\s+|an\s+)?(?P<what>question|empty|emoji|number)$",
    re.IGNORECASE,
)
_QUESTION_OPENERS = re.compile(
    r"^(?:who|whom|whose|what|which|where|when|why|how|is|are|was|were|do|does|did|can|could|will|"
    r"would|should|has|have|may)\b",
    re.IGNORECASE,
)
_MARKS = {"question mark": "?？", "exclamation mark": "!！", "full stop": ".。",
          "number": "0123456789", "digit": "0123456789"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """A parsed formal condition.

    :param name: what is looked for.
    :param test: whether a text has it; None: undecided.
    :param negated: the condition holds where the text lacks it.
    """

    name: str
    test: Predicate
    negated: bool = False

    def holds(self, text: str) -> bool:
        """Return whether the condition holds for a text; not where that is undecided."""
        return bool(self.verdict(text))

    def verdict(self, text: str) -> bool | None:
        """Return whether the condition holds for a text; None: undecided."""
        found = self.test(text)
        return None if found is None else found != self.negated


def read_rule(predicate: str) -> Rule | None:
    """Return the rule that decides a condition, None where there is none.

    :param predicate: the condition without its subject: "is in Chinese", "contains a date".
    """
    for pattern, parse in _PARSERS:
        if (found := pattern.match(predicate)) and (parsed := parse(found.groupdict())):
            groups = found.groupdict()
            return Rule(*parsed, bool(groups.get("not")) != bool(groups.get("not2")))
    return None


def _contains(groups: Groups) -> tuple[str, Predicate] | None:
    typed = " ".join((groups["thing"] or "").casefold().split())
    ending = groups["plural"] or ""
    for form in (typed, typed + ending, typed + ending.removesuffix("s")):
        if (thing := _SYNONYMS.get(form, form)) in _DETECTORS:
            return thing, _DETECTORS[thing]
        if (pattern := _PATTERNS.get(thing)) is not None:
            return thing, lambda text, p=pattern: p.search(text) is not None
    return None


def _in_language(groups: Groups) -> tuple[str, Predicate] | None:
    language = (groups["language"] or "").casefold()
    return language, lambda text: is_in_language(text, language)


def _length(groups: Groups) -> tuple[str, Predicate] | None:
    count = (groups["count"] or "").casefold()
    wanted = 100 if count == "a hundred" else _NUMBERS.get(count, -1)
    wanted = int(count) if wanted < 0 else wanted
    unit = (groups["unit"] or "").casefold().rstrip("s")
    than = groups["than"] or _OR_COMPARISON.get((groups["or"] or "").casefold(), "exactly")
    compare = _COMPARISONS.get(than := than.casefold(), operator.eq)
    return f"{than} {wanted} {unit}s", lambda text: compare(_count(text, unit), wanted)


def _count(text: str, unit: str) -> int:
    if unit == "word":
        return len(re.findall(r"\w+(?:['’-]\w+)*", text))
    if unit == "sentence":
        return len([part for part in re.split(r"[.!?。！？]+(?:\s+|$)", text) if part.strip()])
    if unit == "line":
        return len(text.splitlines())
    if unit in ("letter", "digit"):
        return sum(char.isalpha() if unit == "letter" else char.isdigit() for char in text)
    return len(text)


def _cased(groups: Groups) -> tuple[str, Predicate] | None:
    lower = (groups["case"] or "").casefold().startswith(("lower", "small"))
    return ("lower case", str.islower) if lower else ("capitals", str.isupper)


def _at_end(groups: Groups) -> tuple[str, Predicate] | None:
    first = (groups["where"] or "").casefold().startswith(("begin", "start", "open"))
    wanted = (groups["text"] or "").casefold()
    ends = (wanted,) if wanted else tuple(_MARKS[(groups["mark"] or "").casefold()])

    def test(text: str) -> bool:
        plain = text.strip().casefold()
        return plain.startswith(ends) if first else plain.endswith(ends)

    return f"{'begins' if first else 'ends'} with {wanted or groups['mark']}", test


def _is(groups: Groups) -> tuple[str, Predicate] | None:
    what = (groups["what"] or "").casefold()
    tests: dict[str, Predicate] = {
        "question": lambda text: bool(
            text.rstrip().endswith(("?", "？")) or _QUESTION_OPENERS.match(text.strip())
        ),
        "empty": lambda text: not text.strip(),
        "emoji": lambda text: has_emoji(text) and not any(c.isalnum() for c in text),
        "number": lambda text: re.fullmatch(r"[-+]?\d[\d.,]*", text.strip()) is not None,
    }
    return what, tests[what]


def has_emoji(text: str) -> bool:
    """Return whether a text has a pictograph."""
    return any(unicodedata.category(c) == "So" and ord(c) >= 0x2600 for c in text)


_DETECTORS: dict[str, Predicate] = {
    "date": has_date,
    "e-mail address": has_email_address,
    "link": has_link,
    "emoji": has_emoji,
    "phone number": has_phone_number,
    "card number": has_card_number,
    "iban": has_iban,
    "isbn": has_isbn,
    "ip address": has_ip_address,
}
_PARSERS: tuple[tuple[re.Pattern[str], Callable[[Groups], tuple[str, Predicate] | None]], ...] = (
    (_LANGUAGE, _in_language),
    (_LENGTH, _length),
    (_CASE, _cased),
    (_ENDS, _at_end),
    (_IS, _is),
    (_CONTAINS, _contains),
)
