"""The verbatim answer in the consequence of a language patch.

``say "Hello."`` and ``say that you were made by Example Labs`` are answers (the second one in the
first person, unless an instruction-following reasoner phrases it); ``the sentiment is positive``
gives a value (the grammar of Murty et al. 2022); anything else needs a reasoner, such as the manner
in ``answer in French``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from errata.cache.records import REFUSAL
from errata.cache.text.polarity import verdict

_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "„": "“", "「": "」", "『": "』"}
_VERB = re.compile(r"(?:say|answer|reply|respond)\b(?:\s*:|\s+with\b)?\s*", re.IGNORECASE)
_ANSWERING = re.compile(r"answer|reply|respond", re.IGNORECASE)
"""Verbs that may also be followed by a manner: "answer in French"."""
_THAT = re.compile(r"that\s+", re.IGNORECASE)
_REFUSE = re.compile(r"(?:politely\s+)?(?:refuse|decline)\b\s*", re.IGNORECASE)
_IS = re.compile(r"(?P<subject>[^\"“]+?)\s+is\s+(?P<value>.+)", re.IGNORECASE | re.DOTALL)
_CHINESE = re.compile(r"(?:请)?(?:回答|说)[:：]?\s*(?P<answer>.+)", re.DOTALL)
_NEGATION = frozenset({"not", "never", "no", "neither", "n't"})

_YOU = re.compile(
    r"\b(?P<be>you\s+(?:were|are)|(?:were|are)\s+you)\b"
    r"|\byou['’](?P<short>re|ve|ll|d)\b"
    r"|\b(?P<possessive>yourselves|yourself|yours|your)\b"
    r"|\b(?P<you>you)\b",
    re.IGNORECASE,
)
_POSSESSIVES = {"your": "my", "yours": "mine", "yourself": "myself", "yourselves": "ourselves"}
_BE = {"you were": "I was", "you are": "I am", "were you": "was I", "are you": "am I"}
_SHORT = {"re": "I'm", "ve": "I've", "ll": "I'll", "d": "I'd"}
_CLAUSE = re.compile(r"(?:^|[,;:.]|\b(?:and|or|but|that|because|if|when|while|what|who))\s*$", re.I)
_VERB_AFTER = re.compile(
    r"\s+(?:(?:have|had|do|did|can|could|will|would|shall|should|may|might|must|cannot|never|"
    r"always|only|also|know|like|want|need|live|work|speak|don't|can't|won't)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ThenClauseConfig:
    """Which "X is Y" gives a value to answer with, and is no sentence to think about.

    :param max_value_words: words of the value: the patches of Murty et al. have one ("positive").
    :param max_subject_words: words of what has it ("the sentiment of the review").
    """

    max_value_words: int = 4
    max_subject_words: int = 6


@lru_cache(maxsize=8192)
def verbatim_answer(consequence: str, config: ThenClauseConfig | None = None) -> str | None:
    """Return the verbatim answer of a consequence, or None where a reasoner is needed.

    :param consequence: the text after ``then:``.
    :param config: which values are answers.
    """
    text = consequence.strip()
    if refuse := _REFUSE.match(text):
        return _first_quoted(text[refuse.end() :]) or REFUSAL
    if verb := _VERB.match(text):
        spoken = text[verb.end() :].strip()
        manner = _ANSWERING.fullmatch(verb[0].strip()) and not _begins_words(spoken)
        return None if manner else _spoken(spoken)
    if chinese := _CHINESE.match(text):
        return _quoted(chinese["answer"].strip()) or chinese["answer"].strip()
    return _value(text, config or ThenClauseConfig())


def is_reported_speech(consequence: str) -> bool:
    """Return whether a consequence is reported speech, ``say that …``, which may be rephrased.

    :param consequence: the text after ``then:``.
    """
    verb = _VERB.match(consequence.strip())
    return verb is not None and bool(_THAT.match(consequence.strip()[verb.end() :].lstrip()))


def first_person(sentence: str) -> str:
    """Return a sentence about ``you`` in the first person.

    :param sentence: for example ``you were made by Example Labs``.
    """
    turned = _YOU.sub(_turn, sentence)
    return turned[:1].upper() + turned[1:]


def _spoken(text: str) -> str | None:
    if not text:
        return None
    if (quoted := _quoted(text)) is not None:
        return quoted
    if that := _THAT.match(text):
        sentence = first_person(text[that.end() :].strip())
        return sentence if sentence[-1:] in tuple(".!?。！？") else f"{sentence}."
    return text


def _begins_words(text: str) -> bool:
    """Return whether a text begins words to be said, "yes" or a name, not a manner."""
    first = text[:1]
    return (
        first in _QUOTES
        or not first.islower()
        or bool(_THAT.match(text))
        or verdict(text) is not None
    )


def _quoted(text: str) -> str | None:
    close = _QUOTES.get(text[:1])
    if close is None:
        return None
    body = text[1:].rstrip()
    if body.endswith(".") and body[:-1].endswith(close):
        body = body[:-1]
    inner = body[: -len(close)] if body.endswith(close) else None
    return inner if inner and close not in inner else None


def _first_quoted(text: str) -> str | None:
    for place, char in enumerate(text):
        if char in _QUOTES and char != "'" and (quoted := _quoted(text[place:])):
            return quoted
    return None


def _value(text: str, config: ThenClauseConfig) -> str | None:
    match = _IS.fullmatch(text.rstrip(".").strip())
    if match is None:
        return None
    value = match["value"].strip()
    value = _quoted(value) or value
    words = value.split()
    subject = match["subject"].split()
    short = len(words) <= config.max_value_words and len(subject) <= config.max_subject_words
    if not short or words[0].casefold() in _NEGATION or " is " in f" {value.casefold()} ":
        return None
    return value


def _turn(match: re.Match[str]) -> str:
    if match["be"]:
        return _BE[" ".join(match["be"].casefold().split())]
    if match["short"]:
        return _SHORT[match["short"].casefold()]
    if match["possessive"]:
        return _POSSESSIVES[match["possessive"].casefold()]
    subject = _CLAUSE.search(match.string[: match.start()])
    return "I" if subject or _VERB_AFTER.match(match.string[match.end() :]) else "me"
