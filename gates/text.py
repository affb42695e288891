"""Words of a text and their properties; no encoder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz.distance import OSA

from errata.cache.records import Query

_WORD = re.compile(r"\.?[^\W_]+(?:['’.\-&][^\W_]+)*")
_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
_POSSESSIVE = re.compile(r"['’](s|S)?$")

FUNCTION_WORDS = frozenset(
    """a an the this that these those it its they them their he she him her his i me my we us our
    you your one ones some any such own there here of in on at to for from by with about as into
    through over under up down off out and or but if then than so also too just only is are was
    were be been being am do does did doing done have has had having can could will would shall
    should may might must let s t re ve ll d m please tell know say name give hi hello hey thanks
    thank ok okay want wonder wondering question quick need find remind us exactly actually really
    get got like called call calls go goes""".split()
)
QUESTION_WORDS = ("who", "what", "which", "where", "when", "why", "how")
_QUESTION_FORMS = {"whom": "who", "whose": "who", "what's": "what", "whats": "what",
                   "who's": "who", "where's": "where", "how's": "how"}  # fmt: skip
_ASKED_FIRST = frozenset(
    """is are was were am do does did has have had can could will would should may might isn't
    aren't wasn't weren't don't doesn't didn't""".split()
)
_POLITE = frozenset({"you", "i", "we", "someone", "anyone"})
_ASKING = frozenset({"ask", "know", "please", "trouble"})
_KNOWING = frozenset("know happen have remember recall mind by still think perhaps maybe".split())
NEGATIONS = frozenset(
    """not no never none nobody nothing neither nor without isn't aren't wasn't weren't don't
    doesn't didn't can't cannot couldn't won't wouldn't shouldn't hasn't haven't hadn't
    nt""".split()
)

_EMPTY = FUNCTION_WORDS | NEGATIONS | _ASKED_FIRST | {*QUESTION_WORDS, *_QUESTION_FORMS}


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text.

    :param text: as typed, without a possessive ending.
    :param plain: for comparing: case and accents folded.
    :param start: where it begins in the text.
    :param end: where it ends, the possessive ending included.
    :param first: whether it opens a sentence, where a capital tells nothing.
    :param content: whether it carries meaning: neither a function nor a question word, nor a
        negation.
    :param has_digit: whether it is, or holds, a number.
    """

    text: str
    plain: str
    start: int
    end: int
    first: bool
    content: bool
    has_digit: bool


def plain(text: str) -> str:
    """Return the text with case, width and accents folded."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    kept = (character for character in decomposed if not unicodedata.combining(character))
    return unicodedata.normalize("NFC", "".join(kept)).replace("’", "'")


@lru_cache(maxsize=65536)
def words(text: str) -> tuple[Word, ...]:
    """Return the words of a text, in order."""
    found: list[Word] = []
    previous_end = 0
    for match in _WORD.finditer(text):
        between = text[previous_end : match.start()]
        first = not found or any(mark in between for mark in ".?!:;\n\"“'‘(")
        bare = _POSSESSIVE.sub("", match.group()) or match.group()
        form = plain(bare)
        digit = any(character.isdigit() for character in form)
        found.append(Word(bare, form, match.start(), match.end(), first, form not in _EMPTY, digit))
        previous_end = match.end()
    return tuple(found)


@lru_cache(maxsize=65536)
def content_words(text: str) -> tuple[Word, ...]:
    """Return the words of a text that carry meaning, in order: no function words."""
    return tuple(word for word in words(text) if word.content)


def starts_yes_no(text: str) -> bool:
    """Return whether the text opens as a yes-or-no question."""
    found = words(text)
    return len(found) > 1 and found[0].plain in _ASKED_FIRST and not _politely(found, 0)


def asks_yes_no(text: str) -> bool:
    """Return whether a sentence or clause of the text opens as a yes-or-no question."""
    found = words(text)
    return any(
        word.first and word.plain in _ASKED_FIRST and not _politely(found, at)
        for at, word in enumerate(found[:-1])
    )


def _politely(found: Sequence[Word], at: int) -> bool:
    """Return whether a verb and the next word are a polite introduction.

    "Do you know the capital …" does; "Do you call a young horse a foal?" asks yes or no.
    """
    verb, who = found[at].plain, found[at + 1].plain
    third = found[at + 2].plain if at + 2 < len(found) else ""
    if who == "i":
        return third in _ASKING or (third in ("get", "have") and verb in ("could", "may", "can"))
    if verb in ("do", "did") and who == "you":
        return third in _KNOWING
    return who in _POLITE


@lru_cache(maxsize=16384)
def negated(text: str) -> bool:
    """Return whether the text has a negation."""
    return any(word.plain in NEGATIONS or word.plain.endswith("n't") for word in words(text))


@lru_cache(maxsize=65536)
def stems(form: str) -> tuple[str, ...]:
    """Return a plain form and what it may be an inflection of (plural, past, -ing)."""
    found = [form]
    for ending, others in (
        ("ies", ("y",)),
        ("es", ("", "e")),
        ("s", ("",)),
        ("ied", ("y",)),
        ("ed", ("", "e")),
        ("ing", ("", "e")),
    ):
        if form.endswith(ending) and len(form) - len(ending) >= 3:
            found += [form[: -len(ending)] + other for other in others]
    return tuple(found)


def same_word(one: str, other: str) -> bool:
    """Return whether two normal forms are inflections of one word."""
    if one == other:
        return True
    # what differs in its first letters is no inflection
    return one[:3] == other[:3] and not frozenset(stems(one)).isdisjoint(stems(other))


def likeness(one: str, other: str, least: float = 0.7) -> float:
    """Return the similarity of two normal forms: 1 minus edits per letter, 0 to 1.

    Edits are insertions, deletions, substitutions and transpositions (optimal string alignment).

    :param least: the similarity under which it is 0.
    """
    return OSA.normalized_similarity(one, other, score_cutoff=least) if one and other else 0.0


def dice(one: Collection[str], other: Collection[str]) -> float:
    """Return the Dice coefficient of two sets, 0 to 1."""
    total = len(one) + len(other)
    return 2 * len(frozenset(one) & frozenset(other)) / total if total else 0.0


def segments(query: Query, limit: int) -> tuple[str, ...]:
    """Return the segments of a query that are scored: windows, and sentences of two or more words.

    :param limit: segments at most.
    """
    found = dict.fromkeys(query.windows)
    for window in query.windows:
        sentences = [part.strip() for part in _SENTENCES.split(window) if part.strip()]
        if len(sentences) > 1:
            found |= dict.fromkeys(part for part in sentences if len(words(part)) > 1)
    return tuple(found)[:limit]
