"""Verification of a reasoner's answers against the edits: accepted, asked again, or overruled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.cache.records import Edit
from errata.reasoners.base import Paraphraser, Reasoner

if TYPE_CHECKING:
    from transformers import GenerationConfig

    from errata.gates.base import Gate


@dataclass(frozen=True, slots=True)
class VerificationConfig:
    """How answers are held against edits.

    :param ask_again: ask a second time, in a stricter form, before an answer is overruled.
    :param overrule: say the edit's own words where the answer still contradicts it; False measures
        the reasoner alone.
    """

    ask_again: bool = True
    overrule: bool = True


class VerifiedReasoner:
    """A reasoner whose answers are held against the edits.

    :param reasoner: answers first.
    :param config: how its answers are verified.
    :param gate: tells a paraphrase of an edit's question from what the edit entails; None: only an
        edit's own question, word for word, counts as one.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        config: VerificationConfig = VerificationConfig(),
        *,
        gate: Gate | None = None,
    ) -> None:
        self.reasoner, self.config, self.gate = reasoner, config, gate

    def supports(self, edit: Edit) -> bool:
        """Return whether the reasoner supports the edit."""
        return self.reasoner.supports(edit)

    def paraphrases(self, edit: Edit) -> bool:
        """Return whether the reasoner words the answer of the edit freely."""
        return isinstance(self.reasoner, Paraphraser) and self.reasoner.paraphrases(edit)

    def answer(
        self,
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[str]]:
        """Return the verified answers, ``generation.num_return_sequences`` for each query."""
        return self.reasoner.answer(queries, edits, generation)
