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
from errata.cache.text.normalize import word_pattern
from errata.gates.conditions.clauses import SUBJECT, positive_clause, split_clauses
from errata.gates.conditions.rules import Rule, read_rule
from errata.gates.text import plain

ConditionKind = Literal["question", "topic", "claim", "lexical", "formal", "all", "any", "not"]

_ASKS = re.compile(
    rf"^{SUBJECT}\s+(?:asks?|asked|is asking|wants? to know|would like to know|wonders?|"
    r"inquires?)[:,]?\s+(?:(?:you|me|us)\s+)?(?:(?:whether|if)\s+)?"
    r"(?P<mark>[\"“])?(?P<text>.+?)(?(mark)[\"”])$",
    re.IGNORECASE,
)
_TOPIC = re.compile(
    rf"^{SUBJECT}\s+(?:(?:asks?|asked|is asking|inquires?|talks?|speaks?|complains?|"
    r"wants? to know|is|are|wants?|mentions?|refers? to|deals? with|concerns?)\s*"
    r"(?:(?:you|me|us)\s+)?(?:(?:something|a question|anything|information)\s+)?"
    r"(?:about|for|on|regarding|concerning)|mentions?|refers? to|deals? with|concerns?)"
    r"\s+(?P<text>.+)$",
    re.IGNORECASE,
)
_CLAIM = re.compile(
    rf"^{SUBJECT}\s+(?:says?|said|states?|claims?|thinks?|believes?|writes?|finds?|suggests?|"
    r"implies|means|complains?)\s+(?:that\s+)?(?P<text>.+)$",
    re.IGNORECASE,
)
_HAS = (
    rf"^{SUBJECT}\s+(?P<not>does not |do not |doesn't |don't |never )?"
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
_PREDICATE = re.compile(rf"^{SUBJECT}\s+(?P<text>.+)$", re.IGNORECASE)
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|‘([^’]+)’|'([^']+)'")


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition.

    :param kind: how it is decided: a *question* as a fact's question; a *topic* and a *claim* by
        meaning; *lexical* by characters; *formal* by a rule; *all*, *any* and *not* by their parts.
    :param text: the condition without "the user asks" and the like.
    :param quoted: the strings of a lexical condition.
    :param match_all: all strings are required; otherwise one suffices.
    :param negated: the condition holds where the strings are missing.
    :param rule: the rule of a formal condition.
    :param parts: of a condition of several clauses.
    :param source: the whole clause, as it was read.
    """

    kind: ConditionKind
    text: str
    quoted: tuple[str, ...] = ()
    match_all: bool = False
    negated: bool = False
    rule: Rule | None = None
    parts: tuple[Condition, ...] = ()
    source: str = ""

    @property
    def certain(self) -> bool:
        """Whether characters or a rule decide it, without a probability."""
        if self.parts:
            return all(part.certain for part in self.parts)
        return self.kind in ("lexical", "formal")

    def holds(self, query: str) -> bool:
        """Return whether a certain condition holds for a query; not where that is undecided."""
        return bool(self.verdict(query))

    def verdict(self, query: str) -> bool | None:
        """Return whether a certain condition holds for a query; None: undecided."""
        if self.parts:
            found = [part.verdict(query) for part in self.parts]
            if self.kind == "not":
                return None if found[0] is None else not found[0]
            decisive = self.kind == "any"
            return decisive if decisive in found else None if None in found else not decisive
        if self.rule is not None:
            return self.rule.verdict(query)
        # whole words, case folded
        text = plain(query)
        present = [
            re.search(word_pattern(plain(string)), text) is not None for string in self.quoted
        ]
        return (all(present) if self.match_all else any(present)) != self.negated


@lru_cache(maxsize=8192)
def read_condition(text: str) -> Condition:
    """Return a condition parsed; what no pattern matches is a claim.

    Clauses joined by *and*, *but*, *or* and *unless* are read one by one, in this order of
    binding: "A and B unless C" is (A and B) and not C.
    """
    text = " ".join(text.split()).rstrip(".")
    if (found := split_clauses(text, lambda clause: _read_clause(clause).certain)) is None:
        return _read_clause(text)
    kind, clauses = found
    parts = [read_condition(clause) for clause in clauses]
    if kind == "unless":
        kind, parts = "all", [parts[0], *map(_negated, parts[1:])]
    return Condition("any" if kind == "any" else "all", text, parts=tuple(parts), source=text)


def _negated(condition: Condition) -> Condition:
    return Condition("not", condition.text, parts=(condition,), source=condition.source)


def _read_clause(text: str) -> Condition:
    """Return a condition of one clause; one that is denied as *not* the other."""
    plain_clause = _read_positive(text)
    if plain_clause.certain or (denied := positive_clause(text)) is None:
        return plain_clause
    return _negated(read_condition(denied))


def _read_positive(text: str) -> Condition:
    if found := _LEXICAL.match(_add_quotes(text)):
        quoted = tuple(next(filter(None, groups)) for groups in _QUOTED.findall(found["quoted"]))
        match_all = re.search(r"[\"”'’]\s*(?:,\s*)?and\s", found["quoted"]) is not None
        negated = bool(found["not"])
        return Condition("lexical", text, quoted, match_all, negated, source=text)
    predicate = _PREDICATE.match(text)
    if predicate is not None and (rule := read_rule(predicate["text"])) is not None:
        return Condition("formal", text, rule=rule, source=text)
    if found := _TOPIC.match(text):
        return Condition("topic", found["text"], source=text)
    if found := _ASKS.match(text):
        return Condition("question", found["text"], source=text)
    if found := _CLAIM.match(text):
        return Condition("claim", found["text"], source=text)
    return Condition("claim", text, source=text)


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
