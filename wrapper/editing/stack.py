"""Edits that stay in the weights: one may come on top, or be taken out of the middle."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Edit
from errata.editing.base import Editor
from errata.editing.changes import TELLING_LOSS, Change, Write, applied

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

log = logging.getLogger("errata")


@dataclass(slots=True, eq=False)
class _Layer:
    """Edits planned together, for the weights that the layers below left."""

    edits: tuple[Edit, ...]
    changes: Sequence[Change]
    undo: ExitStack = field(default_factory=ExitStack)
    writes: tuple[Write, ...] = ()


class ChangeStack:
    """What one editor holds in one model.

    Edits come in layers. A layer was planned for the weights below it, so when a layer goes, those
    above it are taken off, too, and planned again. Whatever fails, the weights are those of the
    layers that are there: unedited where there are none.

    :param model: the base model.
    :param tokenizer: its tokenizer.
    :param editor: plans.
    :param strict: raise for an edit that turns out to be impossible; otherwise it is left out.
    """

    def __init__(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        editor: Editor,
        *,
        strict: bool = False,
    ) -> None:
        self.model, self.tokenizer, self.editor, self.strict = model, tokenizer, editor, strict
        self._refused: set[str] = set()
        self._layers: list[_Layer] = []
        self._aside: list[_Layer] = []

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits in the weights, in the order they came."""
        return tuple(edit for layer in self._layers for edit in layer.edits)

    @property
    def writes(self) -> tuple[Write, ...]:
        """What the writing of their updates lost."""
        return tuple(write for layer in self._layers for write in layer.writes)

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was changed in the model for them, in order."""
        return tuple(change for layer in self._layers for change in layer.changes)

    def takes(self, edit: Edit) -> bool:
        """Tell whether the editor can make an edit, as far as is known by now."""
        return edit.id not in self._refused and self.editor.supports(edit)

    def add(self, edits: Sequence[Edit]) -> None:
        """Put edits into the weights.

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
        """Take edits out of the weights, wherever they are, and plan again what came later.

        :param ids: of the edits; those that are not there do not matter.
        :raises errata.cache.errors.ErrataError: what came later cannot be planned any more; it is
            out of the weights as well, and so are the edits named.
        """
        hit = [i for i, layer in enumerate(self._layers) if any(e.id in ids for e in layer.edits)]
        if not hit:
            return
        for layer in self._unwind(hit[0]):
            self._push([edit for edit in layer.edits if edit.id not in ids])

    def clear(self) -> None:
        """Take everything out: every bit of the model is what it was."""
        self._aside = []
        self._unwind(0)

    def put_aside(self) -> None:
        """Take everything out for the time being."""
        while self._layers:
            if self._layers[-1] not in self._aside:
                self._aside.insert(0, self._layers[-1])
            self._unwind(len(self._layers) - 1)

    def put_back(self) -> None:
        """Make again what :meth:`put_aside` took out; nothing is planned anew.

        Also goes on where it, or :meth:`put_aside`, was interrupted.
        """
        while self._aside:
            layer = self._aside[0]
            if layer in self._layers:
                self._unwind(self._layers.index(layer))
            self._apply(layer)
            self._aside.pop(0)

    def _push(self, edits: Sequence[Edit]) -> None:
        left = list(edits)
        while left:
            try:
                changes = self.editor.plan(self.model, self.tokenizer, left)
                break
            except UnsupportedEdit as error:
                kept = [edit for edit in left if edit.id != error.edit_id]
                if self.strict or len(kept) == len(left):
                    raise
                self._refused.add(error.edit_id)
                log.warning("%s; it stays with the cache", error)
                left = kept
        if left:
            self._apply(_Layer(tuple(left), changes))
            self._tell_losses()

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
        """Take off the layers from one on, the last first, and return them, the first first."""
        removed: list[_Layer] = []
        while len(self._layers) > start:
            layer = self._layers[-1]
            try:
                self._layers.remove(layer)
                layer.undo.close()
            finally:  # an interrupt may have fallen between the two; what is closed stays closed
                if layer not in self._layers:
                    layer.undo.close()
            removed.insert(0, layer)
        return removed

    def _tell_losses(self) -> None:
        for write in self._layers[-1].writes:
            if write.lost > TELLING_LOSS:
                log.warning(
                    "%s: %.0f%% of the planned update were lost in writing it as %s; "
                    "load the model with dtype=torch.float32 for exact edits",
                    write.name,
                    100 * write.lost,
                    write.dtype,
                )
