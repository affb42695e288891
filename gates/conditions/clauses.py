"""Split a condition into its clauses: "the user asks about refunds, but not about returns"."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

Joint = Literal["all", "any", "unless"]

SUBJECT = (
    r"(?:if |when |whenever )?(?:(?:the|a|an|this|any|some)\s+)?(?:user|person|customer|client|"
    r"caller|visitor|reader|writer|author|guest|review|reviewer|text|question|query|message|"
    r"input|prompt|request|sentence|email|comment|post|somebody|someone|anybody|anyone|people|"
    r"it|they|he or she|you are|you're)"
)
"""What a clause begins with; :mod:`errata.gates.conditions.parse` reads what it says."""

_DENIAL = r"(?:(?:does|do|did|is|are|was|has|have)(?:\s+not|n't)|never|not)"
_VERB = (
    r"(?:asks?|asked|is|are|was|has|have|contains?|mentions?|includes?|says?|said|states?|claims?|"
    r"talks?|speaks?|complains?|wants?|would like|wonders?|inquires?|uses?|types?|writes?|refers?|"
    r"deals?|concerns?|begins?|starts?|opens?|ends?|consists?|comes?|arrives?|gives?|names?|holds?|"
    r"thinks?|believes?|finds?|suggests?|implies|means)"
)
_CLAUSE = re.compile(rf"(?:{SUBJECT}\s+)?(?:{_DENIAL}\s+)?{_VERB}\b", re.IGNORECASE)
_WITH_SUBJECT = re.compile(rf"(?P<subject>{SUBJECT})\s+(?:{_DENIAL}\s+)?{_VERB}\b", re.IGNORECASE)
_SPEECH = re.compile(
    rf"{SUBJECT}\s+(?:says?|said|states?|claims?|thinks?|believes?|writes?|finds?|suggests?|"
    r"implies|means|complains?)\b",
    re.IGNORECASE,
)
_SPOKEN = re.compile(rf"{_SPEECH.pattern}\s*(?:that\s+)?[:,]?\s*\0+", re.IGNORECASE)
"""Speech in quotation marks, which ends with them."""
_OPENING = re.compile(
    rf"(?:unless|except\s+(?:if|when|where))\s+(?P<exception>.+?),\s+(?P<rest>{SUBJECT}\s.+)",
    re.IGNORECASE,
)
_NOT_THAT = re.compile(r"(?:not|no)\s+(?P<rest>.+)", re.IGNORECASE)
_NEITHER = re.compile(
    rf"(?P<left>{SUBJECT}\s(?:.*\s)?)neither\s+(?P<first>.+?),?\s+nor\s+(?P<last>.+)", re.IGNORECASE
)
_PREPOSITION = re.compile(r"\b(?:about|for|on|in|regarding|concerning)\b", re.IGNORECASE)
_JOINTS: tuple[tuple[Joint, re.Pattern[str]], ...] = (
    ("unless", re.compile(r",?\s+(?:unless|except\s+(?:if|when|where))\s+", re.IGNORECASE)),
    ("any", re.compile(r",?\s+or\s+(?:else\s+)?(?:(?:if|when)\s+)?|,\s+(?=.*\sor\s)", re.I)),
    ("all", re.compile(r",?\s+(?:and|but)\s+(?:also\s+)?(?:(?:if|when)\s+)?|;\s+|,\s+", re.I)),
)  # fmt: skip
_QUOTED = re.compile(r"(?<!\w)([\"“'‘«]).+?[\"”'’»](?!\w)")
_DENIED = re.compile(
    rf"(?P<subject>{SUBJECT})\s+(?:(?P<be>is|are|was)(?:\s+not|n't)|"
    r"(?:does|do|did)(?:\s+not|n't)|never|(?P<be2>is|are)\s+never)\s+(?P<rest>.+)",
    re.IGNORECASE,
)


def split_clauses(text: str, is_certain: Callable[[str], bool]) -> tuple[Joint, list[str]] | None:
    """Return how the clauses of a condition are joined, and the clauses; None: it has one.

    A clause without a subject gets that of the first one. A clause is split off only where it has
    a verb ("asks about cats and dogs" is one), or where the verb of the one before makes it a rule
    ("is in French or German").

    :param text: a condition, white space normalized.
    :param is_certain: returns whether a clause is decided by characters or a rule.
    """
    masked = _masked(text)
    if opening := _OPENING.fullmatch(masked):
        return "unless", [text[slice(*opening.span(name))] for name in ("rest", "exception")]
    whole = is_certain(text)  # by one rule: its list is not split
    for joint, pattern in _JOINTS:
        joints = [found.span() for found in pattern.finditer(masked)]
        if not joints:
            continue
        ends = [*(start for start, _ in joints[1:]), len(text)]
        clauses = [_without_either(text[: joints[0][0]])]
        for (start, begin), end in zip(joints, ends, strict=True):
            right = None
            if _WITH_SUBJECT.match(clauses[-1]):
                right = _continued(clauses[-1], text[begin:end], masked[begin:end])
                right = right or _denied_end(clauses[-1], text[begin:end], is_certain)
                if right is None and not whole and positive_clause(clauses[-1]) is None:
                    right = _as_rule(clauses[-1], text[begin:end], is_certain)
            if right is None:
                clauses[-1] += text[start:end]
            else:
                clauses.append(right)
        if len(clauses) > 1:
            return joint, clauses
    return None


def positive_clause(text: str) -> str | None:
    """Return a clause without its denial: "does not ask about X" gives "ask about X".

    "Is neither X nor Y" gives "is X or Y".

    :param text: one clause.
    :return: None if it is not denied.
    """
    if found := _NEITHER.fullmatch(text):
        return f"{found['left']}{found['first']} or {found['last']}"
    found = _DENIED.fullmatch(text)
    if found is None:
        return None
    verb = found["be"] or found["be2"]
    return " ".join(filter(None, (found["subject"], verb, found["rest"])))


def _continued(left: str, right: str, masked: str) -> str | None:
    """Return what follows a clause as a clause, None where it is part of that one."""
    if _WITH_SUBJECT.match(masked):
        return right
    if _CLAUSE.match(masked):
        quoted = _SPOKEN.fullmatch(_masked(left))
        if _SPEECH.match(left) and not (quoted or _SPEECH.match(f"it {masked}")):
            return None
        return _completed(left, right)
    return None


def _denied_end(left: str, right: str, is_certain: Callable[[str], bool]) -> str | None:
    """Return "not X" or "no X" behind a clause as a clause of its own, with that one's verb."""
    found, verb = _NOT_THAT.match(right), _WITH_SUBJECT.match(left)
    if found is None or verb is None:
        return None
    words = left.split(" ")
    made = (f"{' '.join(words[:count])} {found['rest']}" for count in range(2, len(words)))
    clause = next(filter(is_certain, made), None) if is_certain(left) else None
    if clause is None:
        clause = _about(left, found["rest"])
    if clause is None or not clause.startswith(verb["subject"]):
        return None
    rest = clause[len(verb["subject"]) :].strip()
    be, _, what = rest.partition(" ")
    if be.casefold() in ("is", "are", "was"):
        return f"{verb['subject']} {be} not {what}"
    return f"{verb['subject']} does not {rest}"


