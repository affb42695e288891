"""Contradictions that the gate sees: two questions that it takes for one, with two answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from errata.cache.encoder import Encoder, encode_queries
from errata.cache.precedence import effect, same_scope
from errata.cache.records import Edit, Fact, Hit
from errata.gates.base import Candidate, Decision, Gate
from errata.patch_tests.records import Problem, TestCase, where

BATCH = 32
"""Pairs that the gate decides at once."""

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
        self._pairs: set[tuple[str, str]] = set()

    def add(self, case: TestCase, decision: Decision) -> None:
        """Take in the decision on a test."""
        if isinstance(case.edit, Fact) and case.query == case.edit.question:
            self._asked.add(case.edit.id)
            self._take(case.edit, decision)

    def problems(
        self, gate: Gate, encoder: Encoder, progress: Callable[[int], object] = lambda count: None
    ) -> tuple[Problem, ...]:
        """Return an error for each contradiction, at the selected or the later patch.

        A claim whose other direction no test has shown is put to the gate, of each patch the surest
        ones first, until there are as many contradictions as are named.

        :param gate: decides.
        :param encoder: encodes the questions.
        :param progress: called with the number of pairs that were decided.
        """
        while pairs := self._next_pairs():
            for start in range(0, len(pairs), BATCH):
                batch = pairs[start : start + BATCH]
                self._ask(batch, gate, encoder)
                progress(len(batch))
        return tuple(self._found())

    def unasked(self) -> int:
        """Return the number of claims whose other direction is not known."""
        return sum(not self._known(other, one) for one, other in self._claims)

    def _known(self, one: str, other: str) -> bool:
        return one in self._asked or (one, other) in self._pairs

    def _next_pairs(self) -> list[tuple[str, str]]:
        """Return the pairs to ask about next: a fact, and one that its question may fire."""
        confirmed: Counter[str] = Counter()
        pairs = []
        for one, other in sorted(self._claims, key=lambda key: -self._claims[key].probability):
            if confirmed[one] >= CONTRADICTIONS_NAMED:
                continue
            if not self._known(other, one):
                pairs.append((other, one))
            confirmed[one] += not self._known(other, one) or (other, one) in self._claims
        return pairs

    def _ask(self, pairs: Sequence[tuple[str, str]], gate: Gate, encoder: Encoder) -> None:
        """Decide about the question of the first of each pair, with the second as its candidate."""
        facts = [(self._by_id[one], self._by_id[other]) for one, other in pairs]
        queries = encode_queries(encoder, [one.scope for one, _ in facts])
        vectors = encoder.encode([other.scope for _, other in facts])
        hits = [
            [Hit(other, float((query.vectors @ vector).max()), vector)]
            for query, vector, (_, other) in zip(queries, vectors, facts, strict=True)
        ]
        decisions = gate.decide_batch(queries, hits)
        for (one, _), pair, decision in zip(facts, pairs, decisions, strict=True):
            self._pairs.add(pair)
            self._take(one, decision)

    def _take(self, edit: Edit, decision: Decision) -> None:
        for found in decision.candidates:
            other = self._by_id.get(found.edit_id)
            claims = found.probability >= found.threshold and found.relation == "paraphrase"
            if claims and isinstance(edit, Fact) and isinstance(other, Fact):
                if _unsettled(edit, other):
                    self._claims[edit.id, other.id] = found

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
