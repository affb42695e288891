"""The trained gate: a calibrated scope classifier of one or two stages.

The scope classifier of SERAC (Mitchell et al. 2022, "Memory-based model editing at scale"). The
first stage scores every candidate by pair features (:mod:`errata.gates.features`); the candidates
it leaves in doubt are reranked by a cross-encoder, and both stages' scores are combined. Text that
the encoder cannot read, and lexical or formal conditions, are decided by characters and rules.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from errata.cache.encoder import EmbeddingCache, Encoder, encode_queries
from errata.cache.errors import ModelError
from errata.cache.index.terms import bigrams
from errata.cache.records import Edit, Fact, Hit, LanguagePatch, Query
from errata.cache.text.normalize import compare, normalize_query
from errata.deprecation import renamed_options
from errata.gates.artifact import GateArtifact
from errata.gates.base import Scores, ThresholdGate
from errata.gates.conditions.parse import read_condition
from errata.gates.cross_encoder import CrossEncoder
from errata.gates.examples import Evidence, NearestExamples, moved, nearest_examples
from errata.gates.features import FeatureConfig, FeatureMaker, Scope
from errata.gates.layers import Array
from errata.gates.stages import combine_stages, first_stage_classes, first_stage_scores
from errata.gates.text import dice, segments
from errata.gates.wording import Wording


@dataclass(frozen=True, slots=True)
class ClassifierConfig:
    """Settings of the classifier that are not trained.

    :param max_unknown_share: share of tokens unknown to the encoder above which only matching
        characters hit.
    :param near_miss_similarity: bigram similarity (Dice) from which unreadable text is a near miss.
    :param max_segments: segments of a query that are scored.
    :param rerank_top_k: candidates of a query that the cross-encoder scores, the first stage's
        most probable. On tune data no decision differed down to 2 (``results/rerank.md``); one
        more leaves room for caches that are fuller.
    :param scored_examples: examples of an edit that are scored, the nearest by cosine; its own
        question is scored in any case, since how the edit governs the query depends on it.
    :param max_answer_words: words of an answer that is read with its question; a longer one is
        not. Entailed questions name a short answer ("Is Astana the capital?"); of a paragraph the
        words drown the question.
    :param edit_cache_size: embeddings of edits' texts kept (0.3 GB): question and subject of
        100,000 edits.
    :param features: settings of the features, as the gate was trained with.
    """

    max_unknown_share: float = 0.2
    near_miss_similarity: float = 0.6
    max_segments: int = 12
    rerank_top_k: int = 3
    scored_examples: int = 1
    max_answer_words: int = 8
    edit_cache_size: int = 200_000
    features: FeatureConfig = field(default_factory=FeatureConfig)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A query of the batch, and the question or condition that the networks score it against."""

    query_index: int
    segments: tuple[str, ...]
    scope: Scope
    is_condition: bool


@dataclass(frozen=True, slots=True)
class _Group:
    """A query of the batch, one of its edits, and the pairs of the two.

    :param query_index: of the query.
    :param edit_index: of the edit, among those of the query.
    :param places: of the pairs, the one with the edit's own question or condition first.
    :param nearest: the edit's examples.
    :param known: what is known beside the trained score.
    :param is_condition: whether the edit is a language patch.
    """

    query_index: int
    edit_index: int
    places: slice
    nearest: NearestExamples
    known: Evidence
    is_condition: bool


