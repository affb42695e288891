"""Active backends: the cache, and on top of it an editor or another pipeline for some edits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from errata.cache.errors import EditError, ErrataError, UnsupportedEdit
from errata.cache.records import Edit, Fact
from errata.cache.store import EditCache, View
from errata.cache.text.normalize import normalize_query
from errata.editing.active import ActiveBackend
from errata.editing.base import Editor
from errata.editing.changes import WriteReport
from errata.editing.lock import ModelLock, Others
from errata.editing.pipeline_edits import PipelineEdits
from errata.editing.saved import save_changes
from errata.editing.stack import ChangeStack
from errata.editing.verification import log_not_taken, not_taken
from errata.pipelines.base import Pipeline, ScopedPipeline
from errata.pipelines.cache import CACHE
from errata.registry import make, names, no_such

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

Unsupported = Literal["cache", "raise"]
"""How edits that a backend cannot make are handled: left to the cache, or refused."""

Clock = tuple[float, float]
"""Wall time and CPU time of the process, in seconds."""


@dataclass(slots=True, eq=False)
class _Activation:
    """A backend made active by ``use`` or by a ``using`` block.

    :param name: of the backend.
    :param stack: its edits; None for the cache.
    :param unsupported: see :data:`Unsupported`.
    :param requested: edits it was given.
    :param extra: requested edits that are not in the cache and not in the weights.
    :param overlay: a cache that holds ``extra``, too; None without any.
    :param active: description for the caller.
    :param ids: of the edits that the backend makes.
    :param questions: of the same edits, normalised.
    :param verify: ask the edited model, after each change, which edits hold.
    """

    name: str = CACHE
    stack: ChangeStack | PipelineEdits | None = None
    unsupported: Unsupported = "cache"
    requested: Sequence[Edit] = ()
    extra: tuple[Edit, ...] = ()
    overlay: EditCache | None = None
    active: ActiveBackend = field(default_factory=lambda: ActiveBackend(CACHE))
    ids: frozenset[str] = frozenset()
    questions: frozenset[str] = frozenset()
    verify: bool = True

    @property
    def edits(self) -> tuple[Edit, ...]:
        return () if self.stack is None else self.stack.edits

    def refresh(self, start: Clock) -> None:
        """Update ``active``, ``ids`` and ``questions`` after a change.

        :param start: times at which the change began.
        """
        seconds, cpu_seconds = (now - then for now, then in zip(_clock(), start, strict=True))
        self.ids = frozenset(edit.id for edit in self.edits)
        self.questions = frozenset(normalize_query(edit.scope) for edit in self.edits)
        unsupported: tuple[Edit, ...] = ()
        writes: tuple[WriteReport, ...] = ()
        if self.stack is not None:
            unsupported = tuple(edit for edit in self.requested if edit.id not in self.ids)
            writes = self.stack.writes
        self.active = ActiveBackend(
            self.name, self.edits, unsupported, writes, seconds, cpu_seconds
        )

    def check_answers(self) -> None:
        """Note in ``active`` which edits in the weights do not hold, and warn."""
        if self.verify and isinstance(self.stack, ChangeStack):
            missed = not_taken(self.stack.model, self.stack.tokenizer, self.edits)
            self.active = replace(self.active, not_taken=missed)
            log_not_taken(missed, self.name, len(self.edits))


class Backends:
    """The active backends of one model: one resident, and those of ``using`` blocks on top.

    Only the innermost has its changes in the weights. When its block ends, the unedited weights are
    restored, and then the changes of the enclosing one, all bit for bit.

    :param model: the base model.
    :param tokenizer: its tokenizer.
    :param cache: holds the edits in force.
    """

    def __init__(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, cache: EditCache
    ) -> None:
        self.model, self.tokenizer, self.cache = model, tokenizer, cache
        self.lock = ModelLock()
        self._activations = [_Activation()]

    @property
    def in_use(self) -> ActiveBackend:
        """The backend in use now."""
        return self._activations[-1].active

    def view(self) -> View:
        """Return the edits in force: the cache's, and those of the innermost block."""
        overlays = [each.overlay for each in self._activations if each.overlay is not None]
        return (overlays[-1] if overlays else self.cache).view()

    def pipelines(self, default: Pipeline) -> list[ScopedPipeline]:
        """Return the pipelines for a query, in order: the cache's, then the active one.

        :param default: the cache's.
        """
        current = self._activations[-1]
        found = [ScopedPipeline(default, self._cache_filter() if current.ids else lambda _: True)]
        if isinstance(current.stack, PipelineEdits):
            ids = current.ids
            found.append(ScopedPipeline(current.stack.pipeline, lambda edit: edit.id in ids))
        return found

    def _cache_filter(self) -> Callable[[Edit], bool]:
        """Return the predicate of the edits that the cache answers for.

        An edit of the active backend must not fire from the cache, nor another answer to its
        question: the caller chose the backend. Refusals still protect their secrets.
        """
        ids, questions = self._activations[-1].ids, self._activations[-1].questions

        def from_cache(edit: Edit) -> bool:
            if edit.id in ids:
                return False
            answering = isinstance(edit, Fact) and not edit.forget
            return not (answering and normalize_query(edit.scope) in questions)

        return from_cache

    @contextmanager
    def using(
        self,
        backend: str | Editor | Pipeline,
        edits: Sequence[Edit] | None = None,
        unsupported: Unsupported = "cache",
        others: Others = "wait",
        verify: bool = True,
        **options: Any,
    ) -> Iterator[ActiveBackend]:
        """Use a backend in a block; see :meth:`errata.editing.mixin.WeightEditing.using`."""
        current = self._build(backend, unsupported, options)
        current.verify = verify
        with self.lock.exclusive(others):
            current.requested = self.view().edits if edits is None else tuple(edits)
            _check_edits(current, current.requested)
            outer = self._activations[-1]
            try:
                try:
                    self._activations.append(current)
                    if outer.stack is not None:
                        outer.stack.suspend()
                    self._start(current)
                    yield current.active
                finally:
                    self._finish(current, outer)
            finally:  # an interrupt may have fallen on the line above
                self._finish(current, outer)
                if len(self._activations) == 1:
                    self._sync()

    def use(
        self,
        backend: str | Editor | Pipeline,
        unsupported: Unsupported = "cache",
        verify: bool = True,
        **options: Any,
    ) -> ActiveBackend:
        """Use a backend from now on; see :meth:`errata.editing.mixin.WeightEditing.use`."""
        current = self._build(backend, unsupported, options)
        current.verify = verify
        with self.lock.exclusive():
            if len(self._activations) > 1:
                raise EditError(
                    "expected use() outside of any using() block, found it inside one; "
                    "leave the block first, or use using() inside it"
                )
            _check_edits(current, self.cache.edits)
            before = self._activations[0]
            try:
                if before.stack is not None:
                    before.stack.suspend()
                self._activations[0] = current
                self._sync()
            except BaseException:
                if current.stack is not None:
                    current.stack.clear()
                self._activations[0] = before
                if before.stack is not None:
                    before.stack.resume()
                raise
            return current.active

    @contextmanager
    def changing(self, added: Sequence[Edit] = ()) -> Iterator[None]:
        """Change the cache's edits in this block; the weights are updated when it ends.

        :param added: edits to be added.
        :raises UnsupportedEdit: the active backend refuses one; the block is not entered.
        """
        if len(self._activations) == 1 and self._activations[0].stack is None:
            yield
            return
        with self.lock.exclusive(None):
            _check_edits(self._activations[0], added)
            yield
            if len(self._activations) == 1:  # otherwise when the outermost block ends
                self._sync()
            for each in self._activations:
                if each.overlay is not None:
                    each.overlay.set_files([*self.cache.edits, *each.extra])

    @contextmanager
    def unedited_weights(self) -> Iterator[None]:
        """Restore the unedited weights, bit for bit, for this block."""
        with self.lock.exclusive(None):
            stack = self._activations[-1].stack
            try:
                try:
                    if stack is not None:
                        stack.suspend()
                    yield
                finally:
                    if stack is not None:
                        stack.resume()
            finally:  # an interrupt may have fallen on the lines above
                if stack is not None:
                    stack.resume()

    def save(self, path: str | Path) -> None:
        """Write the changes in the weights; see :mod:`errata.editing.saved`.

        :raises EditError: no editor is in use.
        """
        current = self._activations[-1]
        if not isinstance(current.stack, ChangeStack):
            raise EditError(
                f"expected an editor of weights in use, found {current.name!r}, which leaves them "
                'alone; save inside `with model.using("memit"):`, or patches with errata fmt'
            )
        changes, edits = current.stack.changes, current.stack.edits
        with self.unedited_weights():
            save_changes(path, self.model, changes, edits, current.name)

    def close(self) -> None:
        """Take every edit out of the weights."""
        with self.lock.exclusive(None):
            for each in reversed(self._activations):
                if each.stack is not None:
                    each.stack.clear()
            self._activations[0] = _Activation()

    def _build(
        self, backend: str | Editor | Pipeline, unsupported: Unsupported, options: dict[str, Any]
    ) -> _Activation:
        if unsupported not in ("cache", "raise"):
            raise ErrataError(f'expected unsupported="cache" or "raise", found {unsupported!r}')
        if backend == CACHE and not options:
            return _Activation()
        stack: ChangeStack | PipelineEdits
        if isinstance(backend, str) and backend in names("errata.pipelines"):
            parts = (self.model, self.tokenizer, self.cache.encoder)
            pipeline: Pipeline = make("errata.pipelines", backend, *parts, **options)
            stack = PipelineEdits(pipeline)
            name = backend
        elif isinstance(backend, Pipeline) and not options:
            stack, name = PipelineEdits(backend), backend.name
        else:
            editor, name = _editor(backend, options)
            strict = unsupported == "raise"
            stack = ChangeStack(self.model, self.tokenizer, editor, strict=strict)
        return _Activation(name, stack, unsupported)

    def _start(self, current: _Activation) -> None:
        start = _clock()
        if current.stack is not None:
            current.stack.add([edit for edit in current.requested if current.stack.supports(edit)])
        changing = isinstance(current.stack, ChangeStack)
        view, made = self.view(), {edit.id for edit in current.edits if changing}
        elsewhere = made | view.by_id.keys()
        current.extra = tuple(edit for edit in current.requested if edit.id not in elsewhere)
        if current.extra:
            current.overlay = EditCache(self.cache.encoder, None)
            current.overlay.set_files([*view.edits, *current.extra])
        current.refresh(start)
        current.check_answers()

    def _finish(self, current: _Activation, outer: _Activation) -> None:
        """End a block; harmless when called again."""
        try:
            if current.stack is not None:
                current.stack.clear()
        finally:
            if current.stack is not None:
                current.stack.clear()  # after an interrupt; must precede outer.stack.resume()
            if current in self._activations:
                self._activations.remove(current)
            if current.overlay is not None:
                current.overlay.close()
            if outer.stack is not None:
                outer.stack.resume()

    def _sync(self) -> None:
        """Add to the weights what was added to the cache, remove what was removed."""
        current = self._activations[0]
        if current.stack is None:
            return
        start = _clock()
        view = self.cache.view()
        outdated, made = _outdated(current, view), {edit.id for edit in current.edits}
        wanted = [e for e in view.edits if e.id not in made or e.id in outdated]
        new = [e for e in wanted if current.stack.supports(e)]
        if outdated or new or current.requested != view.edits:
            try:
                try:
                    current.stack.remove(outdated)
                    current.stack.add(new)
                    # More edits may have been retracted during planning.
                    current.stack.remove(_outdated(current, self.cache.view()))
                finally:
                    current.requested = view.edits
                    current.refresh(start)
            finally:  # an interrupt may have fallen on the lines above
                current.refresh(start)
            current.check_answers()


