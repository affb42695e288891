"""The default pipeline: the calibrated gate, the stored answer, and the reasoner for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from errata.cache.records import Edit, Fact
from errata.cache.text.aliases import AliasMatch, means_another
from errata.cache.text.normalize import plain_words
from errata.completion import completed
from errata.gates.base import Candidate, Decision, Gate
from errata.gates.routing import route_of
from errata.gates.text import asks_yes_no
from errata.pipelines.base import EditFilter, Redecide
from errata.pipelines.resolvers.decompose import decompose
from errata.reasoners.base import Paraphraser, Reasoner
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.verbatim import VerbatimReasoner

CACHE = "cache"
"""Its name."""

CANDIDATES = 16
"""Edits that the cache proposes to the gate for each query."""

READINGS = 3
"""Other names that are tried for a query at most."""

BEARS = 0.3
"""Probability from which an edit bears on a query put a step further."""


class CachePipeline:
    """Says what is stored where a query is the edit's own question, and reasons where it follows.

    :param gate: decides.
    :param reasoner: answers what only follows from an edit.
    :param beliefs: asks the base model where the gate is in doubt; None leaves it unasked.
    """

    name = CACHE
    candidates = CANDIDATES

    def __init__(
        self, gate: Gate, reasoner: Reasoner, beliefs: BaseConsistency | None = None
    ) -> None:
        self.gate, self.reasoner, self._beliefs = gate, reasoner, beliefs
        self._verbatim = VerbatimReasoner()

    def supports(self, edit: Edit) -> bool:
        """Tell whether the edit holds words to say, or the reasoner can answer by it."""
        return self._verbatim.supports(edit) or self.reasoner.supports(edit)

    def settled(
        self,
        decision: Decision,
        edits: Sequence[Edit],
        wanted: EditFilter,
        again: Redecide | None = None,
    ) -> Decision:
        """Return the decision put further or with what completes it.

        A query that misses is read again, with an edit's own name for what it calls otherwise. It
        is a miss where nobody can reason by what fired.
        """
        if self._beliefs is not None and not decision.hit:
            decision = agreed(decision, edits, self._beliefs)
        decision = _meant(decision)
        if again is None:
            return self._completed(self._answerable(self._worded(decision)), edits, wanted)
        if not decision.hit:
            decision = self._renamed(decision, edits, wanted, again)
        answerable = self._answerable(self._worded(decision))
        further = self._further(answerable)
        if further is None:
            return self._completed(answerable, edits, wanted)
        taken = answerable.fired[0]

        def others(edit: Edit) -> bool:  # an edit is put in once, so there is an end
            return wanted(edit) and edit.id != taken.id

        after = self.settled(again(further, others), edits, others, again)
        return replace(
            answerable,
            fired=(taken, *after.fired),
            route=after.route,
            candidates=(*answerable.candidates, *_unseen(after.candidates, answerable)),
            near_misses=(*answerable.near_misses, *_unseen(after.near_misses, answerable)),
            sub_question=after.effective_query,
            hops=after.hops + 1,
        )

    def _completed(self, decision: Decision, edits: Sequence[Edit], wanted: EditFilter) -> Decision:
        return completed(
            decision, edits, lambda edit: wanted(edit) and self._reasons(edit), self._bears
        )

    def _renamed(
        self, decision: Decision, edits: Sequence[Edit], wanted: EditFilter, again: Redecide
    ) -> Decision:
        """Return a miss as a hit where the query only has another name for an edit's subject.

        What is only likely to be another name is one if the base model, where its word counts,
        answers the query as it answers the question of the edit that would speak.
        """
        meant = (one for one in again.alias_matches(decision.query) if any(map(wanted, one.edits)))
        for renamed in islice(meant, READINGS):
            found = self._read_as(renamed, decision, edits, wanted, again)
            if found.hit:
                return found
        return decision

    def _read_as(
        self,
        renamed: AliasMatch,
        decision: Decision,
        edits: Sequence[Edit],
        wanted: EditFilter,
        again: Redecide,
    ) -> Decision:
        meant = {edit.id for edit in renamed.edits if not _silent(edit, renamed)}

        def heard(edit: Edit) -> bool:
            return wanted(edit) and (edit.id in meant or edit not in renamed.edits)

        found = again(renamed.text, heard)
        if self._beliefs is not None and not found.hit:
            found = agreed(found, edits, self._beliefs)
        fired = found.fired if renamed.certain else self._confirmed(decision.query, found)
        if meant.isdisjoint(edit.id for edit in fired):
            return decision
        return replace(
            found,
            query=decision.query,
            canonical_query=renamed.text,
            fired=fired,
            candidates=(*found.candidates, *_unseen(decision.candidates, found)),
            near_misses=(*found.near_misses, *_unseen(decision.near_misses, found)),
        )

    def _confirmed(self, query: str, found: Decision) -> tuple[Edit, ...]:
        """Return those that fired and that the base takes the query for; none without the best."""
        bars = {c.edit_id: c.agreement_threshold for c in found.candidates}
        if self._beliefs is None or not found.hit or bars[found.fired[0].id] is None:
            return ()
        alike = self._beliefs.agrees(query, [edit.scope for edit in found.fired])
        if not alike[0]:
            return ()
        return tuple(edit for edit, one in zip(found.fired, alike, strict=True) if one)

    def _further(self, decision: Decision) -> str | None:
        """Return what is asked once the first edit is taken for granted, None if that is not clear.

        Not where the base model answers the query as it answers the edit's own question: then the
        gate has taken one question for a step beyond it.
        """
        if decision.route != "reason" or asks_yes_no(decision.effective_query):
            return None
        # an edit that it does not only follow from, or a patch on it, would get no hearing
        follows = {c.edit_id for c in decision.candidates if c.relation == "entailed"}
        facts = [e for e in decision.fired if isinstance(e, Fact) and e.id in follows]
        if len(facts) < len(decision.fired):
            return None
        first = facts[0]
        further = decompose(
            decision.effective_query, first, lambda texts: self._asking(texts, first)
        )
        if further is None or self._beliefs is None:
            return further
        alike = self._beliefs.agrees(decision.effective_query, [first.question])[0]
        return None if alike else further

    def _asking(self, texts: Sequence[str], edit: Edit) -> list[float]:
        """Return how likely each text asks the edit's own question."""
        if hasattr(self.gate, "score_batch"):
            scores = self.gate.score_batch(texts, [[edit]] * len(texts))
        else:
            scores = [self.gate.score(text, [edit]) for text in texts]
        return [float(one.probability[0] * (1 - one.entailed[0])) for one in scores]

    def _bears(self, query: str, edits: Sequence[Edit]) -> list[bool]:
        return [p >= BEARS for p in self.gate.score(query, edits).probability.tolist()]

    def _worded(self, decision: Decision) -> Decision:
        """Return the decision, to be reasoned about where the words of what is said are open."""
        if (
            decision.route == "verbatim"
            and isinstance(self.reasoner, Paraphraser)
            and self.reasoner.paraphrases(decision.fired[0])
        ):
            return replace(decision, route="reason")
        return decision

    def _reasons(self, edit: Edit) -> bool:
        # What only follows from an edit is not what is stored.
        return not isinstance(self.reasoner, VerbatimReasoner) and self.reasoner.supports(edit)

    def _answerable(self, decision: Decision) -> Decision:
        if decision.route != "reason":
            return decision
        fired = tuple(edit for edit in decision.fired if self._reasons(edit))
        if fired:
            return replace(decision, fired=fired)
        return _missed(decision, decision.fired)


