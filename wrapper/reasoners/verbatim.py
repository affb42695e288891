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
    """Says what the best edit says: a fact's answer, a refusal, a language patch's ``say …``.

    :param base: not needed; every reasoner is made from base and tokenizer.
    :param tokenizer: not needed.
    """

    def __init__(
        self,
        base: GenerativeModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        del base, tokenizer

    def supports(self, edit: Edit) -> bool:
        """Tell whether the edit holds words to say."""
        return words(edit) is not None

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
            answer = words(governing[0])
            if answer is None:
                raise UnsupportedEdit(
                    f"edit {governing[0].id}: its consequence has to be reasoned about, and the "
                    'verbatim reasoner only says what is stored; write `then: say "…"`, or choose '
                    "another reasoner"
                )
            out.append([answer] * (generation.num_return_sequences or 1))
        return out


def words(edit: Edit) -> str | None:
    """Return what an edit says by itself, or None."""
    if isinstance(edit, Fact):
        return edit.answer
    if isinstance(edit, LanguagePatch):
        return verbatim_answer(edit.consequence)
    return None
