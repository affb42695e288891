"""The contract of a pipeline: from queries to decisions, without a change of any weight.

A new pipeline is one module with one class, one line in :mod:`errata.registry` (group
``errata.pipelines``) and one row in ``tests/contracts/test_pipeline.py``::

    class Nearest:
        name = "nearest"

        def __init__(self, base, tokenizer, encoder, *, threshold: float = 0.8) -> None:
            self.gate = CosineGate(encoder, threshold)
            self.reasoner = PromptedReasoner(base, tokenizer)

        def supports(self, edit):
            return isinstance(edit, Fact) and not edit.forget

        def decide(self, queries, edits):
            decisions = decide_by_gate(self.gate, queries, edits, candidates=1)
            return [route_to_reasoner(decision, max_edits=1) for decision in decisions]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from errata.cache.records import Edit, Query
from errata.gates.base import Decision, Gate
from errata.gates.routing import enforce_lists
from errata.pipelines.resolvers.base import EditFilter, ScopedView
from errata.reasoners.base import Reasoner


@runtime_checkable
class Pipeline(Protocol):
    """Search, gate and reasoner, put together.

    Contract: the base model is not changed, and a query that misses gets the base model's own ids.
    Made from base model, tokenizer and the cache's encoder; further parameters are keyword
    arguments with defaults.
    """

    name: str
    """As in the registry."""
    gate: Gate
    """Decides."""
    reasoner: Reasoner
    """Answers where the route is ``reason``."""

    def supports(self, edit: Edit) -> bool:
        """Return whether it can make this edit; one that it cannot make stays with the cache."""

    def decide(self, queries: Sequence[Query], edits: ScopedView) -> list[Decision]:
        """Return the final decision about each query.

        :param queries: encoded by the cache's encoder.
        :param edits: the edits that may fire, and the search over them.
        """


@dataclass(frozen=True, slots=True)
class ScopedPipeline:
    """A pipeline and the edits it answers for.

    :param pipeline: the pipeline.
    :param allows: which edits it may fire.
    """

    pipeline: Pipeline
    allows: EditFilter

    def restricted(self, allows: EditFilter) -> ScopedPipeline:
        """Return the pipeline restricted to edits that are allowed and that it supports."""
        return ScopedPipeline(
            self.pipeline,
            lambda edit: allows(edit) and self.allows(edit) and self.pipeline.supports(edit),
        )


def decide_by_gate(
    gate: Gate, queries: Sequence[Query], edits: ScopedView, candidates: int
) -> list[Decision]:
    """Return the gate's decision about each query: search, then gate, what is listed first.

    :param gate: decides.
    :param queries: encoded by the cache's encoder.
    :param edits: the edits that may fire.
    :param candidates: edits that the cache proposes for each query.
    """
    hits = edits.search(queries, candidates)
    decisions = gate.decide_batch(queries, hits)
    return [enforce_lists(*each) for each in zip(decisions, queries, hits, strict=True)]


def route_to_reasoner(decision: Decision, max_edits: int) -> Decision:
    """Return a decision whose route is ``reason`` if it hits, stored answers included.

    :param max_edits: the reasoner reads that many of the fired edits, the best ones.
    """
    if not decision.hit:
        return decision
    return replace(decision, route="reason", fired=decision.fired[:max_edits])