def _meant(decision: Decision) -> Decision:
    """Return the decision without edits about a thing that the query only has a part of."""
    others = [edit for edit in decision.fired if means_another(decision.effective_query, edit)]
    return _missed(decision, others) if others else decision


def _missed(decision: Decision, edits: Sequence[Edit]) -> Decision:
    """Return the decision with some of the edits that fired among the near misses."""
    ids = {edit.id for edit in edits}
    near = tuple(c for c in decision.candidates if c.edit_id in ids) + decision.near_misses
    fired = tuple(edit for edit in decision.fired if edit.id not in ids)
    if not fired:
        return replace(decision, fired=(), route="base", near_misses=near, canonical_query="")
    relations = {c.edit_id: c.relation for c in decision.candidates}
    route = route_of(fired[0], relations[fired[0].id])
    return replace(decision, fired=fired, route=route, near_misses=near)


def _silent(edit: Edit, renamed: AliasMatch) -> bool:
    """Tell whether an edit's own tests keep it from hearing that name.

    They raise its threshold over the wordings they have: read as something else they would not.
    """
    silent = [plain_words(text) for text in edit.tests.silent]
    if not renamed.certain or not renamed.name:
        return bool(silent)
    size = len(renamed.name)
    return any(
        words[at : at + size] == renamed.name
        for words in silent
        for at in range(len(words) - size + 1)
    )


def _unseen(later: Sequence[Candidate], decision: Decision) -> list[Candidate]:
    """Return the candidates of a later step that the first one did not have."""
    there = {candidate.edit_id for candidate in decision.candidates}
    return [candidate for candidate in later if candidate.edit_id not in there]


def agreed(decision: Decision, edits: Sequence[Edit], beliefs: BaseConsistency) -> Decision:
    """Return a miss as a hit where the gate is in doubt and the base model is not.

    What the base says to the query it also says to the edit's own question: it is asked the same.

    :param decision: a miss.
    :param edits: all edits of the moment.
    :param beliefs: asks the base model.
    """
    doubtful = [
        candidate for candidate in decision.candidates
        if candidate.agreement_threshold is not None and candidate.probability >= candidate.agreement_threshold
    ]  # fmt: skip
    if not doubtful:
        return decision
    told = beliefs.agrees(decision.query, [candidate.scope for candidate in doubtful])
    sure = {one.edit_id for one, alike in zip(doubtful, told, strict=True) if alike}
    place = {one.edit_id: at for at, one in enumerate(decision.candidates)}
    fired = sorted(
        (edit for edit in edits if edit.id in sure), key=lambda e: (-e.priority, place[e.id])
    )
    gone = {old for edit in fired for old in edit.supersedes}
    fired = [edit for edit in fired if edit.id not in gone]
    if not fired:
        return decision
    return replace(
        decision,
        fired=tuple(fired),
        route=route_of(fired[0], "paraphrase"),
        candidates=tuple(
            replace(c, base_agreed=True, relation="paraphrase") if c.edit_id in sure else c
            for c in decision.candidates
        ),
        near_misses=tuple(c for c in decision.near_misses if c.edit_id not in sure),
    )
