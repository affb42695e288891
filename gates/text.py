"""Words of a text, their properties, and features of how two texts are worded; no encoder."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

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
_POLITENESS = re.compile(
    r"\b(?:can|could|would|will|do|did|might) you\s+(?:please |kindly |even |happen to )?"
    r"(?:tell|know|say|help|give|name|explain|show|find|remember|have any idea|call)\b"
    r"|\bthank(?:s to| you)\b|\b(?:wanted to |want to |to |i )ask you\b|\b(?:if|as) you\b"
    r"|\bdo you (?:think|call|find out|write|pay)\b|\bmay i ask you\b",
    re.IGNORECASE,
)
_YOU = re.compile(r"\b(?:you|your|yours|yourself)\b", re.IGNORECASE)
NEGATIONS = frozenset(
    """not no never none nobody nothing neither nor without isn't aren't wasn't weren't don't
    doesn't didn't can't cannot couldn't won't wouldn't shouldn't hasn't haven't hadn't
    nt""".split()
)

_EMPTY = FUNCTION_WORDS | NEGATIONS | _ASKED_FIRST | {*QUESTION_WORDS, *_QUESTION_FORMS}


KINDS = (*QUESTION_WORDS, "yesno", "none")
PAST = frozenset({"was", "were", "did", "had", "used", "former", "formerly", "previous"})

KIND_NAMES = {side: {kind: f"{side}_asks_{kind}" for kind in KINDS} for side in ("query", "scope")}
"""Names of the features of how a side asks, by side and kind of question."""


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


@lru_cache(maxsize=16384)
def question_kind(text: str) -> str:
    """Return how a text asks: a question word, ``yesno``, or ``none``.

    "Could you tell me who …" asks who; "Is … the capital" asks yes or no.
    """
    found = words(text)
    for word in found:
        kind = _QUESTION_FORMS.get(word.plain, word.plain)
        if kind in QUESTION_WORDS:
            return kind
    for position, word in enumerate(found[:-1]):
        if word.plain in _ASKED_FIRST and (position == 0 or word.first):
            return "none" if _politely(found, position) else "yesno"
    return "none"


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
def addressed(text: str) -> bool:
    """Return whether the text is about its addressee ("Who made you?").

    "Can you tell me …", "do you know …" and "thank you" are mere politeness.
    """
    return _YOU.search(_POLITENESS.sub(" ", text)) is not None


@lru_cache(maxsize=16384)
def negated(text: str) -> bool:
    """Return whether the text has a negation."""
    return any(word.plain in NEGATIONS or word.plain.endswith("n't") for word in words(text))


def name_like(word: Word, common: Collection[str]) -> bool:
    """Return whether a word is name-like: capitals, digits, or no common word.

    :param common: plain forms of words that are no names.
    """
    if not word.content:
        return False
    if word.has_digit:
        return True
    common_word = any(stem in common for stem in stems(word.plain))
    if word.text != word.text.lower() and not word.first:
        return not (common_word and word.text.isupper())
    return not common_word


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


@lru_cache(maxsize=65536)
def likeness(one: str, other: str, least_shared: float = 0.7) -> float:
    """Return the similarity of two normal forms: 1 minus edits per letter, 0 to 1.

    Edits are insertions, deletions, substitutions and transpositions (Damerau-Levenshtein).

    :param least_shared: share of common letters under which it is 0.
    """
    longest = max(len(one), len(other))
    if not longest or (Counter(one) & Counter(other)).total() < least_shared * longest:
        return 0.0
    two_before: list[int] = []
    before = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        row = [i]
        for j, against in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != against))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == against:
                cost = min(cost, two_before[j - 2] + 1)
            row.append(cost)
        two_before, before = before, row
    return 1.0 - before[-1] / longest


@lru_cache(maxsize=65536)
def grams(text: str, size: int) -> frozenset[str]:
    """Return the character n-grams of a text's letters and digits, words kept apart."""
    joined = f" {' '.join(word.plain for word in words(text)) or plain(text)} "
    return frozenset(joined[i : i + size] for i in range(max(1, len(joined) - size + 1)))


def dice(one: Collection[str], other: Collection[str]) -> float:
    """Return the Dice coefficient of two sets, 0 to 1."""
    total = len(one) + len(other)
    return 2 * len(frozenset(one) & frozenset(other)) / total if total else 0.0