def _clock() -> Clock:
    return time.perf_counter(), time.process_time()


def _editor(backend: str | Editor | Pipeline, options: dict[str, Any]) -> tuple[Editor, str]:
    """Return an editor, made by name with its options or given as an instance, and its name."""
    if isinstance(backend, str) and backend != CACHE:
        if backend not in names("errata.editors"):
            raise no_such(backend, "errata.editors", "errata.pipelines")
        editor: Editor = make("errata.editors", backend, **options)
        return editor, backend
    if isinstance(backend, Editor) and not options:
        return backend, getattr(backend, "name", type(backend).__name__)
    raise ErrataError(
        "expected the name of an editor or a pipeline with its options, an instance without any, "
        f'or "cache", found {backend!r} and options {sorted(options)}'
    )


def _outdated(current: _Activation, view: View) -> set[str]:
    """Return the ids of edits in the weights that were retracted or changed since."""
    return {edit.id for edit in current.edits if view.by_id.get(edit.id) != edit}


def _check_edits(current: _Activation, edits: Iterable[Edit]) -> None:
    """Raise for unsupported edits if the caller wants that; nothing was touched yet."""
    for edit in edits:
        if not isinstance(edit, Edit):
            raise EditError(
                f"expected edits such as Fact(question, answer), found {type(edit).__name__}"
            )
        if current.stack is None or current.unsupported == "cache" or current.stack.supports(edit):
            continue
        raise UnsupportedEdit(
            f"edit {edit.id}: expected an edit that {current.name} can make, found one of kind "
            f"{edit.kind!r} that it cannot; nothing was changed; leave it with the cache by "
            'unsupported="cache"',
            edit.id,
        )
