"""Follow-ups: a question that leans on the turns before it, read as one that stands alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Fact, LanguagePatch, PatchTests
from errata.cache.text.subject import names_in, subject_of
from errata.gates.base import Decision
from errata.gates.text import words
from errata.pipelines.base import History, ScopedView
from errata.pipelines.resolvers.base import MISSES, ResolverContext, with_candidates

DOUBT = LanguagePatch(
    "the user doubts the answer or asks whether it is right",
    "repeat the answer",
    tests=PatchTests(
        fires=(
            "Are you sure?",
            "Is that correct?",
            "That is wrong.",
            "I don't think that's right.",
            "Can you double-check that?",
            "Really?",
            "I thought it was something else.",
        )
    ),
)
"""The turns that ask for the previous answer once more, as a patch that the gate scores."""


@dataclass(frozen=True, slots=True)
class FollowUpConfig:
    """Which turns are follow-ups, and what they may take from the turns before.

    :param turns: user turns that are looked at, the latest first. A subject that was last named
        three turns ago is rarely the one that "it" means.
    :param pronouns: words that stand for a subject: the third-person pronouns of English.
    :param possessives: those that stand for a subject with ``'s``.
    :param places: words that stand for ``in`` and a subject, except behind a form of *to be*.
    :param connectives: words that may open a follow-up and say nothing about what it asks.
    :param max_words: content words of a follow-up without a pronoun ("And the capital?"), which
        gets the subject as "of Palau". Each has to stand in the edit's question, too.
    :param doubt: what the last sentence of a turn has to ask for the previous answer to be given
        again; None: none is.
    :param min_doubt: probability of the gate from which it does. Doubts written for this reach
        0.8 and more; complaints that say what they are about stay below 0.7.
    """

    turns: int = 2
    pronouns: tuple[str, ...] = ("it", "he", "him", "she", "they", "them")
    possessives: tuple[str, ...] = ("its", "his", "her", "their")
    places: tuple[str, ...] = ("there",)
    connectives: tuple[str, ...] = ("and", "but", "so", "then", "also", "ok", "okay")
    max_words: int = 3
    doubt: LanguagePatch | None = field(default=DOUBT)
    min_doubt: float = 0.7


@dataclass(frozen=True, slots=True)
class _Reading:
    """A follow-up as a question that stands alone.

    :param text: the question.
    :param ids: the edits that it may be governed by: those about the subject that was put in.
    """

    text: str
    ids: frozenset[str]


class FollowUpResolver:
    """Makes a miss a hit where the turns before say what it is about.

    "And what is its capital?" after "Tell me about Palau." is decided as "what is Palau's
    capital?", by the edits about Palau alone; "Are you sure?" is decided as the turn before it.
    A subject is carried over if an edit is about it, from the latest turn that is not itself a
    follow-up. A query that hits by its own words is left as it is, and so is one without history.

    :param config: which turns are follow-ups.
    """

    name = "follow_up"
    routes = MISSES

    def __init__(self, config: FollowUpConfig | None = None) -> None:
        self.config = config or FollowUpConfig()
        of = {name: "|".join(map(re.escape, getattr(self.config, name))) for name in _WORD_FIELDS}
        self._pronoun = re.compile(
            rf"\b(?:(?P<place>(?<!is )(?<!are )(?<!was )(?<!were )(?:{of['places']}))"
            rf"|(?P<owner>(?:{of['possessives']})(?=\s+\w))"
            rf"|(?P<subject>{of['pronouns']}|{of['possessives']}))\b",
            re.IGNORECASE,
        )
        self._connective = re.compile(rf"(?:(?:{of['connectives']})\b[\s,]*)+", re.IGNORECASE)

    def resolve(self, decisions: Sequence[Decision], context: ResolverContext) -> list[Decision]:
        """Return the decisions, follow-ups that an edit governs as hits with a canonical query."""
        resolved = list(decisions)
        rows = [row for row, history in enumerate(context.histories) if history]
        found = self._carried({row: decisions[row] for row in rows}, context)
        left = [row for row in rows if row not in found]
        found |= self._doubted({row: decisions[row] for row in left}, context)
        for row, decision in found.items():
            resolved[row] = with_candidates(decision, decisions[row])
        return resolved

    def _carried(
        self, misses: dict[int, Decision], context: ResolverContext
    ) -> dict[int, Decision]:
        """Return the hits by a subject that was carried over, by row.

        The first readings of all rows are decided in one batch, then the second ones of those that
        still miss, and so on.
        """
        left = {
            row: self._readings(miss.query, context.histories[row], context.scopes[row])
            for row, miss in misses.items()
        }
        hits: dict[int, Decision] = {}
        while True:
            tried = {row: one for row, some in left.items() if (one := next(some, None))}
            if not tried:
                return hits
            scopes = [_only(context.scopes[row], one.ids) for row, one in tried.items()]
            texts = [one.text for one in tried.values()]
            for (row, one), made in zip(
                tried.items(), context.decide(texts, scopes, before=self), strict=True
            ):
                if made.hit:
                    canonical = made.canonical_query or one.text
                    hits[row] = replace(made, query=misses[row].query, canonical_query=canonical)
            left = {row: left[row] for row in tried if row not in hits}

    def _doubted(
        self, misses: dict[int, Decision], context: ResolverContext
    ) -> dict[int, Decision]:
        """Return the decisions on the turn before, by row, of turns that doubt its answer."""
        doubt = self.config.doubt
        asked = {row: _last_user_turn(context.histories[row]) for row in misses}
        asked = {row: at for row, at in asked.items() if at is not None}
        if doubt is None or not asked:
            return {}
        texts = [_SENTENCES.split(misses[row].query.strip())[-1] for row in asked]
        scores = context.gate.score_batch(texts, [[doubt]] * len(texts))
        doubting = {
            row: at
            for (row, at), one in zip(asked.items(), scores, strict=True)
            if at is not None and float(one.probability[0]) >= self.config.min_doubt
        }
        if not doubting:
            return {}
        turns = [context.histories[row][at][1] for row, at in doubting.items()]
        scopes = [context.scopes[row] for row in doubting]
        before = context.decide(turns, scopes, before=self)
        histories = [context.histories[row][:at] for row, at in doubting.items()]
        missed = [i for i, one in enumerate(before) if not one.hit]
        if missed:
            inner = replace(
                context,
                scopes=[scopes[i] for i in missed],
                histories=[histories[i] for i in missed],
            )
            for i, one in zip(
                missed, self.resolve([before[i] for i in missed], inner), strict=True
            ):
                before[i] = one
        return {
            row: replace(
                one, query=misses[row].query, canonical_query=one.canonical_query or one.query
            )
            for row, one in zip(doubting, before, strict=True)
            if one.hit
        }

    def _readings(self, query: str, history: History, edits: ScopedView) -> Iterator[_Reading]:
        """Yield a query with the subjects of the turns before put in, the likeliest first."""
        leaning = [query]
        for asked, reply in _exchanges(history, self.config.turns):
            if not self._leans(leaning[-1]):
                return
            for turn in (asked, reply):
                for subject, facts in _subjects(turn, edits).items():
                    # the turns between lean on this subject, too
                    if all(any(self._put_in(one, subject, facts)) for one in leaning):
                        for text in self._put_in(query, subject, facts):
                            yield _Reading(text, frozenset(fact.id for fact in facts))
            leaning.append(asked)

    def _leans(self, text: str) -> bool:
        """Return whether a text may take its subject from the turns before."""
        if self._pronoun.search(text):
            return True
        content = sum(word.content for word in words(text))
        return not names_in(text) and content <= self.config.max_words

    def _put_in(self, query: str, subject: str, facts: Sequence[Fact]) -> Iterator[str]:
        """Yield a query with a subject in the place of its pronouns, or behind it.

        Where it has a word for a place, first with that alone replaced: "they" in "What do they
        speak there?" is people. None where it has no pronoun and asks more than the facts do.
        """
        opening = self._connective.match(query)
        text = query[opening.end() :] if opening else query
        forms = {"place": f"in {subject}", "owner": f"{subject}'s", "subject": subject}
        kinds = {str(match.lastgroup) for match in self._pronoun.finditer(text)}
        for put in ({"place"}, kinds) if "place" in kinds and len(kinds) > 1 else (kinds,):
            if put:
                yield self._pronoun.sub(
                    lambda m, put=put: forms[m.lastgroup] if m.lastgroup in put else m[0],  # type: ignore[misc]
                    text,
                )
        known = {word.plain for fact in facts for one in fact.examples for word in words(one)}
        if not kinds and all(word.plain in known for word in words(text) if word.content):
            yield f"{text.rstrip(' ?.!')} of {subject}?"


_SENTENCES = re.compile(r"(?<=[.!?])\s+")
_WORD_FIELDS = ("pronouns", "possessives", "places", "connectives")


def _exchanges(history: History, most: int) -> Iterator[tuple[str, str]]:
    """Yield the last user turns, each with the reply to it, the latest first."""
    reply = ""
    for role, text in reversed(history):
        if role == "assistant":
            reply = text
        elif role == "user" and most > 0:
            yield text, reply
            reply, most = "", most - 1


def _last_user_turn(history: History) -> int | None:
    """Return the position of the last user turn."""
    return max((at for at, (role, _) in enumerate(history) if role == "user"), default=None)


def _subjects(turn: str, edits: ScopedView) -> dict[str, list[Fact]]:
    """Return the subjects that a turn names and edits are about, each with these facts."""
    found: dict[str, list[Fact]] = {}
    for edit in edits.view.named(turn):
        if not isinstance(edit, Fact) or not edits.allows(edit):
            continue
        try:
            found.setdefault(subject_of(edit), []).append(edit)
        except UnsupportedEdit:  # no subject to put in
            continue
    return found


def _only(edits: ScopedView, ids: frozenset[str]) -> ScopedView:
    return edits.restricted(lambda edit: edit.id in ids)
