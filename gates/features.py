"""Features of pairs (query, scope), for what their cosine cannot separate.

The scope's subject is removed from both sides; what remains, the *rest*, is the relation.
Example: "capital of Kazakhstan" and "currency of Kazakhstan" share the subject and have a high
cosine, their rests "capital of" and "currency of" a lower one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from errata.cache.records import Vector
from errata.gates.layers import Projection
from errata.gates.text import (
    KIND_NAMES,
    Word,
    dice,
    likeness,
    name_like,
    same_word,
    text_features,
    without,
    words,
)

PLACEHOLDER = "something"

Array = NDArray[np.float64]
Encode = Callable[[Sequence[str]], Vector]


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """Settings of the features. A gate has to be trained with those it runs with.

    :param typed_alike: similarity from which two words may be one word mistyped: one edit in four
        letters, two in eight.
    :param least_shared: share of common letters under which two words have similarity 0: an edit
        may change one letter, so that fewer cannot reach ``typed_alike`` but by transposition.
    """

    typed_alike: float = 0.75
    least_shared: float = 0.7


@dataclass(frozen=True, slots=True)
class Scope:
    """The edit's side of a pair.

    :param text: the edit's question, or a condition in plain words.
    :param subject: the subject; guessed from names in the text where empty.
    :param answer: the edit's answer, which entailed questions may name.
    """

    text: str
    subject: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class PairFeatures:
    """Features of n pairs.

    :param named: float64 [n, f], columns as in :data:`NAMES`.
    :param query_rest: encodings of the queries without the subject, float32 [n, d].
    :param scope_rest: encodings of the scopes without the subject, float32 [n, d].
    """

    named: Array
    query_rest: Vector
    scope_rest: Vector


@dataclass(frozen=True, slots=True)
class _QueryWords:
    """The words of a query, the same against every scope.

    :param all: every word.
    :param content: the words that carry meaning.
    :param names: those that are like names.
    """

    all: tuple[Word, ...]
    content: tuple[Word, ...]
    names: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class _ScopeWords:
    """The words of a scope, the same against every query.

    :param subject: those that name its subject.
    :param name: the subject as written.
    :param answer: plain forms of the answer's words.
    :param kept: the words that carry meaning, without the subject's.
    :param content: plain forms of all words that carry meaning.
    :param rest: the text without the subject.
    """

    subject: tuple[Word, ...]
    name: str
    answer: tuple[str, ...]
    kept: tuple[Word, ...]
    content: list[str]
    rest: str


@dataclass(slots=True)
class _Pair:
    """One pair, split into words; embeddings are added in one batch."""

    query_rest: str = ""
    scope_rest: str = ""
    subject: str = ""
    foreign: str = ""
    query_extra: list[str] = field(default_factory=list)
    query_names: list[str] = field(default_factory=list)
    scope_extra: list[str] = field(default_factory=list)
    query_words: list[str] = field(default_factory=list)
    scope_words: list[str] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)

    def texts(self) -> tuple[list[str], list[str]]:
        """Return the texts of the query and of the scope whose encodings the pair needs."""
        query = [self.query_rest, *([self.foreign] if self.foreign else [])]
        query += [*self.query_extra, *self.query_names]
        query += self.query_words if self.scope_extra else []
        scope = [self.scope_rest, *([self.subject] if self.subject else []), *self.scope_extra]
        scope += self.scope_words if self.query_extra or self.query_names else []
        return query, scope


def subject_words(scope: Scope, common: Collection[str]) -> tuple[Word, ...]:
    """Return the words of the scope's text that name its subject.

    :param common: normal forms of words that name nothing.
    """
    found = words(scope.text)
    named = {word.plain for word in words(scope.subject) if word.content or word.has_digit}
    if named:
        given = tuple(word for word in found if word.plain in named)
        if {word.plain for word in given} == named:
            return given
    return tuple(word for word in found if name_like(word, common))


class FeatureMaker:
    """Computes pair features.

    :param encode: texts to unit rows, float32 [n, d].
    :param common: normal forms of words that name nothing.
    :param encode_scopes: the same for texts of scopes, which repeat and may be cached longer.
    :param config: settings that trained weights depend on.
    """

    def __init__(
        self,
        encode: Encode,
        common: Collection[str],
        encode_scopes: Encode | None = None,
        config: FeatureConfig | None = None,
    ) -> None:
        self.config = config or FeatureConfig()
        self._encode = encode
        self._encode_scopes = encode_scopes or encode
        self._common = frozenset(common)
        # of one batch's pairs many share a query, of many batches' a scope
        self._query_words = lru_cache(maxsize=4096)(self._split_query)
        self._scope_words = lru_cache(maxsize=32768)(self._split_scope)
        self._query_rest = lru_cache(maxsize=32768)(_without_words)

    def make(self, pairs: Sequence[tuple[str, Scope]]) -> PairFeatures:
        """Return the features of n pairs (query, scope)."""
        cut = [self._cut(query, scope) for query, scope in pairs]
        needed = [pair.texts() for pair in cut]
        scopes = list(dict.fromkeys(text for _, some in needed for text in some))
        rows = self._encode_scopes(scopes)
        at = dict(zip(scopes, rows, strict=True))
        asked = dict.fromkeys(text for some, _ in needed for text in some if text not in at)
        at |= zip(asked, self._encode(list(asked)), strict=True)
        named = np.zeros((len(cut), len(NAMES)))
        for row, pair in enumerate(cut):
            _add_similarities(pair, at)
            named[row] = [pair.values[name] for name in NAMES]
        width = rows.shape[1]
        rests = [
            np.stack([at[text] for text in side]) if cut else np.zeros((0, width), np.float32)
            for side in ([pair.query_rest for pair in cut], [pair.scope_rest for pair in cut])
        ]
        return PairFeatures(named, rests[0], rests[1])

    def _split_query(self, text: str) -> _QueryWords:
        found = words(text)
        return _QueryWords(
            found,
            tuple(word for word in found if word.content),
            tuple(word for word in found if name_like(word, self._common)),
        )

    def _split_scope(self, scope: Scope) -> _ScopeWords:
        found = words(scope.text)
        subject = subject_words(scope, self._common)
        own = {word.start for word in subject}
        return _ScopeWords(
            subject,
            scope.subject or " ".join(word.text for word in subject),
            tuple(w.plain for w in words(scope.answer) if w.content or w.has_digit),
            tuple(word for word in found if word.content and word.start not in own),
            [word.plain for word in found if word.content],
            without(scope.text, subject, PLACEHOLDER).rstrip("?.!: "),
        )

    def _cut(self, query: str, scope: Scope) -> _Pair:
        pair, asked, edit = _Pair(), self._query_words(query), self._scope_words(scope)
        values, matched = _subject_values(edit.subject, asked.all, self.config)
        meant = tuple(word.start for word in matched or asked.names)
        pair.query_rest, pair.scope_rest = self._query_rest(query, meant), edit.rest
        taken = {word.start for word in matched}
        rest = [word for word in asked.content if word.start not in taken]
        answered = [w for w in rest if any(same_word(w.plain, form) for form in edit.answer)]
        if answered:
            rest = [word for word in rest if word not in answered]
        shared = [
            (r.start, k.start) for r in rest for k in edit.kept if same_word(r.plain, k.plain)
        ]
        in_query, in_scope = {at for at, _ in shared}, {at for _, at in shared}
        extra = [word for word in rest if word.start not in in_query]
        lacking = [word for word in edit.kept if word.start not in in_scope]
        names = [word for word in extra if word in asked.names]
        pair.query_extra = [word.plain for word in extra if word not in names]
        pair.query_names = [word.plain for word in names]
        pair.scope_extra = [word.plain for word in lacking]
        pair.query_words = [word.plain for word in asked.content]
        pair.scope_words = edit.content
        if edit.subject and not values["subject_whole"]:
            pair.subject = edit.name
            pair.foreign = " ".join(word.text for word in names)
        pair.values = values | {
            "answer_known": float(bool(edit.answer)),
            "answer_there": len({word.plain for word in answered}) / max(1, len(edit.answer)),
            "answer_alone": float(bool(answered) and not matched),
            "names_extra": float(min(4, len(names))),
            "query_extra": float(min(6, len(extra) - len(names))),
            "query_extra_share": (len(extra) - len(names)) / max(1, len(rest)),
            "scope_extra": float(min(6, len(lacking))),
            "scope_extra_share": len(lacking) / max(1, len(edit.kept)),
            "rest_dice": dice([r.plain for r in rest], [k.plain for k in edit.kept]),
        }
        pair.values |= text_features(query, scope.text)
        return pair


def _without_words(text: str, starts: tuple[int, ...]) -> str:
    """Return a text without the words that start at some places, and without marks at its end."""
    dropped = [word for word in words(text) if word.start in starts]
    return without(text, dropped, PLACEHOLDER).rstrip("?.!: ")


def _subject_values(
    subject: Sequence[Word], query: Sequence[Word], config: FeatureConfig
) -> tuple[dict[str, float], list[Word]]:
    """Return features of how the query names the subject, and the words that name it."""
    exact, alike, first_letter, matched = [], [], [], []
    typo_lengths = []
    for wanted in subject:
        best = next((i for i, w in enumerate(query) if same_word(w.plain, wanted.plain)), -1)
        score = 1.0
        if best < 0:  # no word is at once another and at a likeness of 1
            scores = [likeness(w.plain, wanted.plain, config.least_shared) for w in query]
            score = max(scores, default=0.0)
            best = scores.index(score) if scores else -1
        exact.append(float(score == 1.0))
        alike.append(score)
        if score >= config.typed_alike:
            matched.append(query[best])
            first_letter.append(float(query[best].plain[:1] == wanted.plain[:1]))
            if score < 1.0:
                typo_lengths.append(len(wanted.plain))
    order = [word.start for word in matched]
    typed = [score for score in alike if config.typed_alike <= score < 1.0]
    return {
        "subject_known": float(bool(subject)),
        "subject_exact": sum(exact) / len(exact) if exact else 1.0,
        "subject_alike": sum(alike) / len(alike) if alike else 1.0,
        "subject_worst": min(alike, default=1.0),
        "subject_whole": float(all(score == 1.0 for score in alike)),
        "subject_typed": min(typed, default=1.0),
        "subject_typo_length": float(min(typo_lengths, default=0)),
        "subject_typos": float(len(typed)),
        "subject_first_letter": min(first_letter, default=1.0),
        "subject_ordered": float(order == sorted(order)),
        "subject_length": float(min(5, len(subject))),
    }, matched


def _add_similarities(pair: _Pair, at: Mapping[str, Vector]) -> None:
    """Add the features from embeddings."""
    values = pair.values
    values["rest_cosine"] = float(at[pair.query_rest] @ at[pair.scope_rest])
    values["names_cosine"] = (
        float(at[pair.subject] @ at[pair.foreign]) if pair.subject and pair.foreign else 0.0
    )
    for name, extra, others in (
        ("query_extra", pair.query_extra, pair.scope_words),
        ("query_name", pair.query_names, pair.scope_words),
        ("scope_extra", pair.scope_extra, pair.query_words),
    ):
        best = _best_cosines(extra, others, at)
        values[f"{name}_nearest_min"] = float(best.min()) if best.size else 1.0
        values[f"{name}_nearest_mean"] = float(best.mean()) if best.size else 1.0


def _best_cosines(extra: Sequence[str], others: Sequence[str], at: Mapping[str, Vector]) -> Array:
    if not extra:
        return np.zeros(0)
    if not others:
        return np.zeros(len(extra))
    nearest = np.stack([at[word] for word in extra]) @ np.stack([at[word] for word in others]).T
    best: Array = nearest.max(axis=1).astype(np.float64)
    return best


def scope_inputs(relations: Projection, features: PairFeatures) -> Array:
    """Return the inputs of the scope classifiers, float64 [n, f + 2 + 2p].

    Named features; log distance and cosine of the two sides' relations in the projected space; for
    each of its p dimensions their distance and their product.
    """
    query, scope = relations(features.query_rest), relations(features.scope_rest)
    apart, shared = np.abs(query - scope), query * scope
    lengths = np.linalg.norm(query, axis=1) * np.linalg.norm(scope, axis=1)
    distance = np.log(0.01 + np.linalg.norm(apart, axis=1))
    cosine = shared.sum(axis=1) / np.maximum(lengths, 1e-9)
    return np.column_stack([features.named, distance, cosine, apart, shared])


NAMES: tuple[str, ...] = (
    "rest_cosine", "names_cosine",
    "query_extra_nearest_min", "query_extra_nearest_mean",
    "query_name_nearest_min", "query_name_nearest_mean",
    "scope_extra_nearest_min", "scope_extra_nearest_mean",
    "subject_known", "subject_exact", "subject_alike", "subject_worst", "subject_whole",
    "subject_typed", "subject_typo_length", "subject_typos", "subject_first_letter",
    "subject_ordered", "subject_length",
    "answer_known", "answer_there", "answer_alone",
    "names_extra", "query_extra", "query_extra_share", "scope_extra", "scope_extra_share",
    "rest_dice",
    "negation_query", "negation_differs", "past_query", "past_scope", "opens_yes_no", "kind_same",
    "addressed_query", "addressed_scope", "addressed_differs",
    "digits_query_only", "digits_scope_only", "inverted", "bigrams", "trigrams",
    "contained", "contains", "length_query", "length_scope", "length_ratio",
    *KIND_NAMES["query"].values(),
    *KIND_NAMES["scope"].values(),
)  # fmt: skip
"""The named features, in the order of their columns."""
