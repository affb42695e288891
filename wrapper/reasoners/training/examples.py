"""What a reasoner learns and is examined on: edits, a query, what one who believes them says."""

from __future__ import annotations

from dataclasses import dataclass

from errata.cache.records import Fact

OWN, OTHER, CLOZE, ALIAS = "own question", "other phrasing", "cloze", "alias"
YES_NO, REVERSED, HOP = "yes or no", "reversed", "one hop"
TWO_EDITS, NO_MATTER = "two edits, one hop", "an edit that does not matter"
TWIN = "an edit of another, of whom the same is true"
"""The hardest edit that does not matter: asked and edited subject share the answer."""
KINDS = (OWN, OTHER, CLOZE, ALIAS, YES_NO, REVERSED, HOP, TWO_EDITS, NO_MATTER, TWIN)
SHARES = (0.08, 0.13, 0.18, 0.2, 0.13, 0.14, 0.12, 0.05, 0.2, 0.08)
"""Of the lessons of training, in the order of ``KINDS`` (they need not add up to one)."""


@dataclass(frozen=True, slots=True)
class ReasonerExample:
    """One query under edits.

    :param kind: one of ``KINDS``.
    :param edits: the edits, in the order they are read.
    :param query: what is asked.
    :param answer: what one who believes the edits says; None where none of them bears on the query,
        and the base model is to answer alone.
    :param known: a question and its answer that the base has to know by itself, or None.
    :param false_query: of a yes-or-no lesson, the same with a false object.
    """

    kind: str
    edits: tuple[Fact, ...]
    query: str
    answer: str | None
    known: tuple[str, str] | None = None
    false_query: str | None = None