class ScopeClassifier(ThresholdGate):
    """Scores with trained networks whether, and how, an edit governs a query.

    Safe under threads; pure: only embeddings are cached. Candidates beyond the ``rerank_top_k``
    that are reranked keep a probability of at most the reranking threshold, so an edit among many
    may score lower than alone.

    :param encoder: the encoder it was trained with.
    :param artifact: the trained gate.
    :param threshold: the probability from which an edit fires, in place of the trained one; the
        base model is then not consulted.
    :param edit_thresholds: thresholds of single edits, by id.
    :param use_patch_tests: without effect; goes with the next version.
    :param config: settings that are not trained.
    :raises ModelError: if the gate was trained with another encoder.
    """

    @renamed_options(stored="artifact", own_tests="use_patch_tests")
    def __init__(
        self,
        encoder: Encoder,
        artifact: GateArtifact,
        *,
        threshold: float | None = None,
        edit_thresholds: Mapping[str, float] | None = None,
        use_patch_tests: bool | None = None,
        config: ClassifierConfig | None = None,
    ) -> None:
        if use_patch_tests is not None:
            warnings.warn(
                "use_patch_tests has no effect since version 0.2: what a patch lists decides",
                DeprecationWarning,
                stacklevel=3,
            )
        if encoder.fingerprint != artifact.encoder:
            raise ModelError(
                f"this gate was trained with the encoder {artifact.encoder}, found "
                f"{encoder.fingerprint}; use the encoder it was trained with, or train a gate for "
                "this one: `errata gate train --out DIR`"
            )
        default = artifact.threshold if threshold is None else threshold
        super().__init__(default, artifact.near, edit_thresholds)
        self.encoder, self.artifact = encoder, artifact
        self.config = config or ClassifierConfig()
        # the agreement threshold was chosen together with the trained threshold
        self.agreement_threshold = artifact.agreement_threshold if threshold is None else None
        self._query_embeddings = EmbeddingCache(encoder)
        self._edit_embeddings = EmbeddingCache(encoder, self.config.edit_cache_size)
        self._features = FeatureMaker(
            self._query_embeddings.encode,
            artifact.common_words,
            self._edit_embeddings.encode,
            self.config.features,
        )
        second = artifact.second
        self._cross_encoder = None if second is None else CrossEncoder(encoder, second.cross)

    def score_unlisted(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return calibrated probabilities of each query against its edits.

        Texts without an embedding are encoded in one batch. Regex patches score 0.
        """
        texts = list(dict.fromkeys(query for query in queries if isinstance(query, str)))
        encoded = dict(zip(texts, encode_queries(self._query_embeddings, texts), strict=True))
        if self.artifact.examples is not None:  # at once, for _known
            plain_edits = (one.edit if isinstance(one, Hit) else one for e in edits for one in e)
            self._edit_embeddings.encode([e.scope for e in plain_edits if isinstance(e, Fact)])
        scores: list[Scores] = []
        groups: list[_Group] = []
        pairs: list[_Pair] = []
        for query_index, (query, against) in enumerate(zip(queries, edits, strict=True)):
            if isinstance(query, str):
                query = encoded[query]
            scores.append(Scores(np.zeros(len(against)), np.zeros(len(against))))
            parts = segments(query, self.config.max_segments)
            for edit_index, edit in enumerate(against):
                certain = self._score_by_characters(query, edit)
                if certain is not None:
                    scores[query_index].probability[edit_index] = certain
                    continue
                nearest = nearest_examples(query, edit, self._edit_embeddings)
                plain = edit.edit if isinstance(edit, Hit) else edit
                if nearest.against and plain.examples:
                    continue
                known = self._known(query, plain, nearest)
                sides = self._sides(plain, nearest, self._reads(known))
                places = slice(len(pairs), len(pairs) + len(sides))
                condition = isinstance(plain, LanguagePatch)
                groups.append(_Group(query_index, edit_index, places, nearest, known, condition))
                pairs += [_Pair(query_index, parts, *side) for side in sides]
        governs, entailed = self._score_pairs(pairs)
        for group in groups:
            one, at = scores[group.query_index], group.edit_index
            one.probability[at] = self._combined(governs[group.places], group)
            if len(governs[group.places]):
                # joint: the trained gate judges the relation where it takes the query for governed
                first = group.places.start
                joint = governs[first] * entailed[first] / max(one.probability[at], 1e-12)
                one.entailed[at] = min(1.0, joint)
        return scores

    def _score_by_characters(self, query: Query, edit: Edit | Hit) -> float | None:
        """Return the probability where characters or a rule decide it, else None."""
        edit = edit.edit if isinstance(edit, Hit) else edit
        if not isinstance(edit, Fact | LanguagePatch):
            return 0.0
        text = edit.scope
        if isinstance(edit, LanguagePatch):
            condition = read_condition(edit.condition)
            if condition.certain:
                return float(condition.holds(query.text))
            text = condition.text
            if compare(text, query.text) == "same":
                return 1.0
        if self._readable(query.unknown_share, text, *edit.examples):
            return None
        alike = dice(bigrams(normalize_query(text)), bigrams(normalize_query(query.text)))
        if alike < self.config.near_miss_similarity:
            return 0.0
        return self._near * self._edit_thresholds.get(edit.id, self.threshold)

    def _readable(self, unknown_share: float, *texts: str) -> bool:
        """Return whether the encoder can read a query and at least one of an edit's texts."""
        most = self.config.max_unknown_share
        return unknown_share <= most and any(
            share <= most for share in self._edit_embeddings.unknown_share(texts)
        )

    def _known(self, query: Query, edit: Edit, nearest: NearestExamples) -> Evidence:
        """Return what is known of a query and an edit beside the trained score."""
        calibration, cosine = self.artifact.examples, nearest.cosine
        if calibration is None:
            return Evidence(1.0, 0.0, cosine, nearest.number)
        wording = Wording.of(query.text, nearest.texts[0]) if nearest.texts else Wording()
        if isinstance(edit, LanguagePatch):  # its condition is scored apart from its examples
            return Evidence(0.0, 0.0, cosine, nearest.number, wording=wording)
        vector = self._edit_embeddings.encode([edit.scope])[0]
        factual = max(map(calibration.factual, query.vectors))
        share = calibration.share(vector)
        return Evidence(share, 0.0, cosine, nearest.number, factual, wording)

    def _reads(self, known: Evidence) -> bool:
        calibration = self.artifact.examples
        return calibration is None or calibration.reads(known.share, known.factual)

    def _sides(self, edit: Edit, nearest: NearestExamples, reads: bool) -> list[tuple[Scope, bool]]:
        """Return the edit's sides that are scored: its own, then its nearest other examples."""
        own: list[tuple[Scope, bool]] = []
        if isinstance(edit, LanguagePatch) or (reads and edit.scope in nearest.texts):
            own.append(_edit_side(edit, self.config.max_answer_words))
        if not reads:
            return own
        others = [text for text in nearest.texts if text != edit.scope and self._readable(0, text)]
        return own + [(Scope(text), False) for text in others[: self.config.scored_examples]]

    def _combined(self, trained: Array, group: _Group) -> float:
        """Return the probability that an edit governs, from trained scores and examples."""
        best = float(trained.max(initial=0.0))
        nearest, calibration = group.nearest, self.artifact.examples
        if calibration is None:
            return best
        if not nearest.texts:  # a condition: the likelier of it and its counterexamples
            against = calibration.probability(Evidence(0.0, 0.0, nearest.counterexample, 1))
            return best if best >= against else 0.0
        if group.is_condition:  # it is scored beside its examples, with a threshold of its own
            taught = calibration.probability(group.known)
            ends = self.artifact.threshold, self.artifact.condition_threshold
            return max(best, moved(taught, *ends))
        return calibration.probability(replace(group.known, trained=best))

    def _score_pairs(self, pairs: Sequence[_Pair]) -> tuple[Array, Array]:
        """Return probability and entailment of each pair, by the query's best segment."""
        if not pairs:  # loads no encoder
            return np.zeros(0), np.zeros(0)
        return self._rerank(pairs, *self._first_stage(pairs))

    def _first_stage(self, pairs: Sequence[_Pair]) -> tuple[list[str], Array]:
        """Return each pair's best segment, and the first stage's classes of it, [n, 3]."""
        features = self._features.make(
            [(part, one.scope) for one in pairs for part in one.segments]
        )
        classes = first_stage_classes(self.artifact, features)
        condition_classes = self.artifact.condition(features.named)
        conditions = np.array([one.is_condition for one in pairs for _ in one.segments])
        classes[conditions, :2] = condition_classes[conditions, :2]
        classes[conditions, 2] = 0.0
        lengths = np.array([len(one.segments) for one in pairs])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        governs = 1.0 - classes[:, 0]
        best = [
            start + int(governs[start : start + length].argmax())
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
        ]
        texts = [part for one in pairs for part in one.segments]
        return [texts[at] for at in best], classes[best]

    def _rerank(
        self, pairs: Sequence[_Pair], texts: Sequence[str], classes: Array
    ) -> tuple[Array, Array]:
        """Return probability and entailment, with the second stage where the first is in doubt."""
        conditions = np.array([one.is_condition for one in pairs])
        second = self.artifact.second
        if second is None or self._cross_encoder is None:
            return combine_stages(self.artifact, classes, conditions)
        reranked = self._to_rerank(pairs, classes, second.rerank_threshold)
        sides = [(pairs[at].scope, pairs[at].is_condition) for at in reranked]
        logits = self._cross_encoder.score_edits(sides, [texts[at] for at in reranked])
        probability, entailed = first_stage_scores(classes, second.rerank_threshold)
        probability[reranked], entailed[reranked] = combine_stages(
            self.artifact, classes[reranked], conditions[reranked], logits
        )
        return probability, entailed

    def _to_rerank(self, pairs: Sequence[_Pair], classes: Array, threshold: float) -> list[int]:
        """Return the indices of the pairs to rerank: of each query the top k in doubt."""
        governs = 1.0 - classes[:, 0]
        of_query: dict[int, list[int]] = {}
        for at, one in enumerate(pairs):
            if one.is_condition or governs[at] >= threshold:
                of_query.setdefault(one.query_index, []).append(at)
        return sorted(
            at
            for places in of_query.values()
            for at in sorted(places, key=lambda place: -governs[place])[: self.config.rerank_top_k]
        )

    def threshold_of(self, edit: Edit) -> float:
        """Return the probability from which an edit fires."""
        default = self.threshold
        if isinstance(edit, LanguagePatch):
            condition = read_condition(edit.condition)
            if condition.kind in ("topic", "claim"):
                default = self.artifact.condition_threshold
        return self._edit_thresholds.get(edit.id, default)


def _edit_side(edit: Edit, max_answer_words: int) -> tuple[Scope, bool]:
    """Return the edit's side of a pair, and whether it is a topic or a claim.

    :param max_answer_words: words of an answer that is read.
    """
    if isinstance(edit, LanguagePatch):
        condition = read_condition(edit.condition)
        return Scope(condition.text), condition.kind in ("topic", "claim")
    if not isinstance(edit, Fact):
        return Scope(edit.scope), False
    answer = (edit.secret or "") if edit.forget else edit.answer
    short = len(answer.split()) <= max_answer_words
    return Scope(edit.question, edit.subject or "", answer if short else ""), False
