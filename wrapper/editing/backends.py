"""Which backend makes the edits: the cache, or for some of them another one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from errata.cache.errors import EditError, ErrataError, UnsupportedEdit
from errata.cache.records import Edit, Fact
from errata.cache.store import EditCache, View
from errata.cache.text.normalize import normalize_query
from errata.editing.base import Editor
from errata.editing.changes import Write
from errata.editing.lock import ModelLock, Others
from errata.editing.pipeline_edits import PipelineEdits
from errata.editing.stack import ChangeStack
from errata.pipelines.base import Pipeline, ScopedPipeline
from errata.pipelines.cache import CACHE
from errata.registry import make, names, no_such

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

Unsupported = Literal["cache", "raise"]
"""What becomes of edits that a backend cannot make: they stay with the cache, or are refused."""


@dataclass(frozen=True, slots=True)
class ActiveBackend:
    """The backend in use.

    :param backend: its name.
    :param edits: the edits that it makes. Those of an editor are in the weights, and the base
        model's own ``generate`` answers; those of a pipeline are its gate's to decide.
    :param unsupported: edits that it was asked for and could not make: the cache answers.
    :param writes: what the writing of weights lost, one item a change.
    :param seconds: what planning and writing took, wall time.
    """

    backend: str
    edits: tuple[Edit, ...] = ()
    unsupported: tuple[Edit, ...] = ()
    writes: tuple[Write, ...] = ()
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class _Use:
    """One use of a backend: what stays, or a block's."""

    name: str = CACHE
    stack: ChangeStack | PipelineEdits | None = None
    unsupported: Unsupported = "cache"
    asked: tuple[Edit, ...] = ()
    overlay: EditCache | None = None
    guests: tuple[Edit, ...] = ()
    seconds: float = 0.0
    told: ActiveBackend = field(default_factory=lambda: ActiveBackend(CACHE))
    ids: frozenset[str] = frozenset()
    questions: frozenset[str] = frozenset()

    @property
    def held(self) -> tuple[Edit, ...]:
        return () if self.stack is None else self.stack.edits

    def tell(self, since: float) -> None:
        """Renew what is told of this use, after a change that began at a time."""
        seconds = time.perf_counter() - since
        self.ids = frozenset(edit.id for edit in self.held)
        self.questions = frozenset(normalize_query(edit.scope) for edit in self.held)
        left = () if self.stack is None else tuple(e for e in self.asked if e.id not in self.ids)
        writes = () if self.stack is None else self.stack.writes
        self.told = ActiveBackend(self.name, self.held, left, writes, seconds)


