"""The trained gate: a calibrated scope classifier of one or two stages.

The scope classifier of SERAC (Mitchell et al. 2022, "Memory-based model editing at scale"). The
first stage scores every candidate by how its words match (:mod:`errata.gates.features`); those it
leaves in doubt are read by a cross-encoder, whose logits are scored beside the same features. Text
that the encoder cannot read, and lexical or formal conditions, are decided by characters and rules.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from errata.cache.encoder import EmbeddingCache, Encoder, encode_queries
from errata.cache.errors import ModelError
from errata.cache.index.terms import bigrams
from errata.cache.records import Edit, Fact, Hit, LanguagePatch, Query, Vector
from errata.cache.text.normalize import compare, normalize_query
from errata.deprecation import renamed_options
from errata.gates.artifact import GateArtifact
from errata.gates.base import Scores, ThresholdGate
from errata.gates.condition_calibration import ConditionEvidence
from errata.gates.conditions.parse import read_condition
from errata.gates.cross_encoder import CrossEncoder
from errata.gates.examples import Evidence, NearestExamples, nearest_examples
from errata.gates.features import FeatureConfig, Pair, Scope, pair_features
from errata.gates.layers import Array
from errata.gates.text import dice, segments
from errata.gates.wording import Wording


@dataclass(frozen=True, slots=True)
class ClassifierConfig:
    """Settings of the classifier that are not trained.

    :param max_unknown_share: share of tokens unknown to the encoder above which only matching
        characters hit.
    :param near_miss_similarity: bigram similarity (Dice) from which unreadable text is a near miss.
    :param max_segments: segments of a query that are scored.
    :param rerank_top_k: candidates of a query that the cross-encoder scores: the facts that the
        first stage finds most probable, and apart from them the nearest conditions
        (``results/rerank.md``).
    :param scored_examples: examples of an edit that are scored, the nearest by cosine; its own
        question is scored in any case, since how the edit governs the query depends on it.
    :param max_answer_words: words of an answer that is read with its question; a longer one is
        not. Entailed questions name a short answer ("Is Astana the capital?"); of a paragraph the
        words drown the question.
    :param edit_cache_size: embeddings of edits' texts kept: 0.3 GB.
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
class _Asked:
    """A query as it is scored.

    :param index: of the query.
    :param query: encoded.
    :param segments: texts of it that are scored.
    :param vectors: their encodings, [s, d].
    :param factual: how much it asks for a fact about a named thing.
    """

    index: int
    query: Query
    segments: tuple[str, ...]
    vectors: Vector
    factual: float


@dataclass(frozen=True, slots=True)
class _Group:
    """A query of the batch, one of its edits, and the pairs of the two.

    :param query_index: of the query.
    :param edit_index: of the edit, among those of the query.
    :param places: of the pairs, the one with the edit's own question or condition first.
    :param known: what is known beside the trained score.
    :param against: cosine of the nearest counterexample.
    :param claim: of a condition, whether it is a claim and no topic; None: it is a fact.
    :param entailed: probability that the own question governs and that the query follows from it.
    """

    query_index: int
    edit_index: int
    places: slice
    known: Evidence | ConditionEvidence
    against: float
    claim: bool | None
    entailed: float = 0.0


@dataclass(slots=True)
class _Batch:
    """The pairs of a batch of queries, and the groups they belong to."""

    pairs: list[Pair] = field(default_factory=list)
    queries: list[int] = field(default_factory=list)
    conditions: list[bool] = field(default_factory=list)
    groups: list[_Group] = field(default_factory=list)


