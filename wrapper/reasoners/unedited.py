"""The unedited reasoner: the base model's own answer, for measuring what verification is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Edit
from errata.reasoners.reader import base_fallback, is_readable

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


class UneditedReasoner:
    """Answers each query with the base model, without any edit. A control.

    Inside a :class:`~errata.reasoners.verified.VerifiedReasoner` it shows what verification alone
    is worth.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    """

    def __init__(self, base: GenerativeModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._answer = base_fallback(base, tokenizer)

    def supports(self, edit: Edit) -> bool:
        """Return whether a reasoner could read the edit."""
        return is_readable(edit)

    def answer(
        self,
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[str]]:
        """Return the base model's answers, ``generation.num_return_sequences`` for each query.

        :raises UnsupportedEdit: an edit is of a kind that no reasoner reads.
        """
        for edit in (edit for governing in edits for edit in governing):
            if not is_readable(edit):
                raise UnsupportedEdit(
                    f"edit {edit.id}: expected a fact or a condition, found {edit.kind}; leave it "
                    "to another reasoner"
                )
        return self._answer(queries, generation) if queries else []
