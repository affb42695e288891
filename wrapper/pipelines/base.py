"""The contract of a pipeline: edits take effect on the way of a query, weights stay as they are.

A new pipeline is one module with one class, one line in :mod:`errata.registry` (group
``errata.pipelines``) and one row in ``tests/contracts/test_pipeline.py``::

    class Nearest:
        name = "nearest"
        candidates = 1

        def __init__(self, base, tokenizer, encoder, *, threshold: float = 0.8) -> None:
            self.gate = CosineGate(encoder, threshold)
            self.reasoner = PromptedReasoner(base, tokenizer)

        def supports(self, edit: Edit) -> bool: ...
        def settled(self, decision, edits, wanted, again=None) -> Decision: ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from errata.cache.records import Edit
from errata.cache.text.aliases import AliasMatch
from errata.gates.base import Decision, Gate
from errata.reasoners.base import Reasoner

EditFilter = Callable[[Edit], bool]
"""Tells which edits may come into force."""


class Redecide(Protocol):
    """What else can be asked at the moment of a query."""

    def __call__(self, text: str, wanted: EditFilter) -> Decision:
        """Take a text as far as the gate's decision.

        :param text: as a query.
        :param wanted: which edits may come into force.
        """

    def alias_matches(self, text: str) -> Iterable[AliasMatch]:
        """Return a text that calls something by another name than the edits do, as they have it."""


@runtime_checkable
class Pipeline(Protocol):
    """The parts that a query meets on its way: what is near, whether it governs, who answers.

    Contract: nothing of the base model is changed, and a query that the gate lets pass gets the
    base model's own ids. Made from base model, tokenizer and the cache's encoder; parameters of its
    own go to its constructor by keyword, each with a default.
    """

    name: str
    """As in the registry."""
    candidates: int
    """Edits that the cache proposes to the gate for each query."""
    gate: Gate
    """Decides."""
    reasoner: Reasoner
    """Answers where the route is to reason."""

    def supports(self, edit: Edit) -> bool:
        """Tell whether it can make this edit; another stays with the cache."""

    def settled(
        self,
        decision: Decision,
        edits: Sequence[Edit],
        wanted: EditFilter,
        again: Redecide | None = None,
    ) -> Decision:
        """Return a decision of its gate as it is to be acted on.

        :param decision: as the gate made it.
        :param edits: all edits of the moment.
        :param wanted: which of them may come into force.
        :param again: decides about other texts, as about queries.
        """


@dataclass(frozen=True, slots=True)
class ScopedPipeline:
    """A pipeline, and what it is asked for.

    :param pipeline: the pipeline.
    :param allows: which edits it may bring into force.
    """

    pipeline: Pipeline
    allows: EditFilter

    def restricted(self, chosen: Callable[[Edit], bool]) -> ScopedPipeline:
        """Return the turn for those of its edits that are chosen and that it can make."""
        return ScopedPipeline(
            self.pipeline,
            lambda edit: chosen(edit) and self.allows(edit) and self.pipeline.supports(edit),
        )


def route_to_reasoner(decision: Decision, most: int) -> Decision:
    """Return a decision by which the reasoner answers all that hits, also what is stored.

    :param most: edits it reads at most, the best ones.
    """
    if not decision.hit:
        return decision
    return replace(decision, route="reason", fired=decision.fired[:most])
