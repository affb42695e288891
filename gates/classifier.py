"""The first trained gate: a calibrated classifier over pair features (SERAC's scope classifier).

Mitchell et al. 2022, "Memory-based model editing at scale". Where the encoder cannot read the
text, characters decide; a lexical condition is decided by characters too; everything else by
:mod:`errata.gates.features` and the networks of a :class:`errata.gates.stored.StoredGate`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from errata.cache.characters import bigrams, normalise
from errata.cache.encoder import Encoder
from errata.cache.errors import ModelError
from errata.cache.records import Edit, Fact, Hit, LanguagePatch, Query
from errata.gates.base import Decision, Scores
from errata.gates.conditions import read_condition
from errata.gates.features import FeatureMaker, PairFeatures, Scope
from errata.gates.memory import EncodingMemory
from errata.gates.network import Array, Projection
from errata.gates.own_tests import OwnTests
from errata.gates.routing import settle
from errata.gates.stored import StoredGate
from errata.gates.words import dice, words

UNKNOWN_SHARE = 0.2
"""Share of unknown tokens above which only a match of characters may hit."""
ALIKE = 0.6
"""Bigram similarity from which an unreadable query is a near miss."""
MOST_SEGMENTS = 12

_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True, slots=True)
class _Asked:
    """One query held against one edit, ready for the networks.

    :param number: the query's place in the batch.
    :param row: the edit's place among those the query is held against.
    :param parts: the query's segments.
    :param scope: its side of the pairs.
    :param condition: whether the condition network decides.
    """

    number: int
    row: int
    parts: tuple[str, ...]
    scope: Scope
    condition: bool


class ScopeClassifier:
    """Decides with trained networks whether, and how, an edit governs a query.

    Safe under threads; pure: what it remembers are encodings.

    :param encoder: the encoder it was trained with.
    :param stored: the trained gate.
    :param threshold: the probability from which an edit fires, instead of the trained one.
    :param edit_thresholds: thresholds of single edits, by id.
    :param own_tests: let an edit's own tests raise or lower its threshold
        (:func:`errata.gates.own_tests.own_threshold`).
    :raises ModelError: if the gate was trained with another encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        stored: StoredGate,
        *,
        threshold: float | None = None,
        edit_thresholds: Mapping[str, float] | None = None,
        own_tests: bool = True,
    ) -> None:
        if encoder.fingerprint != stored.encoder:
            raise ModelError(
                f"this gate was trained with the encoder {stored.encoder}, found "
                f"{encoder.fingerprint}; use the encoder it was trained with, or train a gate for "
                "this one: `errata gate train --out DIR`"
            )
        self.stored = stored
        self.threshold = stored.threshold if threshold is None else threshold
        self._edit_thresholds = dict(edit_thresholds or {})
        self._own_tests = OwnTests(self.score_batch) if own_tests else None
        self._memory = EncodingMemory(encoder)
        self._features = FeatureMaker(self._memory.encode, stored.common_words)

    def score(self, query: Query | str, edits: Sequence[Edit | Hit]) -> Scores:
        """Return calibrated probabilities of one query against each of n edits.

        :param query: the query, or its text.
        :param edits: edits or hits; a hit brings its encoding along.
        :return: probability and follows, float64 [n]. Regex patches score 0: they are no
            question of meaning.
        """
        return self.score_batch([query], [edits])[0]

    def score_batch(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return for each query what :meth:`score` would, encoding what is new at once.

        :param queries: the queries.
        :param edits: for each query, the edits it is held against.
        """
        found = []
        asked: list[_Asked] = []
        for number, (query, against) in enumerate(zip(queries, edits, strict=True)):
            query = self._read(query)
            found.append(Scores(np.zeros(len(against)), np.zeros(len(against))))
            parts = segments(query)
            for row, edit in enumerate(against):
                plain = edit.edit if isinstance(edit, Hit) else edit
                certain = self._by_characters(query, plain)
                if certain is None:
                    asked.append(_Asked(number, row, parts, *_side(plain)))
                else:
                    found[number].probability[row] = certain
        for one, governs, follows in zip(asked, *self._by_meaning(asked), strict=True):
            found[one.number].probability[one.row] = governs
            found[one.number].follows[one.row] = follows
        return found

    def decide(self, query: Query, hits: Sequence[Hit]) -> Decision:
        """Return the decision for one query, given what the cache found; no hits, no edit fires."""
        return self.decide_batch([query], [hits])[0]

    def decide_batch(
        self, queries: Sequence[Query], hits: Sequence[Sequence[Hit]]
    ) -> list[Decision]:
        """Return for each query what :meth:`decide` would."""
        return [
            settle(
                query,
                found,
                scores,
                threshold=self.threshold,
                near=self.stored.near,
                edit_thresholds=self._thresholds(found),
            )
            for query, found, scores in zip(
                queries, hits, self.score_batch(queries, hits), strict=True
            )
        ]

    def _read(self, query: Query | str) -> Query:
        if not isinstance(query, str):
            return query
        windows = self._memory.windows(query)
        unknown = float(self._memory.unknown_share([query])[0])
        return Query(query, windows, np.zeros((0, 0), np.float32), unknown)

    def _by_characters(self, query: Query, edit: Edit) -> float | None:
        """Return the probability where characters decide, None where meaning has to."""
        if not isinstance(edit, Fact | LanguagePatch):
            return 0.0
        text = edit.scope
        if isinstance(edit, LanguagePatch):
            condition = read_condition(edit.condition)
            if condition.certain:
                return float(condition.holds(query.text))
            text = condition.text
        wanted, found = normalise(text), normalise(query.text)
        if wanted == found:
            return 1.0
        unknown = max(query.unknown_share, float(self._memory.unknown_share([text])[0]))
        if unknown <= UNKNOWN_SHARE:
            return None
        if dice(bigrams(wanted), bigrams(found)) < ALIKE:
            return 0.0
        return self.stored.near * self._edit_thresholds.get(edit.id, self.threshold)

    def _by_meaning(self, asked: Sequence[_Asked]) -> tuple[Array, Array]:
        """Return probability and follows of each edit, of its query's best segment each."""
        if not asked:  # an encoder is not loaded for nothing
            return np.zeros(0), np.zeros(0)
        found = self._features.make([(part, one.scope) for one in asked for part in one.parts])
        governs, follows = judge(self.stored, found)
        held = judge_conditions(self.stored, found)
        best, told = np.zeros(len(asked)), np.zeros(len(asked))
        start = 0
        for row, one in enumerate(asked):
            mine = slice(start, start + len(one.parts))
            start = mine.stop
            if one.condition:
                best[row] = held[mine].max()
            else:
                at = int(governs[mine].argmax())
                best[row], told[row] = governs[mine][at], follows[mine][at]
        return best, told

    def _thresholds(self, hits: Sequence[Hit]) -> dict[str, float]:
        """Return the thresholds that differ from the gate's own: of conditions, of single edits."""
        edits = [hit.edit for hit in hits if hit.edit.id not in self._edit_thresholds]
        found = {edit.id: self._usual(edit) for edit in edits}
        if self._own_tests is not None:
            found |= self._own_tests.thresholds(edits, self._usual)
        return found | self._edit_thresholds

    def _usual(self, edit: Edit) -> float:
        """Return the threshold of an edit without tests."""
        if isinstance(edit, LanguagePatch):
            condition = read_condition(edit.condition)
            if condition.kind in ("topic", "claim"):
                return self.stored.condition_threshold
        return self.threshold


def judge(stored: StoredGate, found: PairFeatures) -> tuple[Array, Array]:
    """Return the calibrated probability that each scope governs, and of *follows* if it does.

    :return: two float64 [n].
    """
    inputs = scope_inputs(stored.relations, found)
    classes = (stored.scope(inputs) + stored.trees(inputs)) / 2
    governs = 1.0 - classes[:, 0]
    told = classes[:, 2] if classes.shape[1] > 2 else np.zeros(len(classes))
    follows = told / np.maximum(governs, 1e-12)
    return stored.scope_calibration(governs), follows


def judge_conditions(stored: StoredGate, found: PairFeatures) -> Array:
    """Return the calibrated probability that each condition holds, float64 [n]."""
    return stored.condition_calibration(stored.condition(found.named)[:, 1])


def scope_inputs(relations: Projection, found: PairFeatures) -> Array:
    """Return the inputs of the scope classifiers, float64 [n, f + 2 + 2p].

    Named features; log distance and cosine of the rests in the space of relations; for each of
    its dimensions their distance and their product.
    """
    query, scope = relations(found.query_rest), relations(found.scope_rest)
    apart, shared = np.abs(query - scope), query * scope
    lengths = np.linalg.norm(query, axis=1) * np.linalg.norm(scope, axis=1)
    distance = np.log(0.01 + np.linalg.norm(apart, axis=1))
    cosine = shared.sum(axis=1) / np.maximum(lengths, 1e-9)
    return np.column_stack([found.named, distance, cosine, apart, shared])


def segments(query: Query) -> tuple[str, ...]:
    """Return the pieces of a query that are scored: its windows, and sentences that say enough."""
    found = dict.fromkeys(query.windows)
    for window in query.windows:
        sentences = [part.strip() for part in _SENTENCES.split(window) if part.strip()]
        if len(sentences) > 1:
            found |= dict.fromkeys(part for part in sentences if len(words(part)) > 1)
    return tuple(found)[:MOST_SEGMENTS]


def _side(edit: Edit) -> tuple[Scope, bool]:
    """Return the edit's side of a pair, and whether it is a condition to be held by meaning."""
    if isinstance(edit, LanguagePatch):
        condition = read_condition(edit.condition)
        return Scope(condition.text), condition.kind in ("topic", "claim")
    if not isinstance(edit, Fact):
        return Scope(edit.scope), False
    answer = (edit.secret or "") if edit.forget else edit.answer
    return Scope(edit.question, edit.subject or "", answer), False
