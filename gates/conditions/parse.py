"""Parse the conditions of language patches.

"the user asks who made you" becomes the question "who made you"; "the text contains the word
'refund'" is decided by its characters, "the question is in Chinese" by a rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeGuard

from errata.cache.records import Edit, LanguagePatch
from errata.gates.conditions.rules import Rule, read_rule
from errata.gates.text import plain

ConditionKind = Literal["question", "topic", "claim", "lexical", "formal"]

_SUBJECT = (
    r"(?:if |when |whenever )?(?:(?:the|a|an|this|any|some)\s+)?(?:user|person|customer|client|"
    r"caller|visitor|reader|writer|author|guest|review|reviewer|text|question|query|message|"
    r"input|prompt|request|sentence|email|comment|post|somebody|someone|anybody|anyone|people|"
    r"it|they|he or she|you are|you're)"
)
_ASKS = re.compile(
    rf"^{_SUBJECT}\s+(?:asks?|asked|is asking|wants? to know|would like to know|wonders?|"
    r"inquires?)\s+(?:(?:you|me|us)\s+)?(?:(?:whether|if)\s+)?"
    r"(?P<text>.+)$",
    re.IGNORECASE,
)
_TOPIC = re.compile(
    rf"^{_SUBJECT}\s+(?:(?:asks?|asked|is asking|inquires?|talks?|speaks?|complains?|"
    r"wants? to know|is|are|wants?|mentions?|refers? to|deals? with|concerns?)\s*"
    r"(?:(?:you|me|us)\s+)?(?:(?:something|a question|anything|information)\s+)?"
    r"(?:about|for|on|regarding|concerning)|mentions?|refers? to|deals? with|concerns?)"
    r"\s+(?P<text>.+)$",
    re.IGNORECASE,
)
_CLAIM = re.compile(
    rf"^{_SUBJECT}\s+(?:says?|said|states?|claims?|thinks?|believes?|writes?|finds?|suggests?|"
    r"implies|means|complains?)\s+(?:that\s+)?(?P<text>.+)$",
    re.IGNORECASE,
)
_HAS = (
    rf"^{_SUBJECT}\s+(?P<not>does not |do not |doesn't |don't |never )?"
    r"(?:contains?|mentions?|includes?|has|have|uses?|says?|types?|writes?)\s+"
    r"(?:(?:the|a|one of the|any of the|either)\s+)*(?:(?:exact|literal)\s+)?"
)
_LEXICAL = re.compile(
    rf"{_HAS}"
    r"(?:words?|phrases?|terms?|strings?|names?|letters?)?\s*"
    r"(?P<quoted>[\"“'‘].+[\"”'’])\s*\.?$",
    re.IGNORECASE,
)
_BARE = re.compile(
    rf"{_HAS}(?:(?<=the )|(?<=exact )|(?<=literal ))"
    r"(?:(?:words?|phrases|terms?|strings)|(?P<one>phrase|string))\s+"
    r"(?!(?:of|for|about|that|which|whose|in|from|with|and|or)\b)(?!')(?P<bare>[^\"“”‘]+)$",
    re.IGNORECASE,
)
"""A lexical condition without quotation marks; "the term of a contract" is a topic."""
_BETWEEN = re.compile(
    r"(?:,\s*(?:(?:and|or)\s+)?|\s+(?:and|or)\s+)(?:the\s+(?:word|term)\s+)?", re.IGNORECASE
)
_PREDICATE = re.compile(rf"^{_SUBJECT}\s+(?P<text>.+)$", re.IGNORECASE)
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|‘([^’]+)’|'([^']+)'")


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition.

    :param kind: how it is decided: a *question* as a fact's question; a *topic* and a *claim* by
        meaning; *lexical* by characters; *formal* by a rule.
    :param text: the condition without "the user asks" and the like.
    :param quoted: the strings of a lexical condition.
    :param match_all: all strings are required; otherwise one suffices.
    :param negated: the condition holds where the strings are missing.
    :param rule: the rule of a formal condition.
    """

    kind: ConditionKind
    text: str
    quoted: tuple[str, ...] = ()
    match_all: bool = False
    negated: bool = False
    rule: Rule | None = None

    @property
    def certain(self) -> bool:
        """Whether characters or a rule decide it, without a probability."""
        return self.kind in ("lexical", "formal")

    def holds(self, query: str) -> bool:
        """Return whether a certain condition holds for a query."""
        if self.rule is not None:
            return self.rule.holds(query)
        # whole words, case folded
        text = plain(query)
        found = [
            re.search(rf"(?<!\w){re.escape(plain(string))}(?!\w)", text) is not None
            or (not string.isascii() and plain(string) in text)
            for string in self.quoted
        ]
        return (all(found) if self.match_all else any(found)) != self.negated


@lru_cache(maxsize=8192)
def read_condition(text: str) -> Condition:
    """Return a condition parsed; what no pattern matches is a claim."""
    text = " ".join(text.split()).rstrip(".")
    if found := _LEXICAL.match(_add_quotes(text)):
        quoted = tuple(next(filter(None, groups)) for groups in _QUOTED.findall(found["quoted"]))
        match_all = re.search(r"[\"”'’]\s*(?:,\s*)?and\s", found["quoted"]) is not None
        return Condition("lexical", text, quoted, match_all, bool(found["not"]))
    predicate = _PREDICATE.match(text)
    if predicate is not None and (rule := read_rule(predicate["text"])) is not None:
        return Condition("formal", text, rule=rule)
    if found := _TOPIC.match(text):
        return Condition("topic", found["text"])
    if found := _ASKS.match(text):
        return Condition("question", found["text"])
    if found := _CLAIM.match(text):
        return Condition("claim", found["text"])
    return Condition("claim", text)


def _add_quotes(text: str) -> str:
    """Return a condition with quotation marks around the words after "the word"."""
    found = _BARE.match(text)
    if found is None:
        return text
    bare = found["bare"]
    if not found["one"] and len(several := _BETWEEN.split(bare)) > 1:
        if any(" " in word for word in several):  # "the word refund and is angry"
            return text
        bare = _BETWEEN.sub(r'"\g<0>"', bare)
    return f'{text[: found.start("bare")]}"{bare}"'


def is_certain(edit: Edit) -> TypeGuard[LanguagePatch]:
    """Return whether an edit is a language patch with a lexical or formal condition."""
    return isinstance(edit, LanguagePatch) and read_condition(edit.condition).certain