def without(text: str, dropped: Iterable[Word], placeholder: str) -> str:
    """Return the text with each run of the dropped words replaced by one placeholder.

    Function words between two dropped ones go with them ("Lord of the Rings").
    """
    all_words = words(text)
    gone = {word.start for word in dropped}
    runs: list[tuple[int, int]] = []
    open_run: tuple[int, int] | None = None
    for word in all_words:
        if word.start in gone:
            start = open_run[0] if open_run else word.start
            open_run = (start, word.end)
        elif open_run and word.content:
            runs.append(open_run)
            open_run = None
    if open_run:
        runs.append(open_run)
    return _cut(text, _leading_articles(text, runs), placeholder)


def _leading_articles(text: str, runs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Widen each run to the article before it, so that "the UK" and "Peru" leave the same."""
    wider = []
    for start, end in runs:
        before = re.search(r"\b(?:the|a|an|The|A|An)\s+$", text[:start])
        wider.append((before.start() if before else start, end))
    return wider


def _cut(text: str, runs: Sequence[tuple[int, int]], placeholder: str) -> str:
    pieces, at = [], 0
    for start, end in runs:
        possessive = _POSSESSIVE.search(text[start:end])
        pieces += [text[at:start], placeholder + (possessive.group() if possessive else "")]
        at = end
    rest = " ".join("".join((*pieces, text[at:])).split())
    return rest[:1].upper() + rest[1:]


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


@dataclass(frozen=True, slots=True)
class _TextTraits:
    """Traits of one text."""

    kind: str
    negated: bool
    past: bool
    yes_no: bool
    addressed: bool
    digits: frozenset[str]
    bigrams: frozenset[str]
    trigrams: frozenset[str]
    length: int


@lru_cache(maxsize=32768)
def _text_traits(text: str) -> _TextTraits:
    found = words(text)
    return _TextTraits(
        question_kind(text),
        negated(text),
        any(word.plain in PAST for word in found),
        starts_yes_no(text),
        addressed(text),
        frozenset(word.plain for word in found if word.has_digit),
        grams(text, 2),
        grams(text, 3),
        len(found),
    )


def text_features(query: str, scope: str) -> dict[str, float]:
    """Return the features of how two texts are worded, by name, for a query and a scope."""
    asked, edit = _text_traits(query), _text_traits(scope)
    shared = len(asked.trigrams & edit.trigrams)
    values = {
        "negation_query": float(asked.negated),
        "negation_differs": float(asked.negated != edit.negated),
        "past_query": float(asked.past),
        "past_scope": float(edit.past),
        "opens_yes_no": float(asked.yes_no),
        "addressed_query": float(asked.addressed),
        "addressed_scope": float(edit.addressed),
        "addressed_differs": float(asked.addressed != edit.addressed),
        "kind_same": float(asked.kind == edit.kind),
        "digits_query_only": float(min(3, len(asked.digits - edit.digits))),
        "digits_scope_only": float(min(3, len(edit.digits - asked.digits))),
        "inverted": _inverted(words(query), words(scope)),
        "bigrams": dice(asked.bigrams, edit.bigrams),
        "trigrams": dice(asked.trigrams, edit.trigrams),
        "contained": shared / max(1, len(edit.trigrams)),
        "contains": shared / max(1, len(asked.trigrams)),
        "length_query": math.log1p(asked.length),
        "length_scope": math.log1p(edit.length),
        "length_ratio": math.log((asked.length + 1) / (edit.length + 1)),
    }
    return values | _kind_values("query", asked.kind) | _kind_values("scope", edit.kind)


@lru_cache
def _kind_values(side: str, kind: str) -> dict[str, float]:
    """Return the features of how a side asks: 1 for its kind, 0 for the others."""
    return {name: float(one == kind) for one, name in KIND_NAMES[side].items()}


def _inverted(query: Sequence[Word], scope: Sequence[Word]) -> float:
    """Return the share of pairs of shared content words that stand in the other order, 0 to 1."""
    places = {word.plain: word.start for word in reversed(scope) if word.content}
    shared = list(dict.fromkeys(w.plain for w in query if w.content and w.plain in places))
    order = [places[form] for form in shared]
    total = len(order) * (len(order) - 1) // 2
    turned = sum(a > b for i, a in enumerate(order) for b in order[i + 1 :])
    return turned / total if total else 0.0
