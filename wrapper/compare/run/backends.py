"""The backends that are compared, each entered in the same way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from errata.cache.patches.kinds import dump_edit
from errata.cache.records import Edit, Fact
from errata.compare.run.efficiency import measured
from errata.compare.run.free_generation import Decisions
from errata.compare.run.training_time import Seconds
from errata.editing.base import Editor
from errata.editing.changes import Change, WeightChange
from errata.editing.stack import ChangeStack
from errata.generation.selection import Selection

if TYPE_CHECKING:
    import torch

    from errata.model import EditableModel


@dataclass(frozen=True, slots=True)
class Made:
    """What became of edits.

    :param held: ids of those that were made; the others the backend cannot make.
    :param seconds: wall time for all of them.
    :param bytes: what has to be kept for them.
    :param memory: peak bytes while they were made, above what was held before; None if unknown.
    """

    held: frozenset[str]
    seconds: float
    bytes: int
    memory: int | None


@runtime_checkable
class Contender(Protocol):
    """A backend as the comparison sees it: it makes edits, answers, and takes them out again."""

    name: str
    pipeline: bool
    """Whether stored answers are put in the place of the model's, which it then has no logits for.
    """

    @property
    def trained(self) -> Seconds:
        """How long what it needs was trained, once for all edits; known once edits were made."""

    def make(self, edits: Sequence[Fact]) -> Made:
        """Make edits in one go, on top of those made before."""

    def clear(self) -> None:
        """Take out every edit that :meth:`make` made."""

    def forget(self) -> None:
        """Forget the encodings of texts, so that what is timed next costs what a new text does."""

    def generate(self, *arguments: Any, **options: Any) -> tuple[torch.Tensor, Decisions]:
        """Generate as `transformers` does; with each row's decision, where there is one."""


class EditorContender:
    """An editor of weights: the base model's own ``generate`` answers, no cache helps.

    :param name: what it is called in the records.
    :param model: holds the base model.
    :param editor: plans the changes.
    """

    pipeline = False

    def __init__(self, name: str, model: EditableModel, editor: Editor) -> None:
        self.name, self.model, self.editor = name, model, editor
        self._stacks: list[ChangeStack] = []

    @property
    def trained(self) -> Seconds:
        """What the editor says it computed once for the model, such as second moments."""
        return dict(getattr(self.editor, "trained", {}))

    def make(self, edits: Sequence[Fact]) -> Made:
        """Plan edits on the weights that the ones before left, and write them."""
        base = self.model.base
        stack = ChangeStack(base, self.model.tokenizer, self.editor)
        with measured(base.device) as cost:
            stack.add([edit for edit in edits if stack.supports(edit)])
        self._stacks.append(stack)
        kept = sum(_kept(change) for change in stack.changes)
        return Made(frozenset(e.id for e in stack.edits), cost.seconds, kept, cost.memory)

    def clear(self) -> None:
        """Put the unedited weights back, the last change first."""
        while self._stacks:
            self._stacks.pop().clear()

    def forget(self) -> None:
        """Nothing is remembered."""

    def generate(self, *arguments: Any, **options: Any) -> tuple[torch.Tensor, Decisions]:
        """Generate by the edited base model alone."""
        output = self.model.generate(*arguments, edits=False, **options)
        return output, [None] * len(output)


class PipelineContender:
    """The cache or another pipeline, as it is used: ``edit`` and ``retract``.

    :param name: what it is called in the records.
    :param model: an EditableModel in which the pipeline is in use, with edits in its cache or
        without.
    :param trained: how long its gate and its reasoner were trained.
    """

    pipeline = True

    def __init__(self, name: str, model: EditableModel, trained: Seconds) -> None:
        self.name, self.model, self.trained = name, model, trained
        self._made: list[str] = []

    def make(self, edits: Sequence[Fact]) -> Made:
        """Put edits into force, all at one moment."""
        there = {edit.id for edit in self.model.edits}
        self.forget()
        with measured(self.model.base.device) as cost:
            self.model.edit(list(edits))
        self._made += [edit.id for edit in edits if edit.id not in there]
        used = self.model.in_use
        held = {edit.id for edit in edits} - {edit.id for edit in used.unsupported}
        kept = sum(_stored(edit, self.model.encoder.dimension) for edit in edits)
        return Made(frozenset(held), cost.seconds, kept, cost.memory)

    def clear(self) -> None:
        """Retract the edits."""
        while self._made:
            self.model.retract(self._made.pop())

    def forget(self) -> None:
        """Forget what the encoder remembers; what a gate remembers of the edits stays."""
        getattr(self.model.encoder, "forget", lambda: None)()

    def generate(self, *arguments: Any, **options: Any) -> tuple[torch.Tensor, Decisions]:
        """Generate with the edits in force."""
        return generated(self.model, *arguments, **options)


def generated(
    model: EditableModel, *arguments: Any, edits: Selection = True, **options: Any
) -> tuple[torch.Tensor, Decisions]:
    """Generate with the edits in force, and tell each row's decision."""
    output = model.generate(*arguments, edits=edits, **options)
    trace = model.last_trace
    decisions = trace.decisions if trace is not None else [None] * len(output)
    return output, decisions


def _kept(change: Change) -> int:
    """Return the bytes of what a change adds; modules and hooks tell by their own tensors."""
    if isinstance(change, WeightChange):
        return change.delta.numel() * change.delta.element_size()
    return int(getattr(change, "nbytes", 0))


def _stored(edit: Edit, dimension: int) -> int:
    """Return the bytes of an edit and its encoding."""
    return len(json.dumps(dump_edit(edit), ensure_ascii=False).encode()) + 4 * dimension
