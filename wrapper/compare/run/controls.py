"""Controls: what a figure would be if nothing, or nothing sensible, were edited."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import EditError
from errata.cache.records import Edit, Fact
from errata.compare.inputs.cases import Case
from errata.compare.run.backends import Contender, Made
from errata.compare.run.free_generation import Decisions
from errata.compare.run.training_time import Seconds
from errata.editing.base import Editor
from errata.editing.changes import WeightChange

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel
    from errata.model import EditableModel


class NoEdit:
    """Makes nothing: what is right without any edit was known, or guessed.

    :param model: holds the base model.
    """

    name = "none"
    pipeline = False

    def __init__(self, model: EditableModel) -> None:
        self.model = model
        self.trained: Seconds = {}

    def make(self, edits: Sequence[Fact]) -> Made:
        """Make nothing."""
        return Made(frozenset(edit.id for edit in edits), 0.0, 0, 0)

    def clear(self) -> None:
        """Take nothing out."""

    def forget(self) -> None:
        """Nothing is remembered."""

    def generate(self, *arguments: Any, **options: Any) -> tuple[torch.Tensor, Decisions]:
        """Generate by the base model."""
        output = self.model.generate(*arguments, edits=False, **options)
        return output, [None] * len(output)


class Shuffled:
    """Makes each edit with another edit's answer; judged by the true ones, it has to fail.

    :param name: what it is called in the records.
    :param inner: the backend that makes the edits.
    """

    def __init__(self, name: str, inner: Contender) -> None:
        self.name, self.inner, self.pipeline = name, inner, inner.pipeline
        self._answers: dict[str, str] = {}

    @property
    def trained(self) -> Seconds:
        """What the backend's parts took."""
        return self.inner.trained

    def prepare(self, cases: Sequence[Case], seed: int) -> None:
        """Draw the answers.

        :param cases: all cases of the comparison; those of one group swap among themselves.
        :param seed: of the draw.
        """
        self._answers = shuffled_answers(cases, seed)

    def make(self, edits: Sequence[Fact]) -> Made:
        """Make the edits, each with another's answer, under its own id."""
        return self.inner.make(
            [dataclasses.replace(edit, answer=self._answers[edit.id]) for edit in edits]
        )

    def clear(self) -> None:
        """Take the edits out."""
        self.inner.clear()

    def forget(self) -> None:
        """Forget what the backend remembers of texts."""
        self.inner.forget()

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
        near = sorted({e.answer for c in cases if c.group == case.group for e in c.edits})
        for edit in case.edits:
            taken = {edit.answer, case.old}
            pools = ([a for a in pool if a not in taken] for pool in (near, everywhere))
            pool = next((pool for pool in pools if pool), None)
            if pool is None:
                raise EditError(
                    "expected edits with different answers to shuffle, found one answer only: "
                    f"{edit.answer!r}; leave this control out with --no-controls"
                )
            found[edit.id] = rng.choice(pool)
    return found


class RandomOfSameSize:
    """An editor that changes what another would change, by as much, in a random direction.

    :param editor: the other; it has to change weights, not modules.
    """

    def __init__(self, editor: Editor) -> None:
        self.editor, self.capabilities = editor, editor.capabilities

    @property
    def trained(self) -> Seconds:
        """What the other editor computed once for the model."""
        return dict(getattr(self.editor, "trained", {}))

    def supports(self, edit: Edit) -> bool:
        """Tell whether the other editor can make an edit."""
        return self.editor.supports(edit)

    def plan(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, edits: Sequence[Edit]
    ) -> list[WeightChange]:
        """Return updates of the same Frobenius norm as the other's, drawn from the edits' ids.

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
