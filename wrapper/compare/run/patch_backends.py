"""The cache with edits written as patches of another kind: language patches, and replacements."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from errata.cache.records import Edit, Fact, LanguagePatch, RegexPatch
from errata.compare.run.backends import EditResult, PipelineBackend
from errata.compare.run.training_time import TrainingSeconds
from errata.generation.free_generation import AnswerGenerator

if TYPE_CHECKING:
    from errata.model import EditableModel

_NEW_TOKENS = 24
"""Of the model's old answer, at most: as a comparison's by default."""


class PatchBackend(PipelineBackend):
    """The cache, with each edit rewritten before it is added; ids stay.

    :param name: its name in the records.
    :param model: an EditableModel that uses the cache.
    :param training_seconds: training time of its gate and its reasoner.
    :param rewrite: returns the patches of some edits.
    """

    def __init__(
        self,
        name: str,
        model: EditableModel,
        training_seconds: TrainingSeconds,
        rewrite: Callable[[EditableModel, Sequence[Fact]], Sequence[Edit]],
    ) -> None:
        super().__init__(name, model, training_seconds)
        self._rewrite = rewrite

    def apply(self, edits: Sequence[Fact]) -> EditResult:
        """Add the patches to the cache in one go."""
        return self._add(self._rewrite(self.model, edits))


def language_patches(model: EditableModel, edits: Sequence[Fact]) -> list[LanguagePatch]:
    """Return "if: the user asks …, then: say …" for each edit (Murty et al. 2022)."""
    return [
        LanguagePatch(f"the user asks: {edit.question}", f'say "{edit.answer}"', id=edit.id)
        for edit in edits
    ]


def replacements(model: EditableModel, edits: Sequence[Fact]) -> list[RegexPatch]:
    """Return the replacement of what the model answers now by the new answer, for each edit."""
    generator = AnswerGenerator(model.base, model.tokenizer, _NEW_TOKENS, 64)
    old = generator.answer([edit.question for edit in edits])
    return [
        RegexPatch(rf"\b{re.escape(was.text)}\b", edit.answer.replace("\\", r"\\"), id=edit.id)
        for edit, was in zip(edits, old, strict=True)
        if was.text
    ]
