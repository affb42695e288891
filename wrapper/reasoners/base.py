"""The contract of a reasoner: the counterfactual model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from errata.cache.records import Edit

if TYPE_CHECKING:
    from transformers import GenerationConfig


@runtime_checkable
class Reasoner(Protocol):
    """Given a query and the edits in force, answers as a person would who believes the edits.

    Contract: sees nothing but its arguments; batch in, batch out, order kept; one inner item for
    each returned sequence.
    """

    def supports(self, edit: Edit) -> bool:
        """Tell whether it can answer by this edit; others stay out of force."""

    def answer(
        self,
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[str]]:
        """Return the answers, ``generation.num_return_sequences`` for each query.

        :param queries: n questions.
        :param edits: for each, the edits that govern it, best first; never empty.
        :param generation: the caller's generation config.
        :raises errata.cache.errors.UnsupportedEdit: an edit it cannot answer by.
        """


@runtime_checkable
class Speaker(Protocol):
    """A reasoner that follows instructions, and so may say things in words of its own."""

    def phrases(self, edit: Edit) -> bool:
        """Tell whether it says in its own words what this edit asks to be said.

        ``then: say that …`` leaves the words open; ``then: say "…"`` does not.
        """
