"""The trained gate: a calibrated scope classifier of one or two stages (SERAC's scope classifier).

Mitchell et al. 2022, "Memory-based model editing at scale". The first stage judges every candidate
by features of its encoding and the query's; what it does not rule out a cross-encoder reads
together with the query, and the two are weighed. Where the encoder cannot read the
text, characters decide; a lexical condition is decided by characters too; everything else by
:mod:`errata.gates.features` and the networks of a :class:`errata.gates.artifact.GateArtifact`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from errata.cache.encoder import Encoder
from errata.cache.errors import ModelError
from errata.cache.index.characters import bigrams, normalise
from errata.cache.records import Edit, Fact, Hit, LanguagePatch, Query
from errata.gates.artifact import GateArtifact
from errata.gates.base import Decision, Scores, SingleQueryMixin
from errata.gates.conditions.parse import read_condition
from errata.gates.cross_encoder import CrossEncoder
from errata.gates.embedding_cache import EmbeddingCache
from errata.gates.examples import ExampleThresholds
from errata.gates.features import FeatureMaker, PairFeatures, Scope
from errata.gates.layers import Array, Projection
from errata.gates.routing import make_decision
from errata.gates.text import dice, words

UNKNOWN_SHARE = 0.2
"""Share of unknown tokens above which only a match of characters may hit."""
ALIKE = 0.6
"""Bigram similarity from which an unreadable query is a near miss."""
MOST_SEGMENTS = 12
MOST_READ = 8
"""Candidates of a query that the second stage reads, the first stage's most probable."""
MOST_OF_EDITS = 200_000
"""Texts of edits whose encodings are remembered, apart from queries' (0.3 GB): a question and its
subject of 100,000 edits."""

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


