"""Examples that reasoners are trained and evaluated on: edits, a query, the answer under them."""

from __future__ import annotations

from dataclasses import dataclass

from errata.cache.records import Edit

EDIT_QUESTION, PARAPHRASE, CLOZE, ALIAS = "own question", "other phrasing", "cloze", "alias"
YES_NO, REVERSED, ONE_HOP = "yes or no", "reversed", "one hop"
TWO_EDITS, LOCALITY = "two edits, one hop", "an edit that does not matter"
SAME_ANSWER_LOCALITY = "an edit of another, of whom the same is true"
"""The hardest locality: the subject of the query and the edited one share the old answer."""
SAY_THAT = "say that"
"""Reported speech of a language patch: ``say that you were made by Example Labs``."""
REAL_PARAPHRASE = "other phrasing, by people"
REAL_LOCALITY = "an edit that does not matter, questions by people"
KINDS = (
    EDIT_QUESTION, PARAPHRASE, CLOZE, ALIAS, YES_NO, REVERSED, ONE_HOP, TWO_EDITS, LOCALITY,
    SAME_ANSWER_LOCALITY,
)  # fmt: skip
"""As in cards and reports."""
SHARES = (0.08, 0.13, 0.18, 0.2, 0.13, 0.14, 0.12, 0.05, 0.2, 0.08)
"""Sampling weights of training, in the order of ``KINDS`` (they need not add up to one)."""


@dataclass(frozen=True, slots=True)
class ReasonerExample:
    """One query under edits.

    :param kind: one of ``KINDS``.
    :param edits: the edits, in the order of the prompt.
    :param query: the query.
    :param answer: the target; None where no edit governs the query, so that the base answers.
    :param known: a question and its answer that the base model has to know, or None.
    :param false_query: of a yes-or-no example, the same with a false object.
    :param sentence: the answer as a chat model words it; "" where the answer itself is one.
    :param old: the answer without the edit, which must not be given; "" where it is not known.
    """

    kind: str
    edits: tuple[Edit, ...]
    query: str
    answer: str | None
    known: tuple[str, str] | None = None
    false_query: str | None = None
    sentence: str = ""
    old: str = ""
