"""Names of backends and controls, and what each becomes.

========================  ====================================================================
``cache``                 the cache with the model's gate and reasoner
``cache:verbatim``        the same without a reasoner: only stored answers
``rome``, ``ft``, …       any editor of weights, alone
``serac``, ``ike``, …     any other pipeline
``none``                  no edit
``shuffled:BACKEND``      the backend, each edit with another's answer
``random:EDITOR``         a random change of the size of the editor's
========================  ====================================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ErrataError
from errata.compare.run.backends import Contender, EditorContender, PipelineContender
from errata.compare.run.controls import NoEdit, RandomOfSameSize, Shuffled
from errata.compare.run.training_time import Seconds, of_parts
from errata.model import EditableModel
from errata.registry import make, names

if TYPE_CHECKING:
    from errata.cache.records import Edit

CACHE, VERBATIM, NONE = "cache", "cache:verbatim", "none"
SHUFFLED, RANDOM = "shuffled:", "random:"
EDITORS, PIPELINES = "errata.editors", "errata.pipelines"


def is_control(name: str) -> bool:
    """Tell whether a name is a control's, there to be compared with and not to be chosen."""
    return name in (NONE, VERBATIM) or name.startswith((SHUFFLED, RANDOM))


def check_names(chosen: Sequence[str]) -> None:
    """Refuse a name before a model is loaded for it.

    :raises ErrataError: no such backend; says which there are.
    """
    editors, pipelines = names(EDITORS), names(PIPELINES)
    for name in chosen:
        plain = name.removeprefix(SHUFFLED)
        kind = plain.removeprefix(RANDOM)
        known = editors if plain.startswith(RANDOM) else {**editors, **pipelines}
        if kind in known or (kind == plain and plain in (CACHE, VERBATIM, NONE)):
            continue
        there = [CACHE, VERBATIM, *sorted({**pipelines, **editors}), NONE]
        close = difflib.get_close_matches(kind, there, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ErrataError(
            f"expected a backend among {', '.join(dict.fromkeys(there))}, or shuffled:BACKEND or "
            f"random:EDITOR of one of them, found {name!r}{hint}"
        )


def with_controls(chosen: Sequence[str]) -> tuple[str, ...]:
    """Return the backends with their controls behind them.

    No edit; the first backend with shuffled answers; with the cache, the cache that only says
    stored answers; a random change of the size of the first editor's.
    """
    found = [*chosen, NONE]
    real = [name for name in chosen if not is_control(name)]
    if real:
        found.append(f"{SHUFFLED}{real[0]}")
    if CACHE in real:
        found.append(VERBATIM)
    editors = [name for name in real if name in names(EDITORS)]
    if editors:
        found.append(f"{RANDOM}{editors[0]}")
    return tuple(dict.fromkeys(found))


class Workshop:
    """Makes contenders around one base model.

    :param model: with the gate, the reasoner and the encoder of the cache; no edits in it.
    :param background: edits that are in every cache besides those judged.
    """

    def __init__(self, model: EditableModel, background: Sequence[Edit] = ()) -> None:
        self.model, self.background = model, tuple(background)
        self._filled: dict[str, EditableModel] = {}
        self._trained: dict[str, Seconds] = {}
        self._used: dict[str, Any] = {}

    def contender(self, name: str, options: Mapping[str, Any]) -> Contender:
        """Return what a name stands for.

        :param name: see this module.
        :param options: for its constructor.
        :raises ErrataError: no such backend, or options it does not have.
        """
        if name.startswith(SHUFFLED):
            return Shuffled(name, self.contender(name.removeprefix(SHUFFLED), options))
        if name == NONE:
            return NoEdit(self.model)
        if name.startswith(RANDOM):
            editor = make(EDITORS, name.removeprefix(RANDOM), **options)
            return EditorContender(name, self.model, RandomOfSameSize(editor))
        if name in (CACHE, VERBATIM) or name in names(PIPELINES):
            filled = self._with_background(name, options)
            return PipelineContender(name, filled, self._trained[name])
        return EditorContender(name, self.model, make(EDITORS, name, **options))

    def pipeline(self, name: str) -> Any | None:
        """Return what answers under a name, with its gate and its reasoner; None of an editor.

        :param name: of a backend that was made, perhaps with shuffled answers.
        """
        return self._used.get(name.removeprefix(SHUFFLED))

    def close(self) -> None:
        """Close the caches."""
        for model in self._filled.values():
            model.close()

    def _with_background(self, name: str, options: Mapping[str, Any]) -> EditableModel:
        """Return a model with a cache of its own; base model, gate and encoder are shared."""
        if name not in self._filled:
            shared = self.model
            filled = EditableModel(
                shared.base, shared.tokenizer, gate=shared.gate, encoder=shared.encoder,
                reasoner="verbatim" if name == VERBATIM else shared.reasoner,
            )  # fmt: skip
            filled.cache.set_files(self.background)
            used: Any = filled
            if name not in (CACHE, VERBATIM):
                parts = (shared.base, shared.tokenizer, shared.encoder)
                used = make(PIPELINES, name, *parts, **options)
                filled.use(used)
            self._filled[name], self._used[name] = filled, used
            self._trained[name] = of_parts(used.gate, used.reasoner)
        return self._filled[name]
