"""Edits in the weights as a stack: one may be added on top, or removed from the middle."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Edit
from errata.editing.base import Editor, Separable, Sequential
from errata.editing.changes import WARNING_ERROR, Change, WriteReport, applied

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

log = logging.getLogger("errata")


@dataclass(slots=True, eq=False)
class _Layer:
    """Edits planned together, on the weights with the layers below applied."""

    edits: tuple[Edit, ...]
    changes: Sequence[Change]
    undo: ExitStack = field(default_factory=ExitStack)
    writes: tuple[WriteReport, ...] = ()


class ChangeStack:
    """The edits of one editor in one model.

    Edits come in layers. A layer is planned on the weights with the layers below applied, so
    removing one also unwinds those above it and plans them again, unless the editor keeps its edits
    apart (:class:`~errata.editing.base.Separable`): then nothing is planned again. After any
    failure the weights are those of the remaining layers; without layers, the unedited ones.

    :param model: the base model.
    :param tokenizer: its tokenizer.
    :param editor: plans the changes.
    :param strict: raise for an edit that planning rejects; otherwise it is left out.
    :param earlier: changes of the same editor that are in the weights below.
    """

    def __init__(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        editor: Editor,
        *,
        strict: bool = False,
        earlier: Sequence[Change] = (),
    ) -> None:
        self.earlier = tuple(earlier)
        self.model, self.tokenizer, self.editor, self.strict = model, tokenizer, editor, strict
        self._refused: set[str] = set()
        self._layers: list[_Layer] = []
        self._suspended: list[_Layer] = []

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits in the weights, in order of addition."""
        return tuple(edit for layer in self._layers for edit in layer.edits)

    @property
    def writes(self) -> tuple[WriteReport, ...]:
        """The rounding of their updates."""
        return tuple(write for layer in self._layers for write in layer.writes)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes of the model for them, in order."""
        return tuple(change for layer in self._layers for change in layer.changes)

    def supports(self, edit: Edit) -> bool:
        """Return whether the editor can make an edit, as far as known so far.

        Weights are the same for all conversations, so an edit with a rollout stays with the cache.
        """
        return edit.rollout == 1 and edit.id not in self._refused and self.editor.supports(edit)

    def add(self, edits: Sequence[Edit]) -> None:
        """Plan edits and write them into the weights.

        :raises errata.cache.errors.ErrataError: they cannot be planned; the weights are as before.
        """
        if not edits:
            return
        if not (self.editor.capabilities.together and self._layers):
            self._push(edits)
            return
        everything = (*self.edits, *edits)
        before = self._unwind(0)
        try:
            self._push(everything)
        except BaseException:
            self._replay(before)
            raise

    def remove(self, ids: Collection[str]) -> None:
        """Remove edits, at any position, and plan the later ones again unless they are kept apart.

        :param ids: of the edits; unknown ones are ignored.
        :raises errata.cache.errors.ErrataError: a later edit can no longer be planned; it is
            removed, and so are the edits named.
        """
        hit = [i for i, layer in enumerate(self._layers) if any(e.id in ids for e in layer.edits)]
        if not hit:
            return
        editor = self.editor
        for layer in self._unwind(hit[0]):
            kept = [edit for edit in layer.edits if edit.id not in ids]
            if editor.capabilities.separable and isinstance(editor, Separable):
                if kept:
                    self._apply(_Layer(tuple(kept), editor.without(layer.changes, ids)))
            else:
                self._push(kept)

    def clear(self) -> None:
        """Remove all edits: the model is restored bit for bit."""
        self._suspended = []
        self._unwind(0)

    def suspend(self) -> None:
        """Undo all changes until :meth:`resume`."""
        while self._layers:
            if self._layers[-1] not in self._suspended:
                self._suspended.insert(0, self._layers[-1])
            self._unwind(len(self._layers) - 1)

    def resume(self) -> None:
        """Apply again what :meth:`suspend` undid; nothing is planned.

        Continues after an interrupt of either method.
        """
        while self._suspended:
            layer = self._suspended[0]
            if layer in self._layers:
                self._unwind(self._layers.index(layer))
            self._apply(layer)
            self._suspended.pop(0)

    def _push(self, edits: Sequence[Edit]) -> None:
        remaining = list(edits)
        while remaining:
            try:
                changes = self._plan(remaining)
                break
            except UnsupportedEdit as error:
                kept = [edit for edit in remaining if edit.id != error.edit_id]
                if self.strict or len(kept) == len(remaining):
                    raise
                self._refused.add(error.edit_id)
                log.warning("%s; it stays with the cache", error)
                remaining = kept
        if remaining:
            self._apply(_Layer(tuple(remaining), changes))
            self._log_rounding()

    def _plan(self, edits: Sequence[Edit]) -> Sequence[Change]:
        if isinstance(self.editor, Sequential):
            earlier = (*self.earlier, *self.changes)
            return self.editor.plan_after(self.model, self.tokenizer, edits, earlier)
        return self.editor.plan(self.model, self.tokenizer, edits)

    def _apply(self, layer: _Layer) -> None:
        layer.undo = ExitStack()
        try:
            self._layers.append(layer)
            layer.writes = layer.undo.enter_context(applied(self.model, layer.changes))
        except BaseException:
            if layer in self._layers:
                self._unwind(self._layers.index(layer))
            raise

    def _replay(self, layers: Sequence[_Layer]) -> None:
        for layer in layers:
            self._apply(layer)

    def _unwind(self, start: int) -> list[_Layer]:
        """Undo the layers from one on, the last first, and return them in order of application."""
        removed: list[_Layer] = []
        while len(self._layers) > start:
            layer = self._layers[-1]
            try:
                self._layers.remove(layer)
                layer.undo.close()
            finally:  # an interrupt may have fallen between the two; closing again is harmless
                if layer not in self._layers:
                    layer.undo.close()
            removed.insert(0, layer)
        return removed

    def _log_rounding(self) -> None:
        for write in self._layers[-1].writes:
            if write.relative_error > WARNING_ERROR:
                log.warning(
                    "%s: %.0f%% of the planned update were lost in writing it as %s; "
                    "load the model with dtype=torch.float32 for exact edits",
                    write.name,
                    100 * write.relative_error,
                    write.dtype,
                )
