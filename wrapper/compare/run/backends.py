"""The backends that are compared, behind one interface: editors of weights and pipelines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from errata.cache.patches.kinds import dump_edit
from errata.cache.records import Edit, Fact
from errata.compare.run.efficiency import Cost, cpu_milliseconds, measured
from errata.compare.run.training_time import TrainingSeconds
from errata.editing.base import Editor
from errata.editing.changes import Change, WeightChange
from errata.editing.stack import ChangeStack
from errata.gates.base import Decision
from errata.generation.free_generation import Decisions
from errata.generation.request import Selection

if TYPE_CHECKING:
    import torch

    from errata.model import EditableModel


@dataclass(frozen=True, slots=True)
class EditResult:
    """What applying edits gave.

    :param applied: ids of the edits that were applied; the backend does not support the others.
    :param cost: time and memory for all of them.
    :param bytes: storage for all of them.
    """

    applied: frozenset[str]
    cost: Cost
    bytes: int


@runtime_checkable
class ComparedBackend(Protocol):
    """A backend as the comparison sees it: applies edits, generates, and undoes them."""

    name: str
    pipeline: bool
    """Whether it answers from stored edits, without logits of its own."""

    @property
    def training_seconds(self) -> TrainingSeconds:
        """Training time of its parts, once for all edits; known after the first edit."""

    def apply(self, edits: Sequence[Fact]) -> EditResult:
        """Apply edits in one go, on top of those applied before."""

    def undo(self) -> None:
        """Undo every edit that :meth:`apply` applied."""

    def clear_encoder_cache(self) -> None:
        """Drop cached encodings, so that the next timed text is encoded anew."""

    def generate(self, *arguments: Any, **options: Any) -> tuple[torch.Tensor, Decisions]:
        """Generate as `transformers` does; return sequences and each row's decision or None."""


class EditorBackend:
    """An editor of weights on the bare base model, without a cache.

    :param name: its name in the records.
    :param model: holds the base model.
    :param editor: plans the changes.
    """

    pipeline = False

    def __init__(self, name: str, model: EditableModel, editor: Editor) -> None:
        self.name, self.model, self.editor = name, model, editor
        self._stacks: list[ChangeStack] = []

    @property
    def training_seconds(self) -> TrainingSeconds:
        """Time of what the editor computes once for the model, such as a covariance."""
        return dict(getattr(self.editor, "trained", {}))

    def apply(self, edits: Sequence[Fact]) -> EditResult:
        """Plan edits on the current weights, and write them."""
        base = self.model.base
        earlier = [change for each in self._stacks for change in each.changes]
        stack = ChangeStack(base, self.model.tokenizer, self.editor, earlier=earlier)
        with measured(base.device) as cost:
            stack.add([edit for edit in edits if stack.supports(edit)])
        self._stacks.append(stack)
        size = sum(_change_bytes(change) for change in stack.changes)
        return EditResult(frozenset(e.id for e in stack.edits), cost, size)

    def undo(self) -> None:
        """Restore the unedited weights, the last change first."""
        while self._stacks:
            self._stacks.pop().clear()

    def clear_encoder_cache(self) -> None:
        """Do nothing: there is no encoder."""

    def generate(self, *arguments: Any, **options: Any) -> tuple[torch.Tensor, Decisions]:
        """Generate by the edited base model."""
        output = self.model.generate(*arguments, edits=False, **options)
        return output, [None] * len(output)


class PipelineBackend:
    """The cache or another pipeline, through ``edit`` and ``retract``.

    :param name: its name in the records.
    :param model: an EditableModel that uses the pipeline; its cache may hold other edits.
    :param training_seconds: training time of its gate and its reasoner.
    """

    pipeline = True

    def __init__(self, name: str, model: EditableModel, training_seconds: TrainingSeconds) -> None:
        self.name, self.model, self.training_seconds = name, model, training_seconds
        self._applied: list[str] = []

    def apply(self, edits: Sequence[Fact]) -> EditResult:
        """Add edits to the cache in one go."""
        return self._add(edits)

    def _add(self, edits: Sequence[Edit]) -> EditResult:
        present = {edit.id for edit in self.model.edits}
        self.clear_encoder_cache()
        with measured(self.model.base.device) as cost:
            self.model.edit(list(edits))
        self._applied += [edit.id for edit in edits if edit.id not in present]
        unsupported = {edit.id for edit in self.model.in_use.unsupported}
        applied = frozenset(edit.id for edit in edits) - unsupported
        size = sum(_stored_bytes(edit, self.model.encoder.dimension) for edit in edits)
        return EditResult(applied, cost, size)

    def undo(self) -> None:
        """Retract the edits."""
        while self._applied:
            self.model.retract(self._applied.pop())

    def clear_encoder_cache(self) -> None:
        """Drop the encoder's cached encodings; a gate keeps those of the edits."""
        getattr(self.model.encoder, "forget", lambda: None)()

    def decide(self, questions: Sequence[str]) -> list[Decision]:
        """Return the decision about each question, with the edits in force."""
        return self.model.decide(questions)

    def decision_milliseconds(self, question: str) -> float:
        """Return the CPU time of the decision about one question, decided once before, untimed.

        So no backend pays for loading, or for encodings that the ones after it find cached.
        """
        self.decide([question])
        return cpu_milliseconds(partial(self.decide, [question]))

    def generate(self, *arguments: Any, **options: Any) -> tuple[torch.Tensor, Decisions]:
        """Generate with the edits in force."""
        return generate_with_decisions(self.model, *arguments, **options)


def generate_with_decisions(
    model: EditableModel, *arguments: Any, edits: Selection = True, **options: Any
) -> tuple[torch.Tensor, Decisions]:
    """Generate with the edits in force; return sequences and each row's decision."""
    output = model.generate(*arguments, edits=edits, **options)
    trace = model.last_trace
    decisions = trace.decisions if trace is not None else [None] * len(output)
    return output, decisions


def _change_bytes(change: Change) -> int:
    """Return the bytes of what a change adds; 0 where a module or hook does not say."""
    if isinstance(change, WeightChange):
        return change.delta.numel() * change.delta.element_size()
    return int(getattr(change, "nbytes", 0))


def _stored_bytes(edit: Edit, dimension: int) -> int:
    """Return the bytes of an edit and its encoding."""
    return len(json.dumps(dump_edit(edit), ensure_ascii=False).encode()) + 4 * dimension
