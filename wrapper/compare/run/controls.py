"""Controls: no edit, shuffled answers, and a random update of an editor's size."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import EditError
from errata.cache.records import Edit, Fact
from errata.compare.inputs.cases import Case
from errata.compare.run.backends import ComparedBackend, EditResult
from errata.compare.run.efficiency import Cost
from errata.compare.run.training_time import TrainingSeconds
from errata.editing.base import Editor
from errata.editing.changes import WeightChange
from errata.generation.free_generation import Decisions

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel
    from errata.model import EditableModel


class NoEdit:
    """Applies nothing: answers that are right without an edit were known, or guessed.

    :param model: holds the base model.
    """

    name = "none"
    pipeline = False

    def __init__(self, model: EditableModel) -> None:
        self.model = model
        self.training_seconds: TrainingSeconds = {}

    def apply(self, edits: Sequence[Fact]) -> EditResult:
        """Do nothing."""
        return EditResult(frozenset(edit.id for edit in edits), Cost(memory=0), 0)

    def undo(self) -> None:
        """Do nothing."""

    def clear_encoder_cache(self) -> None:
        """Do nothing: there is no encoder."""

    def generate(self, *arguments: Any, **options: Any) -> tuple[torch.Tensor, Decisions]:
        """Generate by the base model."""
        output = self.model.generate(*arguments, edits=False, **options)
        return output, [None] * len(output)


class ShuffledAnswers:
    """Applies each edit with another edit's answer; evaluated on the true ones, it has to fail.

    :param name: its name in the records.
    :param inner: the backend that applies the edits.
    """

    def __init__(self, name: str, inner: ComparedBackend) -> None:
        self.name, self.inner, self.pipeline = name, inner, inner.pipeline
        self._answers: dict[str, str] = {}

    @property
    def training_seconds(self) -> TrainingSeconds:
        """Training time of the backend's parts."""
        return self.inner.training_seconds

    def prepare(self, cases: Sequence[Case], seed: int) -> None:
        """Draw the answers.

        :param cases: all cases of the comparison; answers are swapped within a group.
        :param seed: of the draw.
        """
        self._answers = shuffled_answers(cases, seed)

    def apply(self, edits: Sequence[Fact]) -> EditResult:
        """Apply the edits with shuffled answers, their ids unchanged."""
        return self.inner.apply(
            [dataclasses.replace(edit, answer=self._answers[edit.id]) for edit in edits]
        )

    def undo(self) -> None:
        """Undo the edits."""
        self.inner.undo()

    def clear_encoder_cache(self) -> None:
        """Drop the backend's cached encodings."""
        self.inner.clear_encoder_cache()

    def generate(self, *arguments: Any, **options: Any) -> tuple[torch.Tensor, Decisions]:
        """Generate by the backend."""
        return self.inner.generate(*arguments, **options)


def shuffled_answers(cases: Sequence[Case], seed: int) -> dict[str, str]:
    """Return for each edit's id the answer of another edit, of the same group if there is one.

    :raises EditError: all edits have the same answer.
    """
    rng = random.Random(f"shuffled/{seed}")
    everywhere = sorted({edit.answer for case in cases for edit in case.edits})
    found: dict[str, str] = {}
    for case in cases:
        of_group = sorted({e.answer for c in cases if c.group == case.group for e in c.edits})
        for edit in case.edits:
            excluded = {edit.answer, case.old}
            pools = ([a for a in pool if a not in excluded] for pool in (of_group, everywhere))
            pool = next((pool for pool in pools if pool), None)
            if pool is None:
                raise EditError(
                    "expected edits with different answers to shuffle, found one answer only: "
                    f"{edit.answer!r}; leave the controls out with `controls: false` in the file "
                    "of --config"
                )
            found[edit.id] = rng.choice(pool)
    return found


class RandomUpdate:
    """An editor whose updates have another's places and norms, and random directions.

    :param editor: the other; it has to change weights, not modules.
    """

    def __init__(self, editor: Editor) -> None:
        self.editor, self.capabilities = editor, editor.capabilities

    @property
    def trained(self) -> TrainingSeconds:
        """Time of what the other editor computes once for the model."""
        return dict(getattr(self.editor, "trained", {}))

    def supports(self, edit: Edit) -> bool:
        """Return whether the other editor supports an edit."""
        return self.editor.supports(edit)

    def plan(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, edits: Sequence[Edit]
    ) -> list[WeightChange]:
        """Return updates of the same Frobenius norm as the other's, seeded by the edits' ids.

        :raises EditError: the other editor changes something other than weights.
        """
        import torch

        text = " ".join(edit.id for edit in edits)
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
        generator = torch.Generator().manual_seed(seed)
        found = []
        for change in self.editor.plan(model, tokenizer, edits):
            if not isinstance(change, WeightChange):
                raise EditError(
                    f"expected an editor that changes weights, found one that changes "
                    f"{change.name} otherwise; a random change of its size has no meaning: leave "
                    "this control out"
                )
            drawn = torch.randn(change.delta.shape, generator=generator).to(change.delta)
            size = change.delta.norm() / drawn.norm()
            found.append(WeightChange(change.name, drawn * size))
        return found