class ScopeClassifier(SingleQueryMixin):
    """Decides with trained networks whether, and how, an edit governs a query.

    Safe under threads; pure: what it remembers are encodings. Of a query's candidates in doubt the
    second stage reads the :data:`MOST_READ` likeliest; the others stay within its band, so that an
    edit among many may be less probable than alone.

    :param encoder: the encoder it was trained with.
    :param stored: the trained gate.
    :param threshold: the probability from which an edit fires, instead of the trained one.
    :param edit_thresholds: thresholds of single edits, by id.
    :param own_tests: let an edit's own tests raise or lower its threshold
        (:func:`errata.gates.examples.threshold_from_examples`).
    :raises ModelError: if the gate was trained with another encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        stored: GateArtifact,
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
        self.encoder, self.stored = encoder, stored
        self.threshold = stored.threshold if threshold is None else threshold
        # settled for the trained threshold; who names another decides alone
        self.agreement_threshold = stored.agreement_threshold if threshold is None else None
        self._edit_thresholds = dict(edit_thresholds or {})
        self._own_tests = ExampleThresholds(self.score_batch) if own_tests else None
        self._memory = EmbeddingCache(encoder)
        self._of_edits = EmbeddingCache(encoder, MOST_OF_EDITS)
        self._features = FeatureMaker(
            self._memory.encode, stored.common_words, self._of_edits.encode
        )
        second = stored.second
        self._reads = None if second is None else CrossEncoder(encoder, second.cross)

    def score_batch(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return calibrated probabilities of each query against its edits.

        Texts without an embedding are encoded in one batch. Regex patches score 0.

        :param queries: n queries, or their texts.
        :param edits: for each query the edits it is scored against.
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
            found[one.number].entailed[one.row] = follows
        return found

    def decide_batch(
        self, queries: Sequence[Query], hits: Sequence[Sequence[Hit]]
    ) -> list[Decision]:
        """Return the decision on each query, given what the cache found."""
        return [
            make_decision(
                query,
                found,
                scores,
                threshold=self.threshold,
                near=self.stored.near,
                agreement_threshold=self.agreement_threshold,
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
        unknown = max(query.unknown_share, float(self._of_edits.unknown_share([text])[0]))
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
        classes = first_stage_classes(self.stored, found)
        held = self.stored.condition(found.named)
        conditions = np.array([one.condition for one in asked for _ in one.parts])
        classes[conditions, :2], classes[conditions, 2] = held[conditions, :2], 0.0
        lengths = np.array([len(one.parts) for one in asked])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        governs = 1.0 - classes[:, 0]
        best = np.array(
            [
                start + int(governs[start : start + length].argmax())
                for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
            ]
        )
        texts = [part for one in asked for part in one.parts]
        return self._weighed(asked, [texts[at] for at in best], classes[best])

    def _weighed(
        self, asked: Sequence[_Asked], parts: Sequence[str], classes: Array
    ) -> tuple[Array, Array]:
        """Return probability and follows, the second stage heard where the first is in doubt."""
        conditions = np.array([one.condition for one in asked])
        second = self.stored.second
        if second is None or self._reads is None:
            return combine_stages(self.stored, classes, conditions)
        read = self._to_read(asked, classes, conditions, second.band)
        sides = [(asked[at].scope, asked[at].condition) for at in read]
        logits = self._reads.of_edits(sides, [parts[at] for at in read])
        probability, follows = first_stage_alone(classes, second.band)
        probability[read], follows[read] = combine_stages(
            self.stored, classes[read], conditions[read], logits
        )
        return probability, follows

    def _to_read(
        self, asked: Sequence[_Asked], classes: Array, conditions: NDArray[np.bool_], band: float
    ) -> list[int]:
        """Return the places that are read together: of each query the most probable in doubt."""
        governs = 1.0 - classes[:, 0]
        of_query: dict[int, list[int]] = {}
        for at, one in enumerate(asked):
            if conditions[at] or governs[at] >= band:
                of_query.setdefault(one.number, []).append(at)
        return sorted(
            at
            for places in of_query.values()
            for at in sorted(places, key=lambda place: -governs[place])[:MOST_READ]
        )

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


def first_stage_classes(stored: GateArtifact, found: PairFeatures) -> Array:
    """Return what the first stage says: none, same and follows, float64 [n, 3], uncalibrated."""
    inputs = scope_inputs(stored.relations, found)
    return _of_three((stored.scope(inputs) + stored.trees(inputs)) / 2)


def _of_three(classes: Array) -> Array:
    """Return none, same and follows, where a network knows only the first two, too."""
    if classes.shape[1] < 3:  # conditions, or trained on pairs that nothing follows from
        classes = np.column_stack([classes, np.zeros(len(classes))])
    return np.asarray(classes, dtype=np.float64)


def first_stage_alone(classes: Array, band: float) -> tuple[Array, Array]:
    """Return probability and follows of what the second stage does not read.

    :param classes: of the first stage, [n, 3].
    :param band: where reading begins; none of these may be more probable.
    """
    governs = 1.0 - classes[:, 0]
    follows = classes[:, 2] / np.maximum(governs, 1e-12)
    return np.minimum(governs, band), follows


def combine_stages(
    stored: GateArtifact,
    classes: Array,
    conditions: NDArray[np.bool_],
    logits: Array | None = None,
) -> tuple[Array, Array]:
    """Return the calibrated probability that each edit governs, and of *follows* if it does.

    :param classes: of the first stage, [n, 3].
    :param conditions: which are conditions, bool [n].
    :param logits: of the second stage, [n, 3]; None leaves it out.
    :return: two float64 [n].
    """
    if logits is not None and stored.second is not None:
        inputs = second_stage_inputs(classes, logits, stored.second.most)
        weighed = _of_three(stored.second.scope(inputs))
        held = _of_three(stored.second.condition(inputs))
        classes = np.where(conditions[:, None], held, weighed)
    governs = 1.0 - classes[:, 0]
    follows = classes[:, 2] / np.maximum(governs, 1e-12)
    calibrated = np.where(
        conditions, stored.condition_calibration(governs), stored.scope_calibration(governs)
    )
    return calibrated, follows


def second_stage_inputs(classes: Array, logits: Array, most: float) -> Array:
    """Return what the second stage weighs: both stages' log-odds against none, float64 [n, 4].

    :param classes: of the first stage, [n, 3].
    :param logits: of the cross-encoder, [n, 3].
    :param most: the first stage's count up to there.
    """
    first = np.log(np.maximum(classes, 1e-6))
    first = np.clip(first[:, 1:] - first[:, :1], -most, most)
    return np.column_stack([first, logits[:, 1:] - logits[:, :1]]).astype(np.float64)


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