class ScopeClassifier(ThresholdGate):
    """Scores with a trained classifier whether, and how, an edit governs a query.

    Safe under threads; pure: only embeddings are cached. The trained score of candidates beyond the
    ``rerank_top_k`` is at most the reranking threshold, so an edit among many may score lower than
    alone.

    :param encoder: the encoder it was trained with.
    :param artifact: the trained gate.
    :param threshold: the probability from which an edit fires, in place of the trained one; the
        base model is then not consulted.
    :param edit_thresholds: thresholds of single edits, by id.
    :param use_patch_tests: without effect.
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
        second = artifact.second
        self._cross_encoder = None if second is None else CrossEncoder(encoder, second.cross)

    def score_unlisted(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return calibrated probabilities of each query against its edits.

        Texts without an embedding are encoded in one batch. Regex patches score 0.
        """
        scores, groups = self._gather(queries, edits)
        for group in groups:
            one, at = scores[group.query_index], group.edit_index
            one.probability[at] = self._combined(group)
            # joint: the trained gate judges the relation where it takes the query for governed
            one.entailed[at] = min(1.0, group.entailed / max(one.probability[at], 1e-12))
        return scores

    def evidence(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[list[Evidence | ConditionEvidence | None]]:
        """Return what the probability of each query and edit is made of, to fit that on.

        None where characters, a rule or a counterexample decide.
        """
        scores, groups = self._gather(queries, edits)
        found: list[list[Evidence | ConditionEvidence | None]]
        found = [[None] * len(one.probability) for one in scores]
        for group in groups:
            found[group.query_index][group.edit_index] = group.known
        return found

    def _gather(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> tuple[list[Scores], list[_Group]]:
        """Return scores of what characters and rules decide, and the groups of all else."""
        texts = list(dict.fromkeys(query for query in queries if isinstance(query, str)))
        encoded = dict(zip(texts, encode_queries(self._query_embeddings, texts), strict=True))
        every = (one.edit if isinstance(one, Hit) else one for some in edits for one in some)
        self._edit_embeddings.encode([_text_of(edit) for edit in every if _is_scored(edit)])
        scores: list[Scores] = []
        batch = _Batch()
        for index, (query, against) in enumerate(zip(queries, edits, strict=True)):
            asked = self._asked(index, encoded[query] if isinstance(query, str) else query)
            scores.append(Scores(np.zeros(len(against)), np.zeros(len(against))))
            for at, edit in enumerate(against):
                certain = self._score_by_characters(asked.query, edit)
                if certain is None:
                    self._add(batch, asked, at, edit)
                else:
                    scores[index].probability[at] = certain
        governs, entailed = self._score_pairs(batch)
        groups = []
        for group in batch.groups:
            own = governs[group.places]
            known = replace(group.known, trained=float(own.max(initial=0.0)))
            joint = own[0] * entailed[group.places.start] if len(own) else 0.0
            groups.append(replace(group, known=known, entailed=float(joint)))
        return scores, groups

    def _asked(self, index: int, query: Query) -> _Asked:
        """Return a query with what is the same for every edit."""
        calibration, parts = self.artifact.examples, segments(query, self.config.max_segments)
        known = parts == query.windows and query.vectors.size
        vectors = query.vectors if known else self._query_embeddings.encode(parts)
        factual = calibration and max(map(calibration.factual, query.vectors), default=0.0)
        return _Asked(index, query, parts, vectors, factual or 0.0)

    def _add(self, batch: _Batch, asked: _Asked, edit_index: int, edit: Edit | Hit) -> None:
        """Add the pairs of a query and an edit to the batch, unless a counterexample is nearer."""
        plain = edit.edit if isinstance(edit, Hit) else edit
        condition = read_condition(plain.condition) if isinstance(plain, LanguagePatch) else None
        question = condition is not None and condition.kind == "question"
        also = condition.text if condition and question else ""
        nearest = nearest_examples(asked.query, edit, self._edit_embeddings, also=also)
        known: Evidence | ConditionEvidence
        if condition is None or question:
            if nearest.against and (plain.examples or question):
                return
            claim, known = None, self._known(asked, _text_of(plain), nearest)
            combined = self.artifact.examples
            reads = combined is None or combined.reads(known.share, known.factual)
            sides = self._sides(plain, nearest) if reads else []
            scored = [self._pair(asked, side) for side in sides]
        else:
            claim = condition.kind == "claim"
            scored = [self._pair(asked, Scope(condition.text))]
            cosine = scored[0].cosine
            known = ConditionEvidence(0.0, cosine, max(cosine, nearest.cosine), nearest.number)
            if plain.examples and nearest.counterexample > known.nearest:
                return
        places = slice(len(batch.pairs), len(batch.pairs) + len(scored))
        against = nearest.counterexample
        batch.groups.append(_Group(asked.index, edit_index, places, known, against, claim))
        batch.pairs += scored
        batch.queries += [asked.index] * len(scored)
        batch.conditions += [claim is not None] * len(scored)

    def _pair(self, asked: _Asked, scope: Scope) -> Pair:
        """Return a scope with the query's segment that is nearest to it."""
        # einsum: BLAS rounds differently in batches of different size
        cosines = np.einsum("sd,d->s", asked.vectors, self._edit_embeddings.encode([scope.text])[0])
        best = int(cosines.argmax())
        return Pair(asked.segments[best], scope, float(cosines[best]))

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
        return self._near * self.threshold_of(edit)

    def _readable(self, unknown_share: float, *texts: str) -> bool:
        """Return whether the encoder can read a query and at least one of an edit's texts."""
        most = self.config.max_unknown_share
        return unknown_share <= most and any(
            share <= most for share in self._edit_embeddings.unknown_share(texts)
        )

    def _known(self, asked: _Asked, text: str, nearest: NearestExamples) -> Evidence:
        """Return what is known of a query and a fact's question beside the trained score."""
        calibration, cosine = self.artifact.examples, nearest.cosine
        if calibration is None:
            return Evidence(1.0, 0.0, cosine, nearest.number)
        texts = nearest.texts
        wording = Wording.of(asked.query.text, texts[0]) if texts else Wording()
        share = calibration.share(self._edit_embeddings.encode([text])[0])
        return Evidence(share, 0.0, cosine, nearest.number, asked.factual, wording)

    def _sides(self, edit: Edit, nearest: NearestExamples) -> list[Scope]:
        """Return the edit's sides that are scored: its own, then its nearest other examples."""
        own = _edit_side(edit, self.config.max_answer_words)
        found = [own] if own.text in nearest.texts else []
        others = [text for text in nearest.texts if text != own.text and self._readable(0, text)]
        return found + [Scope(text) for text in others[: self.config.scored_examples]]

    def _combined(self, group: _Group) -> float:
        """Return the probability that an edit governs, from trained scores and examples."""
        calibration, conditions = self.artifact.examples, self.artifact.conditions
        known = group.known
        if isinstance(known, Evidence):
            return known.trained if calibration is None else calibration.probability(known)
        claim = bool(group.claim)
        held = conditions.probability(known, claim=claim) if conditions else known.trained
        if known.examples or calibration is None:
            return held
        # the likelier of it and its counterexamples
        against = calibration.probability(Evidence(0.0, 0.0, group.against, 1))
        return held if held >= against else 0.0

    def _score_pairs(self, batch: _Batch) -> tuple[Array, Array]:
        """Return probability and entailment of each pair, both [n].

        The cross-encoder reads conditions, and the facts that the first stage leaves in doubt.
        """
        if not batch.pairs:
            return np.zeros(0), np.zeros(0)
        features = pair_features(batch.pairs, self.config.features)
        conditions, second = np.array(batch.conditions), self.artifact.second
        classes = self.artifact.first_classes(features, conditions)
        if second is None or self._cross_encoder is None:
            return self.artifact.calibrated(classes, conditions)
        governs = 1.0 - classes[:, 0]
        probability = np.minimum(governs, second.rerank_threshold)
        entailed = classes[:, 2] / np.maximum(governs, 1e-12)
        read = self._to_rerank(batch, governs, second.rerank_threshold)
        logits = self._cross_encoder.score_edits(
            [(batch.pairs[at].scope, batch.conditions[at]) for at in read],
            [batch.pairs[at].query for at in read],
        )
        classes = self.artifact.second_classes(features[read], conditions[read], logits)
        probability[read], entailed[read] = self.artifact.calibrated(classes, conditions[read])
        return probability, entailed

    def _to_rerank(self, batch: _Batch, governs: Array, threshold: float) -> list[int]:
        """Return the indices of the pairs to read: of each query the top k in doubt.

        Conditions are ranked by cosine and apart from facts, of which there may be many more.
        """
        of_query: dict[tuple[int, bool], list[tuple[float, int]]] = {}
        for at, (query, condition) in enumerate(zip(batch.queries, batch.conditions, strict=True)):
            if condition or governs[at] >= threshold:
                rank = batch.pairs[at].cosine if condition else float(governs[at])
                of_query.setdefault((query, condition), []).append((-rank, at))
        return sorted(
            at
            for places in of_query.values()
            for _, at in sorted(places)[: self.config.rerank_top_k]
        )

    def threshold_of(self, edit: Edit) -> float:
        """Return the probability from which an edit fires."""
        return self._edit_thresholds.get(edit.id, self.default_threshold(edit))

    def default_threshold(self, edit: Edit) -> float:
        """Return the threshold of the edit's sort: a fact or question, a topic, a claim."""
        if not isinstance(edit, LanguagePatch):
            return self.threshold
        of_kind = {"topic": self.artifact.condition_threshold,
                   "claim": self.artifact.claim_threshold}  # fmt: skip
        return of_kind.get(read_condition(edit.condition).kind, self.threshold)


def _is_scored(edit: Edit) -> bool:
    """Return whether no rule decides an edit alone."""
    return isinstance(edit, Fact) or (
        isinstance(edit, LanguagePatch) and not read_condition(edit.condition).certain
    )


def _text_of(edit: Edit) -> str:
    """Return the text that an edit's own side is encoded by: its question or condition."""
    return read_condition(edit.condition).text if isinstance(edit, LanguagePatch) else edit.scope


def _edit_side(edit: Edit, max_answer_words: int) -> Scope:
    """Return an edit's own side of a pair.

    :param max_answer_words: words of an answer that is read.
    """
    if not isinstance(edit, Fact):
        return Scope(_text_of(edit))
    answer = (edit.secret or "") if edit.forget else edit.answer
    short = len(answer.split()) <= max_answer_words
    return Scope(edit.question, edit.subject or "", answer if short else "")
