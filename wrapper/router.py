"""Deciding by the edits in force: what a wrapped model and a decider without a model share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import local
from time import time
from typing import TYPE_CHECKING, Any, cast, overload

from errata.audit.config import AuditConfig
from errata.audit.records import AuditedCall
from errata.audit.writer import open_audit
from errata.cache.index.base import VectorIndex
from errata.cache.known_encoder import KnownEncoder
from errata.cache.patches.folder import PatchFolder
from errata.cache.patches.watch import WatchConfig
from errata.cache.records import Edit
from errata.cache.rollout import EVERYONE, Key, conversations_of
from errata.cache.store import EditCache
from errata.cache.view import with_overruled
from errata.editing.backends import Backends
from errata.editing.lock import sharing_weights
from errata.gates.base import Decision, Gate
from errata.generation.chat import Messages, Prompt, read_question
from errata.generation.request import Selection, selector
from errata.output import StopWatch, Trace
from errata.pipelines.base import RoutedBatch, RouteRequest, route_batch
from errata.pipelines.cache import CachePipeline
from errata.pipelines.rollouts import route_by_rollout
from errata.reasoners.background import BackgroundReasoner
from errata.reloading import PatchReloading

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.cache.encoder import Encoder
    from errata.generation.base_model import GenerativeModel


class EditRouter(PatchReloading):
    """Edits, the pipeline that decides by them, and the log of what was decided.

    :param pipeline: decides.
    :param encoder: encodes edits and queries.
    :param base: the base model and its tokenizer, whose weights editors may change; None where
        there is no model in this process.
    :param files: the folder of patch files, or None.
    :param cache: folder where edits made by :meth:`edit` are kept, or the URL of a PostgreSQL
        database that several processes share (``postgresql://…``); None keeps them in memory.
    :param index: makes a vector index of a width; by default FAISS.
    :param background: answers what only names the subject of facts; None leaves that to the base.
    :param watch: reload the folder of patches whenever it changes.
    :param audit: the log of decisions.
    :param model_name: names the base model in the log where there is none in this process.
    :param rollouts: keep to the patches' ``rollout``; False: each is in force everywhere.
    :raises errata.cache.errors.StoreError: the cache folder is damaged, or another encoder's.
    """

    def __init__(
        self,
        pipeline: CachePipeline,
        encoder: Encoder,
        *,
        base: tuple[GenerativeModel, PreTrainedTokenizerBase] | None = None,
        files: PatchFolder | None = None,
        cache: str | Path | None = None,
        index: Callable[[int], VectorIndex] | None = None,
        background: BackgroundReasoner | None = None,
        watch: bool | WatchConfig = False,
        audit: str | Path | AuditConfig | None = None,
        model_name: str = "",
        rollouts: bool = True,
    ) -> None:
        self.pipeline, self.encoder, self.rollouts = pipeline, encoder, rollouts
        self._files, self._background, self._last = files, background, local()
        self.patches = None if files is None else files.path
        # without a model the cache is the only backend there ever is
        model, tokenizer = base or (cast("GenerativeModel", None), cast(Any, None))
        self.cache = EditCache(encoder, cache, index=index)
        try:
            self.cache.set_files(() if files is None else files.edits)
            self.backends = Backends(model, tokenizer, self.cache)
            self.audit = open_audit(audit, self.gate, model_name if base is None else model)
            self._start_watching(watch)
        except BaseException:
            self.cache.close()
            raise

    # -- decisions ---------------------------------------------------------------------------

    def route(
        self, prompts: Sequence[Prompt], edits: Selection, watch: StopWatch, key: Key = None
    ) -> RoutedBatch:
        """Return the decision about the query of each prompt, as of this moment.

        :param prompts: each with its query.
        :param edits: True, ``{"tags": [...]}`` or ``{"ids": [...]}``.
        :param watch: times the stages.
        :param key: what rollouts draw by, one or one a prompt; by default the first user turn of
            each conversation.
        """
        key = key if self.rollouts else EVERYONE
        conversations = conversations_of(key, [one.conversation for one in prompts])
        pipelines, view = self.backends.pipelines(self.pipeline), self.backends.view()
        route = route_by_rollout if view.rolling_out else route_batch
        queries, histories = [one.query for one in prompts], [one.history for one in prompts]
        batch = route(
            RouteRequest(
                queries, view, self.encoder, pipelines, selector(edits), watch.lap,
                self._background, histories, conversations,
            )
        )  # fmt: skip
        return batch.without_secrets()

    def explain(self, question: str | Messages, *, key: Key = None) -> Decision:
        """Return what would be decided about a question: candidates, probabilities, threshold.

        :param question: a text, or the messages of a chat (its last user turn counts).
        :param key: as in :meth:`route`.
        :raises errata.cache.errors.GenerationError: there is no question in it.
        """
        return self.decide([question], key=key)[0]

    @sharing_weights
    def decide(self, questions: Sequence[str | Messages], *, key: Key = None) -> list[Decision]:
        """Return what would be decided about each of several questions, as :meth:`explain`."""
        prompts = [read_question(question) for question in questions]
        return list(self.route(prompts, True, StopWatch(), key).decisions)

    def trial(self, edits: Sequence[Edit]) -> EditRouter:
        """Return a router with other edits, to be tried; it logs nothing and touches no file.

        Texts that this one has encoded are not encoded again.

        :param edits: all edits that it has.
        """
        known = KnownEncoder(self.encoder, self.cache.vectors)
        made = EditRouter(self.pipeline, known, rollouts=self.rollouts)
        made.cache.set_files(edits)
        return made

    @property
    def last_trace(self) -> Trace | None:
        """The trace of this thread's last call of ``generate``, None before the first."""
        trace: Trace | None = getattr(self._last, "trace", None)
        return trace

    def _keep_trace(self, batch: RoutedBatch, trace: Trace, *, shadow: bool = False) -> None:
        """Keep the trace of a call, and log it, if a log is kept.

        :param shadow: the base model answered, whatever was decided.
        """
        self._last.trace = trace
        if self.audit is not None:
            self.audit.record(AuditedCall(time(), trace, batch, shadow))

    # -- edits -------------------------------------------------------------------------------

    @property
    def gate(self) -> Gate:
        """The gate of the cache's pipeline."""
        return self.pipeline.gate

    @property
    def edits(self) -> Sequence[Edit]:
        """The edits in force today, those of patch files first."""
        return self.cache.edits

    @overload
    def edit(self, edit: Edit) -> Edit: ...
    @overload
    def edit(self, edit: Sequence[Edit]) -> tuple[Edit, ...]: ...
    def edit(self, edit: Edit | Sequence[Edit]) -> Edit | tuple[Edit, ...]:
        """Put an edit, or several at once, in force; a cache folder keeps them.

        Of edits of one scope the latest speaks, after ``priority`` and ``supersedes``.

        :param edit: what to put in force.
        :return: the same; ``edit.id`` is what :meth:`retract` takes, ``edit.overrules`` are the
            edits that are silent for it.
        :raises errata.cache.errors.EditError: the id is another edit's; nothing was changed.
        """
        several = (edit,) if isinstance(edit, Edit) or not isinstance(edit, Sequence) else edit
        with self.backends.changing(several):
            self.cache.add(several)
        made = with_overruled(several, self.cache.view())
        return made[0] if isinstance(edit, Edit) else made

    def retract(self, edit_id: str) -> Edit:
        """Take an edit out of force.

        :raises errata.cache.errors.UnknownEdit: no such edit is in force.
        :raises errata.cache.errors.EditError: a file holds it; names the file and line to change.
        """
        with self.backends.changing():
            return self.cache.retract(edit_id)

    def close(self) -> None:
        """Close the cache, saving what makes the next start quick; weights become unedited."""
        self._stop_watching()
        if self.audit is not None:
            self.audit.close()
        self.backends.close()
        self.cache.close()
