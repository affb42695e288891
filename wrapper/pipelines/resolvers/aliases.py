"""Aliases: the query read with an edit's name for what it calls otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from errata.cache.records import Edit
from errata.cache.text.aliases import AliasMatch
from errata.cache.text.normalize import plain_words
from errata.gates.base import Decision
from errata.pipelines.base import ScopedView
from errata.pipelines.resolvers.base import MISSES, ResolverContext, with_candidates


@dataclass(frozen=True, slots=True)
class AliasConfig:
    """How hard an alias is looked for.

    :param max_matches: readings of a query that are tried at most, certain ones first. Each costs
        the gate as much as the query itself; a query seldom has more than one name with an alias.
    """

    max_matches: int = 3


class AliasResolver:
    """Makes a miss a hit where only the name differs: Bombay in the query, Mumbai in the edit.

    An alias that is not certain counts if the base model, where the gate allows to ask it, answers
    the query as it answers the question of the best edit that fires.

    :param config: how hard an alias is looked for.
    """

    name = "aliases"
    routes = MISSES

    def __init__(self, config: AliasConfig | None = None) -> None:
        self.config = config or AliasConfig()

    def resolve(self, decisions: Sequence[Decision], context: ResolverContext) -> list[Decision]:
        """Return the decisions, misses by another name as hits with a canonical query.

        The first readings of all queries are decided in one batch, then the second ones of those
        that still miss, and so on.
        """
        resolved = list(decisions)
        matches = {
            row: islice(edits.alias_matches(miss.query), self.config.max_matches)
            for row, (miss, edits) in enumerate(zip(decisions, context.scopes, strict=True))
        }
        while True:
            tried = {row: match for row, some in matches.items() if (match := next(some, None))}
            if not tried:
                return resolved
            hits = self._decide(tried, decisions, context)
            for row, hit in hits.items():
                resolved[row] = hit
            matches = {row: matches[row] for row in tried if row not in hits}

    def _decide(
        self,
        matches: dict[int, AliasMatch],
        misses: Sequence[Decision],
        context: ResolverContext,
    ) -> dict[int, Decision]:
        """Return the hits by an alias, by row.

        :param matches: an alias of each row that is tried.
        :param misses: the decisions.
        """
        texts = [match.text for match in matches.values()]
        scopes = [
            _without_excluded(context.scopes[row], match, misses[row])
            for row, match in matches.items()
        ]
        found = dict(zip(matches, context.decide(texts, scopes, before=self), strict=True))
        uncertain = {
            row: one
            for row, one in found.items()
            if not matches[row].certain and _may_ask_base(one, context)
        }
        confirmed = _confirmed(uncertain, misses, context)
        hits = {}
        for row, match in matches.items():
            fired = found[row].fired if match.certain else confirmed.get(row, ())
            miss = misses[row]
            if not _named(match, miss).isdisjoint(edit.id for edit in fired):
                hit = replace(found[row], query=miss.query, canonical_query=match.text, fired=fired)
                hits[row] = with_candidates(hit, miss)
        return hits


def _silent(miss: Decision) -> set[str]:
    """Return the ids of the edits that list the query under ``silent``."""
    return {one.edit_id for one in miss.candidates if one.listed == "silent"}


def _named(match: AliasMatch, miss: Decision) -> set[str]:
    """Return the ids of the edits that an alias may stand for."""
    named = {edit.id for edit in match.edits if not _excluded_by_tests(edit, match)}
    return named - _silent(miss)


def _without_excluded(edits: ScopedView, match: AliasMatch, miss: Decision) -> ScopedView:
    """Return a view without the edits whose examples exclude an alias, or the query itself."""
    named, silent = _named(match, miss), _silent(miss)

    def allows(edit: Edit) -> bool:
        return edit.id in named or (edit not in match.edits and edit.id not in silent)

    return edits.restricted(allows)


def _may_ask_base(found: Decision, context: ResolverContext) -> bool:
    thresholds = {c.edit_id: c.agreement_threshold for c in found.candidates}
    return context.base is not None and found.hit and thresholds[found.fired[0].id] is not None


def _confirmed(
    found: dict[int, Decision], misses: Sequence[Decision], context: ResolverContext
) -> dict[int, tuple[Edit, ...]]:
    """Return the fired edits whose question the base answers as the query; none without the best.

    :param found: the decisions about canonical queries, by row.
    :param misses: the decisions about the queries as they were asked.
    """
    agrees = context.agrees(
        [misses[row].query for row in found],
        [[edit.scope for edit in one.fired] for one in found.values()],
    )
    return {
        row: tuple(edit for edit, yes in zip(one.fired, same, strict=True) if yes and same[0])
        for (row, one), same in zip(found.items(), agrees, strict=True)
    }


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