class Backends:
    """The backends in use for one model: one that stays, and those of ``using`` blocks on top.

    Only the innermost has its changes in the weights. When its block ends, the unedited weights are
    put back, and then the changes of the one before, all bit for bit.

    :param model: the base model.
    :param tokenizer: its tokenizer.
    :param cache: holds the edits in force.
    """

    def __init__(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, cache: EditCache
    ) -> None:
        self.model, self.tokenizer, self.cache = model, tokenizer, cache
        self.lock = ModelLock()
        self._uses = [_Use()]

    @property
    def in_use(self) -> ActiveBackend:
        """What is in use now."""
        return self._uses[-1].told

    def view(self) -> View:
        """Return the edits of this moment: the cache's, and those that only a block brings."""
        overlays = [use.overlay for use in self._uses if use.overlay is not None]
        return (overlays[-1] if overlays else self.cache).view()

    def turns(self, own: Pipeline) -> list[ScopedPipeline]:
        """Return the pipelines a query meets, in order: the cache's own, then the one in use.

        :param own: the cache's.
        """
        use = self._uses[-1]
        turns = [ScopedPipeline(own, self._left_to_cache())]
        if isinstance(use.stack, PipelineEdits):
            ids = use.ids
            turns.append(ScopedPipeline(use.stack.pipeline, lambda edit: edit.id in ids))
        return turns

    def _left_to_cache(self) -> Callable[[Edit], bool]:
        """Return the predicate of the edits that the backend in use does not make.

        An edit that it makes must not fire, nor may another answer to its question: the backend
        was asked for by name. Refusals still guard their secrets.
        """
        ids, questions = self._uses[-1].ids, self._uses[-1].questions

        def left(edit: Edit) -> bool:
            if edit.id in ids:
                return False
            answering = isinstance(edit, Fact) and not edit.forget
            return not (answering and questions and normalize_query(edit.scope) in questions)

        return left

    @contextmanager
    def using(
        self,
        backend: str | Editor | Pipeline,
        edits: Sequence[Edit] | None = None,
        unsupported: Unsupported = "cache",
        others: Others = "wait",
        **options: Any,
    ) -> Iterator[ActiveBackend]:
        """Use a backend inside a block; see :meth:`errata.editing.mixin.WeightEditing.using`."""
        use = self._made(backend, unsupported, options)
        with self.lock.exclusive(others):
            use.asked = self.view().edits if edits is None else tuple(edits)
            _check(use, use.asked)
            outer = self._uses[-1]
            try:
                try:
                    self._uses.append(use)
                    if outer.stack is not None:
                        outer.stack.put_aside()
                    self._start(use)
                    yield use.told
                finally:
                    self._finish(use, outer)
            finally:  # an interrupt may have fallen on the line above
                self._finish(use, outer)
                if len(self._uses) == 1:
                    self._follow()

    def use(
        self, backend: str | Editor | Pipeline, unsupported: Unsupported = "cache", **options: Any
    ) -> ActiveBackend:
        """Use a backend from now on; see :meth:`errata.editing.mixin.WeightEditing.use`."""
        use = self._made(backend, unsupported, options)
        with self.lock.exclusive():
            if len(self._uses) > 1:
                raise EditError(
                    "expected use() outside of any using() block, found it inside one; "
                    "leave the block first, or use using() inside it"
                )
            _check(use, self.cache.edits)
            before = self._uses[0]
            try:
                if before.stack is not None:
                    before.stack.put_aside()
                self._uses[0] = use
                self._follow()
            except BaseException:
                if use.stack is not None:
                    use.stack.clear()
                self._uses[0] = before
                if before.stack is not None:
                    before.stack.put_back()
                raise
            return use.told

    @contextmanager
    def changing(self, coming: Sequence[Edit] = ()) -> Iterator[None]:
        """Change the cache's edits inside this block; the weights follow when it ends.

        :param coming: edits that are to come into force.
        :raises UnsupportedEdit: the backend in use refuses one; the block is not entered.
        """
        if len(self._uses) == 1 and self._uses[0].stack is None:
            yield
            return
        with self.lock.exclusive(None):
            _check(self._uses[0], coming)
            yield
            if len(self._uses) == 1:  # else when the last block ends
                self._follow()
            for use in self._uses:
                if use.overlay is not None:
                    use.overlay.set_files([*self.cache.edits, *use.guests])

    @contextmanager
    def unedited(self) -> Iterator[None]:
        """Have the very weights of the unedited model inside this block."""
        with self.lock.exclusive(None):
            stack = self._uses[-1].stack
            try:
                try:
                    if stack is not None:
                        stack.put_aside()
                    yield
                finally:
                    if stack is not None:
                        stack.put_back()
            finally:  # an interrupt may have fallen on the lines above
                if stack is not None:
                    stack.put_back()

    def close(self) -> None:
        """Take every edit out of the weights."""
        with self.lock.exclusive(None):
            for use in reversed(self._uses):
                if use.stack is not None:
                    use.stack.clear()
            self._uses[0] = _Use()

    def _made(
        self, backend: str | Editor | Pipeline, unsupported: Unsupported, options: dict[str, Any]
    ) -> _Use:
        if unsupported not in ("cache", "raise"):
            raise ErrataError(f'expected unsupported="cache" or "raise", found {unsupported!r}')
        if backend == CACHE and not options:
            return _Use()
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
        return _Use(name, stack, unsupported)

    def _start(self, use: _Use) -> None:
        since = time.perf_counter()
        if use.stack is not None:
            use.stack.add([edit for edit in use.asked if use.stack.takes(edit)])
        changing = isinstance(use.stack, ChangeStack)
        there, held = self.view(), {edit.id for edit in use.held if changing}
        use.guests = tuple(e for e in use.asked if e.id not in held and e.id not in there.by_id)
        if use.guests:
            use.overlay = EditCache(self.cache.encoder, None)
            use.overlay.set_files([*there.edits, *use.guests])
        use.tell(since)

    def _finish(self, use: _Use, outer: _Use) -> None:
        """End a block's use; harmless when called again."""
        try:
            if use.stack is not None:
                use.stack.clear()
        finally:
            if use.stack is not None:
                use.stack.clear()  # interrupted: before what was put aside comes back
            if use in self._uses:
                self._uses.remove(use)
            if use.overlay is not None:
                use.overlay.close()
            if outer.stack is not None:
                outer.stack.put_back()

    def _follow(self) -> None:
        """Put into the weights what came into the cache, take out what went."""
        use = self._uses[0]
        if use.stack is None:
            return
        since = time.perf_counter()
        view = self.cache.view()
        gone, held = _gone(use, view), {edit.id for edit in use.held}
        new = [e for e in view.edits if (e.id not in held or e.id in gone) and use.stack.takes(e)]
        if gone or new or use.asked != view.edits:
            try:
                try:
                    use.stack.remove(gone)
                    use.stack.add(new)
                    # Others may have been retracted while it was planned.
                    use.stack.remove(_gone(use, self.cache.view()))
                finally:
                    use.asked = view.edits
                    use.tell(since)
            finally:  # an interrupt may have fallen on the lines above
                use.tell(since)


def _editor(backend: str | Editor | Pipeline, options: dict[str, Any]) -> tuple[Editor, str]:
    """Return an editor by name with its options, or the instance, and its name."""
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


def _gone(use: _Use, view: View) -> set[str]:
    """Return the ids that are in the weights and no longer, or with other content, in force."""
    return {edit.id for edit in use.held if view.by_id.get(edit.id) != edit}


def _check(use: _Use, edits: Iterable[Edit]) -> None:
    """Refuse, before anything is touched, what the caller wants refused."""
    for edit in edits:
        if not isinstance(edit, Edit):
            raise EditError(
                f"expected edits such as Fact(question, answer), found {type(edit).__name__}"
            )
        if use.stack is None or use.unsupported == "cache" or use.stack.takes(edit):
            continue
        raise UnsupportedEdit(
            f"edit {edit.id}: expected an edit that {use.name} can make, found one of kind "
            f"{edit.kind!r} that it cannot; nothing was changed; leave it with the cache by "
            'unsupported="cache"',
            edit.id,
        )