def _about(left: str, rest: str) -> str | None:
    """Return a clause about something else: "asks about X" and "Y", or "about Y"."""
    same = _PREPOSITION.match(rest)
    places = [
        found
        for found in _PREPOSITION.finditer(left)
        if same is None or found[0].casefold() == same[0].casefold()
    ]
    place = next(iter(places), None) or _PREPOSITION.search(left)
    if place is None or (same is None and _SPEECH.match(left)):
        return None
    return f"{left[: place.start() if same else place.end()].rstrip()} {rest}"


def _masked(text: str) -> str:
    """Return a text with what is in quotation marks blotted out, of the same length."""
    return _QUOTED.sub(lambda found: "\0" * len(found[0]), text)


def _completed(left: str, right: str) -> str:
    found = _WITH_SUBJECT.match(left)
    return f"{found['subject']} {right}" if found else right


def _as_rule(left: str, right: str, is_certain: Callable[[str], bool]) -> str | None:
    """Return a clause made of the beginning of another one and a new end, if that is a rule."""
    if not is_certain(left):
        return None
    words = left.split(" ")
    for count in range(len(words) - 1, 1, -1):
        made = " ".join([*words[:count], right])
        if is_certain(made):
            return made
    return None


def _without_either(text: str) -> str:
    return re.sub(r"\b(?:either|both)\s+", "", text, count=1, flags=re.IGNORECASE)
