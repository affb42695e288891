"""Aliases: the query read with an edit's name for what it calls otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from errata.cache.records import Edit
from errata.cache.text.aliases import AliasMatch
from errata.cache.text.normalize import plain_words
from errata.gates.base import Decision
from errata.pipelines.resolvers.base import ResolverContext, with_candidates
from errata.reasoners.base_consistency import BaseConsistency

MAX_MATCHES = 3
"""Aliases that are tried for a query at most."""


class AliasResolver:
    """Makes a miss a hit where only the name differs: Bombay in the query, Mumbai in the edit.

    An alias that is not certain counts if the base model, where the gate allows to ask it, answers
    the query as it answers the question of the best edit that fires.
    """

    name = "aliases"

    def resolve(self, decisions: Sequence[Decision], context: ResolverContext) -> list[Decision]:
        """Return the decisions, misses by another name as hits with a canonical query."""
        return [d if d.hit else self._resolve(d, context) for d in decisions]

    def _resolve(self, miss: Decision, context: ResolverContext) -> Decision:
        for match in islice(context.edits.alias_matches(miss.query), MAX_MATCHES):
            hit = self._read_as(match, miss, context)
            if hit is not None:
                return hit
        return miss

    def _read_as(
        self, match: AliasMatch, miss: Decision, context: ResolverContext
    ) -> Decision | None:
        """Return the decision about the canonical query, None where the match fires nothing."""
        silent = {one.edit_id for one in miss.candidates if one.listed == "silent"}
        named = {edit.id for edit in match.edits if not _excluded_by_tests(edit, match)} - silent

        def allows(edit: Edit) -> bool:
            return edit.id in named or (edit not in match.edits and edit.id not in silent)

        found = context.decide(match.text, context.edits.restricted(allows), before=self)
        fired = found.fired if match.certain else _confirmed(miss.query, found, context.base)
        if named.isdisjoint(edit.id for edit in fired):
            return None
        hit = replace(found, query=miss.query, canonical_query=match.text, fired=fired)
        return with_candidates(hit, miss)


def _confirmed(query: str, found: Decision, base: BaseConsistency | None) -> tuple[Edit, ...]:
    """Return the fired edits whose question the base answers as the query; none without the best.

    :param query: as it was asked.
    :param found: the decision about the canonical query.
    :param base: asks the base model.
    """
    thresholds = {c.edit_id: c.agreement_threshold for c in found.candidates}
    if base is None or not found.hit or thresholds[found.fired[0].id] is None:
        return ()
    agrees = base.agrees(query, [edit.scope for edit in found.fired])
    if not agrees[0]:
        return ()
    return tuple(edit for edit, yes in zip(found.fired, agrees, strict=True) if yes)


def _excluded_by_tests(edit: Edit, match: AliasMatch) -> bool:
    """Return whether a silent test of an edit excludes an alias.

    A silent test decides for its own wording, which the canonical query no longer has. A certain
    alias is excluded by a test that has it, another one by any test.
    """
    silent = [plain_words(text) for text in edit.tests.silent]
    if not match.certain or not match.name:
        return bool(silent)
    size = len(match.name)
    return any(
        words[at : at + size] == match.name
        for words in silent
        for at in range(len(words) - size + 1)
    )
