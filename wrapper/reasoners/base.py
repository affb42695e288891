"""The contract of a reasoner: the counterfactual model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from errata.cache.records import Edit

if TYPE_CHECKING:
    from transformers import GenerationConfig


@runtime_checkable
class Reasoner(Protocol):
    """Answers a query as if the given edits were true.

    Contract: reads nothing but its arguments; batch in, batch out, order kept; one inner item for
    each returned sequence.
    """

    def supports(self, edit: Edit) -> bool:
        """Return whether it can answer from this edit; other edits are left to other routes."""

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
        :raises errata.cache.errors.UnsupportedEdit: an edit it cannot answer from.
        """


@runtime_checkable
class Paraphraser(Protocol):
    """A reasoner that follows instructions, and can word answers freely."""

    def paraphrases(self, edit: Edit) -> bool:
        """Return whether it words the answer of this edit freely.

        ``then: say that …`` allows a paraphrase; ``then: say "…"`` does not.
        """
