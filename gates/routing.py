"""From scores to a decision; shared by every gate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.records import Edit, Fact, Hit, LanguagePatch, Query, Vector
from errata.cache.text.then_clause import verbatim_answer
from errata.gates.base import Candidate, Decision, Relation, Route, Scores
from errata.gates.text import asks_yes_no


def route_of(edit: Edit, relation: Relation) -> Route:
    """Return the route of a query that an edit governs.

    Secrets are refused, entailed queries included. The stored answer is given verbatim where the
    query paraphrases the edit's question, or a language patch quotes what to say; all else goes to
    the reasoner.
    """
    if isinstance(edit, Fact):
        if edit.forget:
            return "refuse"
        return "verbatim" if relation == "paraphrase" else "reason"
    if isinstance(edit, LanguagePatch):
        return "verbatim" if verbatim_answer(edit.consequence) is not None else "reason"
    return "base"


def make_decision(
    query: Query,
    hits: Sequence[Hit],
    scores: Scores,
    *,
    threshold: float,
    near: float,
    agreement_threshold: float | None = None,
    edit_thresholds: Mapping[str, float] | None = None,
) -> Decision:
    """Return the decision on one query.

    Where several edits claim the query, the higher priority wins, then the higher probability,
    then the order of the cache.

    :param scores: the scores of the hits, [n].
    :param threshold: the probability from which an edit fires.
    :param near: the share of its threshold from which a candidate that does not fire is a near
        miss, 0 to 1.
    :param agreement_threshold: the probability from which a fact fires if the base model agrees;
        unused for facts with a threshold of their own or tests that must stay silent.
    :param edit_thresholds: thresholds of single edits, by id.
    """
    thresholds = edit_thresholds or {}
    agreement = agreement_threshold if base_can_agree(query.text) else None
    judged = []
    for hit, probability, entailed in zip(
        hits, scores.probability.tolist(), scores.entailed.tolist(), strict=True
    ):
        edit_threshold = thresholds.get(hit.edit.id, threshold)
        has_default = edit_threshold == threshold and not hit.edit.tests.silent
        candidate = Candidate(
            edit_id=hit.edit.id,
            kind=hit.edit.kind,
            scope=hit.edit.scope,
            probability=probability,
            threshold=edit_threshold,
            relation="entailed" if entailed >= 0.5 else "paraphrase",
            location=hit.edit.location,
            agreement_threshold=agreement if has_default and isinstance(hit.edit, Fact) else None,
        )
        judged.append((candidate, hit.edit))
    judged.sort(key=lambda pair: -pair[0].probability)
    claiming = [pair for pair in judged if pair[0].probability >= pair[0].threshold]
    claiming.sort(key=lambda pair: -pair[1].priority)
    candidates = tuple(candidate for candidate, _ in judged)
    return Decision(
        query=query.text,
        candidates=candidates,
        fired=tuple(edit for _, edit in claiming),
        route=route_of(claiming[0][1], claiming[0][0].relation) if claiming else "base",
        near_misses=tuple(
            candidate
            for candidate in candidates
            if near * candidate.threshold <= candidate.probability < candidate.threshold
        ),
    )


def base_can_agree(query: str) -> bool:
    """Return whether the base model's answer can show that a query paraphrases a question.

    Yes-or-no questions cannot: a base model that answers them with a name has misread them.
    """
    return not asks_yes_no(query)


class ThresholdGate(ABC):
    """The decisions of a gate with thresholds; a subclass scores.

    :param threshold: the probability from which an edit fires.
    :param near: share of the threshold from which a candidate is a near miss.
    :param edit_thresholds: thresholds of single edits, by id.
    """

    agreement_threshold: float | None = None

    def __init__(
        self, threshold: float, near: float, edit_thresholds: Mapping[str, float] | None = None
    ) -> None:
        self.threshold = threshold
        self._near = near
        self._edit_thresholds = dict(edit_thresholds or {})

    @abstractmethod
    def score_batch(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return probabilities of each query against its edits."""

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
                near=self._near,
                agreement_threshold=self.agreement_threshold,
                edit_thresholds=self._thresholds(found),
            )
            for query, found, scores in zip(
                queries, hits, self.score_batch(queries, hits), strict=True
            )
        ]

    def score(self, query: Query | str, edits: Sequence[Edit | Hit]) -> Scores:
        """Return probabilities of one query against each of n edits."""
        return self.score_batch([query], [edits])[0]

    def decide(self, query: Query, hits: Sequence[Hit]) -> Decision:
        """Return the decision on one query, given what the cache found."""
        return self.decide_batch([query], [hits])[0]

    def _thresholds(self, hits: Sequence[Hit]) -> Mapping[str, float]:
        """Return thresholds of single edits, by id."""
        return self._edit_thresholds


def encode_sides(
    query: Query | str, edits: Sequence[Edit | Hit], encoder: Encoder
) -> tuple[Vector, Vector]:
    """Return the embeddings of a query's windows [w, d] and of n edits [n, d], unit rows."""
    windows = encoder.encode(encoder.windows(query)) if isinstance(query, str) else query.vectors
    rows = [
        edit.vector if isinstance(edit, Hit) else encoder.encode([edit.scope])[0] for edit in edits
    ]
    return windows, np.stack(rows)
