"""Contradictions that the gate sees: two questions that it takes for one, with two answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from errata.cache.precedence import effect, same_scope
from errata.cache.records import Edit, Fact
from errata.gates.base import Candidate, Decision
from errata.patch_tests.records import PatchedModel, Problem, TestCase, where
from errata.patch_tests.run import BATCH

CONTRADICTIONS_NAMED = 3
"""Contradictions that are reported of one patch: a gate that confuses names confuses many."""


class GateContradictions:
    """Collects decisions on the questions of facts, and what they say about other facts.

    Two facts contradict each other if the gate takes the question of each for a paraphrase of the
    other's, at its threshold, and their answers differ; one direction alone may be a false hit.

    :param edits: the patches in force.
    :param selected: ids of the patches whose place comes first in a message; all unless given.
    """

    def __init__(self, edits: Iterable[Edit], selected: Collection[str] | None = None) -> None:
        self._selected = selected
        self._by_id: Mapping[str, Edit] = {edit.id: edit for edit in edits}
        self._claims: dict[tuple[str, str], Candidate] = {}
        self._asked: set[str] = set()

    def add(self, case: TestCase, decision: Decision) -> None:
        """Take in the decision on a test."""
        if isinstance(case.edit, Fact) and case.query == case.edit.question:
            self._take(case.edit, decision)

    def problems(
        self, model: PatchedModel, progress: Callable[[int], object] = lambda count: None
    ) -> tuple[Problem, ...]:
        """Return an error for each contradiction, at the selected or the later patch.

        :param model: decides about questions that no test asked.
        :param progress: called with the number of questions decided.
        """
        facts = self.unasked()
        for start in range(0, len(facts), BATCH):
            batch = facts[start : start + BATCH]
            for fact, decision in zip(
                batch, model.decide([fact.question for fact in batch]), strict=True
            ):
                self._take(fact, decision)
            progress(len(batch))
        return tuple(self._found())

    def unasked(self) -> list[Fact]:
        """Return the facts that a question was taken for, and whose own no test asked."""
        ids = dict.fromkeys(other for _, other in self._claims if other not in self._asked)
        edits = (self._by_id[key] for key in ids)
        return [edit for edit in edits if isinstance(edit, Fact)]

    def _take(self, fact: Fact, decision: Decision) -> None:
        self._asked.add(fact.id)
        for one in decision.candidates:
            other = self._by_id.get(one.edit_id)
            claims = one.probability >= one.threshold and one.relation == "paraphrase"
            if claims and isinstance(other, Fact) and _unsettled(fact, other):
                self._claims[fact.id, other.id] = one

    def _rank(self, key: str, order: Mapping[str, int]) -> tuple[bool, int]:
        """Return what is highest for the patch from whose side a contradiction is told."""
        return (self._selected is None or key in self._selected, order[key])

    def _found(self) -> Iterator[Problem]:
        order = {key: at for at, key in enumerate(self._by_id)}
        told: Counter[str] = Counter()
        # the surest of each patch come first
        for (one, other), candidate in sorted(
            self._claims.items(), key=lambda item: -item[1].probability
        ):
            ranks = self._rank(one, order), self._rank(other, order)
            # not selected: what did not change contradicts itself as before
            if (other, one) not in self._claims or ranks[0] < ranks[1] or not ranks[0][0]:
                continue
            told[one] += 1
            if told[one] > CONTRADICTIONS_NAMED:
                continue
            later, earlier = self._by_id[one], self._by_id[other]
            back = self._claims[other, one].probability
            yield Problem(
                "error",
                where(later),
                f"the gate takes {later.scope!r}, answered {effect(later)!r} here, and "
                f"{earlier.scope!r}, answered {effect(earlier)!r} at {where(earlier)}, for one "
                f"question (probability {candidate.probability:.3f} and {back:.3f}, from "
                f"{candidate.threshold:.3f} on)",
                advice="if they are one, delete one or say which rules by priority or supersedes; "
                "if not, list each question under `silent` of the other",
            )


def _unsettled(one: Fact, other: Fact) -> bool:
    """Return whether nothing says which of two facts is meant, and their texts do not show it."""
    return (
        one.id != other.id
        and effect(one) != effect(other)
        and one.priority == other.priority
        and not same_scope(one, other)  # reported without a gate
    )
