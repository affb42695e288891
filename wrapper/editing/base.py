"""The contract of an editor of weights.

A new editor is one module with one class, one line in :mod:`errata.registry` (group
``errata.editors``) and one row in ``tests/contracts/test_editor.py``::

    class Rome:
        capabilities = Capabilities(needs_subject=True)

        def supports(self, edit: Edit) -> bool: ...
        def plan(self, model, tokenizer, edits) -> list[Change]:
            ...
            return [WeightChange("transformer.h.3.mlp.c_proj.weight", delta)]

An editor that plans each edit on the weights with the earlier ones applied does so inside
``applied(model, changes_so_far)`` of :mod:`errata.editing.changes`, or on ``sharing_copy(model)``
of :mod:`errata.generation.sharing`, and returns all changes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from errata.cache.records import Edit, Fact
from errata.editing.changes import Change

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.editors.shared.learner import Learner
    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Capabilities of an editor.

    :param kinds: kinds of edits it can make.
    :param needs_subject: needs the subject's tokens, so the subject has to be in the question.
    :param together: plans all edits at once, so adding or removing one plans all of them again;
        otherwise a new edit is planned on the weights with the others applied, and a retraction
        plans again only the later ones.
    :param needs_text: computes statistics of running text: its constructor takes ``text``,
        ``folder`` (where they are kept) and ``progress``.
    :param separable: one edit can be removed without planning any other again: the editor is
        :class:`Separable`. Otherwise a retraction plans again, see ``together``.
    """

    kinds: frozenset[str] = frozenset({"fact"})
    needs_subject: bool = False
    together: bool = False
    needs_text: bool = False
    separable: bool = False


@runtime_checkable
class Editor(Protocol):
    """Plans changes of a model, with which the base model's ``generate`` gives the edited answers.

    Contract: :meth:`plan` leaves the model bit for bit unchanged, also when it raises; it is
    deterministic in edits, their order and the weights; random state, dtype and device of the
    caller are not touched. Parameters of the editor go to its constructor by keyword, each with a
    default.
    """

    capabilities: Capabilities

    def supports(self, edit: Edit) -> bool:
        """Return whether it can make an edit, as far as that is known without the model."""

    def plan(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> Sequence[Change]:
        """Return the changes of the model that make the edits.

        :param model: the base model, possibly with other edits in its weights.
        :param tokenizer: its tokenizer.
        :param edits: at least one, each supported.
        :raises errata.cache.errors.UnsupportedEdit: an edit it cannot make; carries its id.
        :raises errata.cache.errors.ModelError: a model it cannot work on.
        """


@runtime_checkable
class Sequential(Protocol):
    """An editor that plans new edits with regard to those made earlier in the same run.

    What it has to know of them it keeps in ``memory`` of their changes, never in itself, so that
    edits that were undone leave nothing behind. A class that derives from this one gets
    :meth:`plan` by it.
    """

    def plan(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> Sequence[Change]:
        """Return the changes that make the first edits of a run; as :meth:`Editor.plan`."""
        return self.plan_after(model, tokenizer, edits, ())

    def plan_after(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
        earlier: Sequence[Change],
    ) -> Sequence[Change]:
        """Return the changes of the model that make the edits; as :meth:`Editor.plan`.

        :param earlier: changes that are in the weights already, in order.
        """


@runtime_checkable
class Separable(Protocol):
    """An editor in whose changes every edit has a part of its own (``capabilities.separable``)."""

    def without(self, changes: Sequence[Change], ids: Collection[str]) -> Sequence[Change]:
        """Return changes without the parts of some edits; the other edits' parts are as before.

        :param changes: those of one plan of this editor.
        :param ids: of the edits to remove.
        """


@dataclass(frozen=True, slots=True)
class TrainingEdit:
    """An edit to learn from.

    :param fact: the edit.
    :param rewordings: other ways of asking its question.
    :param unrelated: questions that it leaves alone, each with an answer; the answer need not be
        the model's: editors keep the probabilities of its tokens.
    """

    fact: Fact
    rewordings: tuple[str, ...]
    unrelated: tuple[tuple[str, str], ...]


@runtime_checkable
class Trainable(Protocol):
    """An editor with parameters that are trained beforehand, for one base model.

    The constructor takes ``trained``: the folder of what ``errata editor train`` wrote, None for
    the one shipped for the model, or ``"initial"`` for the editor before its training.
    """

    name: str

    def learner(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, *, trained: bool = True
    ) -> Learner:
        """Return what training changes (:mod:`errata.editors.shared.learner`).

        :param model: the base model; the learner works on a copy.
        :param tokenizer: its tokenizer.
        :param trained: load the trained state; otherwise as training begins.
        :raises errata.cache.errors.ModelError: there is no trained state for this model.
        """
