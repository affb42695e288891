"""The contract of an editor of weights.

A new editor is one module with one class, one line in :mod:`errata.registry` (group
``errata.editors``) and one row in ``tests/contracts/test_editor.py``::

    class Rome:
        capabilities = Capabilities(needs_subject=True)

        def supports(self, edit: Edit) -> bool: ...
        def plan(self, model, tokenizer, edits) -> list[Change]:
            ...
            return [WeightChange("transformer.h.3.mlp.c_proj.weight", delta)]

An editor whose edits build on one another (each planned on the weights the one before left) plans
inside ``applied(model, changes_so_far)`` of :mod:`errata.editing.changes`, or on
``sharing_copy(model)`` of :mod:`errata.generation.sharing`, and returns all changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from errata.cache.records import Edit
from errata.editing.changes import Change

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an editor can do.

    :param kinds: kinds of edits it can make at all.
    :param needs_subject: works at the subject's tokens, so the subject has to be in the question.
    :param together: plans all its edits in one go, so one more edit, or one less, means planning
        all of them anew; otherwise a new edit is planned on the weights that the others left, and
        a retraction plans anew only those that came later.
    """

    kinds: frozenset[str] = frozenset({"fact"})
    needs_subject: bool = False
    together: bool = False


@runtime_checkable
class Editor(Protocol):
    """Makes edits in the weights, so that the base model's own ``generate`` answers.

    Contract: :meth:`plan` leaves the model bit for bit as it was, also when it raises; the same
    edits, in the same order, on the same weights give the same changes; random state, dtype and
    device of the caller are not touched. Parameters of the editor go to its constructor by keyword,
    each with a default.
    """

    capabilities: Capabilities

    def supports(self, edit: Edit) -> bool:
        """Tell whether it can make this edit, as far as that can be told without the model."""

    def plan(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> Sequence[Change]:
        """Return what has to be changed in the model for the edits to be in force.

        :param model: the base model, possibly with other edits in its weights.
        :param tokenizer: its tokenizer.
        :param edits: at least one, each supported.
        :raises errata.cache.errors.UnsupportedEdit: an edit it cannot make; carries its id.
        :raises errata.cache.errors.ModelError: a model it cannot work on.
        """
