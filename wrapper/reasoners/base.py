"""The contract of a reasoner: the counterfactual model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from errata.cache.records import Edit, Fact

if TYPE_CHECKING:
    from transformers import GenerationConfig

    from errata.generation.chat import Prompt

Outcome = Literal["", "accepted", "asked again", "overruled"]
"""What became of an answer: not held against an edit, says what the edit says, replaced by a
sentence that the model made of the edit, or by the edit's own words."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a reasoner.

    :param text: the answer.
    :param outcome: of its verification.
    """

    text: str
    outcome: Outcome = ""


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


@runtime_checkable
class ConversationReasoner(Protocol):
    """A reasoner that can read the conversation around a query."""

    def answer_prompts(
        self,
        prompts: Sequence[Prompt],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[Reply]]:
        """Return the answers to the queries of prompts, as :meth:`Reasoner.answer` does.

        :param prompts: the caller's, each with its query.
        :param edits: for each, the edits that govern it, best first; never empty.
        :param generation: the caller's generation config.
        """


@runtime_checkable
class FactWriter(Protocol):
    """A reasoner that can word a fact as a sentence."""

    def write_facts(self, facts: Sequence[Fact], generation: GenerationConfig) -> list[str]:
        """Return a sentence for each fact; it may be wrong, and is checked by the caller."""


def replies(answers: Sequence[Sequence[str]]) -> list[list[Reply]]:
    """Return answers as replies that were not verified."""
    return [[Reply(text) for text in texts] for texts in answers]


def answer_prompts(
    reasoner: Reasoner,
    prompts: Sequence[Prompt],
    edits: Sequence[Sequence[Edit]],
    generation: GenerationConfig,
) -> list[list[Reply]]:
    """Return a reasoner's answers to the queries of prompts.

    :param reasoner: gets the prompts if it can read conversations, else their queries.
    :param prompts: the caller's, each with its query.
    :param edits: for each, the edits that govern it, best first; never empty.
    :param generation: the caller's generation config.
    """
    if isinstance(reasoner, ConversationReasoner):
        return reasoner.answer_prompts(prompts, edits, generation)
    return replies(reasoner.answer([prompt.query for prompt in prompts], edits, generation))
