"""Features of how a query and a scope are worded, whatever their subject.

Negation, tense, the kind of question, digits, order of the words, letters shared, and length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from errata.gates.text import (
    QUESTION_WORDS,
    Word,
    addressed,
    dice,
    grams,
    negated,
    question_kind,
    starts_yes_no,
    words,
)

KINDS = (*QUESTION_WORDS, "yesno", "none")
PAST = frozenset({"was", "were", "did", "had", "used", "former", "formerly", "previous"})

KIND_NAMES = {side: {kind: f"{side}_asks_{kind}" for kind in KINDS} for side in ("query", "scope")}
"""Names of the features of how a side asks, by side and kind of question."""


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
