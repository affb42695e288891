"""The verbatim reasoner: the stored answer is the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Edit, Fact, LanguagePatch
from errata.cache.text.then_clause import verbatim_answer

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


class VerbatimReasoner:
    """Returns the stored answer of the best edit: of a fact, or of a condition's ``say "…"``.

    :param base: unused; every reasoner is made from base and tokenizer.
    :param tokenizer: unused.
    """

    def __init__(
        self,
        base: GenerativeModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        del base, tokenizer

    def supports(self, edit: Edit) -> bool:
        """Return whether the edit stores an answer."""
        return stored_answer(edit) is not None

    def answer(
        self,
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[str]]:
        """Return the stored answer of each query's first edit, once for each sequence.

        :raises UnsupportedEdit: the first edit's consequence is not something to say.
        """
        out = []
        for governing in edits:
            answer = stored_answer(governing[0])
            if answer is None:
                raise UnsupportedEdit(
                    f"edit {governing[0].id}: its consequence has to be reasoned about, and the "
                    'verbatim reasoner only says what is stored; write `then: say "…"`, or choose '
                    "another reasoner"
                )
            out.append([answer] * (generation.num_return_sequences or 1))
        return out


def stored_answer(edit: Edit) -> str | None:
    """Return the answer that an edit stores, None where it has to be worked out."""
    if isinstance(edit, Fact):
        return edit.answer
    if isinstance(edit, LanguagePatch):
        return verbatim_answer(edit.consequence)
    return None
