"""How the words of a query and a scope match, which encodings blur: names, typing errors, numbers.

No word list but function words, and no encoding of parts of a text: each is a count over the words
of two texts, so that two questions cost a fraction of a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from errata.gates.text import Word, content_words, likeness, same_word, words
from errata.gates.wording import Wording

Array = NDArray[np.float64]

NAMES: tuple[str, ...] = (
    "cosine", "overlap", "negation",
    "scope_found", "query_found", "scope_lacking", "query_extra", "worst", "mistyped",
    "name_worst", "named", "names_extra", "digits_lacking", "digits_extra",
    "answer_named", "answer_known",
)  # fmt: skip
"""The features, in the order of their columns; :func:`pair_features` explains them."""


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """Settings of the features. A gate has to be trained with those it runs with.

    :param typed_alike: similarity from which two words may be one word mistyped: one edit in four
        letters, two in eight. A word with a digit is equal or another.
    :param most: counts are limited to this; longer texts have more words that are not shared, and
        say no more by them.
    """

    typed_alike: float = 0.75
    most: int = 6


@dataclass(frozen=True, slots=True)
class Scope:
    """The edit's side of a pair.

    :param text: the edit's question, or a condition in plain words.
    :param subject: the subject, where it is known.
    :param answer: the edit's answer, which entailed questions may name.
    """

    text: str
    subject: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A query, or a part of it, and the scope of an edit.

    :param query: the text.
    :param scope: the edit's side.
    :param cosine: of the two texts.
    """

    query: str
    scope: Scope
    cosine: float


def pair_features(pairs: Sequence[Pair], config: FeatureConfig | None = None) -> Array:
    """Return the features of n pairs, float64 [n, f], columns as in :data:`NAMES`.

    The cosine; overlap and negation as in :class:`~errata.gates.wording.Wording`; how far the words
    of the scope are found in the query, and the other way round, in the mean; how many are not
    found on either side; the worst of the scope's words, and how many of them are mistyped; of
    those written like names the worst, whether there are any, and how many the query adds; numbers
    that only one side has; the share of the answer's words that the query names, and whether there
    is an answer.
    """
    config = config or FeatureConfig()
    rows = [_features(pair, config) for pair in pairs]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(NAMES))


def _features(pair: Pair, config: FeatureConfig) -> tuple[float, ...]:
    asked, scope = content_words(pair.query), content_words(pair.scope.text)
    answer = _answer(pair.scope.answer)
    alike = [[_alike(one, other, config) for other in asked] for one in scope]
    found = [max(row, default=0.0) for row in alike]
    best_of = [max(column) for column in zip(*alike, strict=True)] if scope else [0.0] * len(asked)
    said = list(zip(asked, best_of, strict=True))
    # what names the answer is no addition to the question
    extra = [(word, best) for word, best in said if best or word.plain not in answer]
    named = [best for word, best in zip(scope, found, strict=True) if _like_name(word)]
    digits = {word.plain for word in scope if word.has_digit}
    asked_digits = {word.plain for word, _ in extra if word.has_digit}
    known = {word.plain for word, best in said if not best and word.plain in answer}
    wording, most = Wording.of(pair.query, pair.scope.text), config.most
    return (
        pair.cosine, wording.overlap, wording.negation,
        _mean(found), _mean([best for _, best in extra]),
        min(found.count(0.0), most), min(sum(not best for _, best in extra), most),
        min(found, default=1.0), min(sum(0.0 < best < 1.0 for best in found), most),
        min(named, default=1.0), float(bool(named)),
        min(sum(not best and _like_name(word) for word, best in extra), most),
        min(len(digits - asked_digits), most), min(len(asked_digits - digits), most),
        len(known) / max(1, len(answer)), float(bool(answer)),
    )  # fmt: skip


@lru_cache(maxsize=65536)
def _answer(text: str) -> frozenset[str]:
    return frozenset(word.plain for word in words(text) if word.content or word.has_digit)


def _alike(one: Word, other: Word, config: FeatureConfig) -> float:
    """Return 1 for forms of one word, less for one that may be the other mistyped, else 0."""
    if same_word(one.plain, other.plain):
        return 1.0
    if one.has_digit or other.has_digit:
        return 0.0
    return likeness(one.plain, other.plain, config.typed_alike)


def _like_name(word: Word) -> bool:
    """Return whether a word is written like a name: with a capital within a sentence, or digits."""
    return word.has_digit or (word.text != word.text.lower() and not word.first)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 1.0
