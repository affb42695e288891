"""EditableModel: a base model with edits in force, behind the interface of `transformers`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from errata.audit.config import AuditConfig
from errata.audit.mixin import Audited
from errata.audit.writer import open_audit
from errata.cache.index.base import VectorIndex
from errata.cache.patches.folder import PatchFolder
from errata.cache.patches.watch import WatchConfig
from errata.cache.records import Edit
from errata.cache.rollout import EVERYONE, Key, conversations_of
from errata.cache.store import EditCache
from errata.cache.view import with_overruled
from errata.classification import Classifying
from errata.editing.backends import Backends
from errata.editing.lock import sharing_weights
from errata.editing.mixin import WeightEditing
from errata.encoder import load_encoder
from errata.gates.base import Decision, Gate
from errata.gates.load import choose_gate
from errata.generation.base_model import input_device
from errata.generation.chat import (
    Messages,
    Prompt,
    PromptReader,
    private_copy,
    read_question,
    tokenize_prompts,
)
from errata.generation.proxy import BaseProxy
from errata.generation.request import (
    AnswerWriter,
    AskConfig,
    GenerateRequest,
    Queries,
    Selection,
    name_positional,
    read_request,
    selector,
    validate_request,
)
from errata.output import Answer, OutputBuilder, StopWatch, Trace
from errata.pipelines.base import RoutedBatch, RouteRequest, route_batch
from errata.pipelines.cache import CachePipeline, choose_resolvers
from errata.pipelines.resolvers.base import Resolver
from errata.pipelines.rollouts import route_by_rollout
from errata.pretrained import SavedModel
from errata.reasoners.background import Mentions, background_reasoner
from errata.reasoners.base import Reasoner
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.load import load_reasoner
from errata.reasoners.verbatim import VerbatimReasoner
from errata.reasoners.verified import DEFAULT_VERIFICATION, VerificationConfig, verified
from errata.registry import load, make, names
from errata.reloading import PatchReloading

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.cache.encoder import Encoder
    from errata.generation.base_model import GenerativeModel

log = logging.getLogger("errata")


class EditableModel(PatchReloading, Audited, Classifying, WeightEditing, SavedModel, BaseProxy):
    """A language model with an errata sheet.

    A query that an edit in force governs is answered by the edit; every other query gets the base
    model's own tokens (knowledge editing by external extension: SERAC, Mitchell et al. 2022). Only
    the editors that :meth:`using` and :meth:`use` take change the base model's weights.
    ``forward()`` and logits are the base's, uncorrected.

    :param model: any causal or encoder-decoder `transformers` model that generates.
    :param tokenizer: its tokenizer.
    :param patches: folder of patch files.
    :param cache: folder where edits made by :meth:`edit` are kept; None keeps them in memory.
    :param gate: a :class:`~errata.gates.base.Gate`, or the name of one.
    :param reasoner: answers what is entailed by an edit: a
        :class:`~errata.reasoners.base.Reasoner`, the name of one (``adapter``, ``prompted``,
        ``verbatim``, …) or the folder of a trained one; by default the adapter trained for this
        base model, where there is one, else ``prompted``.
    :param resolvers: the stages between the gate's decision and the final one, in order: names
        (``base_agreement``, ``aliases``, ``decompose``, ``follow_up``, …) or
        :class:`~errata.pipelines.resolvers.base.Resolver` objects; by default the two in the
        middle. One that is left out leaves decisions as they were.
    :param encoder: a :class:`~errata.cache.encoder.Encoder`, the name of one, or a
        sentence-transformers model.
    :param encoder_device: where the encoder runs, such as ``"cpu"`` or ``"cuda:1"``.
    :param index: the name of a vector index (``faiss``, ``numpy``, …), or a function that makes
        one of a width; by default ``faiss``.
    :param shadow: decide and log, but always answer from the base model.
    :param verification: how the reasoner's answers are held against the edits
        (:mod:`errata.reasoners.verified`); None: they are not.
    :param mentions: ``"context"`` gives a query that no edit governs, but that names the subject of
        facts ("Tell me about Kazakhstan"), to the base model with these facts in the prompt;
        ``"off"`` leaves it to the untouched base.
    :param watch: reload the folder of patches whenever it changes; a
        :class:`~errata.cache.patches.watch.WatchConfig` says when. What is wrong with it is in
        :attr:`patch_errors` and in the log.
    :param audit: log every decision in this SQLite file (:mod:`errata.audit`); an
        :class:`~errata.audit.config.AuditConfig` says what is kept, and for how long.
    :param rollouts: keep to the patches' ``rollout``; False: each is in force everywhere.
    :param ask_config: how :meth:`ask` generates, where its options do not say.
    :raises errata.cache.errors.PatchFolderError: a patch is wrong; names every file and line.
    :raises errata.cache.errors.StoreError: the cache folder is damaged, or another encoder's.
    """

    def __init__(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        patches: str | Path | None = None,
        cache: str | Path | None = None,
        gate: Gate | str | None = None,
        reasoner: Reasoner | str | Path | None = None,
        resolvers: Sequence[Resolver | str] | None = None,
        encoder: Encoder | str | None = None,
        encoder_device: str | None = None,
        index: Callable[[int], VectorIndex] | str | None = None,
        shadow: bool = False,
        verification: VerificationConfig | None = DEFAULT_VERIFICATION,
        mentions: Mentions = "off",
        watch: bool | WatchConfig = False,
        audit: str | Path | AuditConfig | None = None,
        rollouts: bool = True,
        ask_config: AskConfig | None = None,
    ) -> None:
        self._files = None if patches is None else PatchFolder(Path(patches))
        stages = choose_resolvers(resolvers)
        self.tokenizer, tokenizer = tokenizer, private_copy(tokenizer)
        make_index = load("errata.indexes", index) if isinstance(index, str) else index
        if isinstance(encoder, str) and encoder in names("errata.encoders"):
            encoder = make("errata.encoders", encoder)
        self._background = background_reasoner(mentions, model, tokenizer)
        self.encoder = load_encoder(encoder, encoder_device)
        self.reasoner = load_reasoner(reasoner, model, tokenizer)
        self.verbatim = VerbatimReasoner()
        chosen = choose_gate(gate, self.encoder)
        self.pipeline = CachePipeline(
            chosen,
            verified(self.reasoner, verification, chosen),
            BaseConsistency(model, tokenizer),
            resolvers=stages,
        )
        self.cache = EditCache(self.encoder, cache, index=make_index)
        try:
            self.cache.set_files(() if self._files is None else self._files.edits)
            self.backends = Backends(model, tokenizer, self.cache)
            self.audit = open_audit(audit, self.gate, model)
            self._start_watching(watch)
        except BaseException:
            self.cache.close()
            raise
        self.patches = None if patches is None else Path(patches)
        self.shadow, self.rollouts = shadow, rollouts
        self.ask_config = ask_config or AskConfig()
        self._reader = PromptReader(tokenizer)
        self._writer = AnswerWriter(tokenizer)
        self._last = threading.local()
        self.base = model

    # -- generate ----------------------------------------------------------------------------

    def generate(
        self,
        inputs: torch.Tensor | Mapping[str, Any] | None = None,
        *args: Any,
        query: Queries = None,
        edits: Selection = True,
        key: Key = None,
        **kwargs: Any,
    ) -> Any:
        """Generate as `transformers` does, with the edits in force.

        If any row misses, the base model gets the caller's own arguments, the whole batch, once;
        then the rows that hit are replaced. The row of a hit is the prompt (causal) or the decoder
        start (encoder-decoder), the answer and the end token, within ``max_new_tokens``, padded as
        generate pads. With ``return_dict_in_generate``, scores and the like are None as soon as
        one row is corrected. Logits processors act on the base model's rows alone; of a generation
        config, all that is not about ids of the prompt holds for a reasoner's answers, too.

        :param inputs: ids, int64 [rows, tokens], or a BatchEncoding.
        :param args: further positional arguments of `transformers`' generate.
        :param query: the question of each row, where it is not to be read from the ids.
        :param edits: True, False (the base model alone), ``{"tags": [...]}`` or ``{"ids": [...]}``.
        :param key: what rollouts draw by, such as a user's id, one or one a row; by default the
            first user turn of each conversation.
        :param kwargs: everything `transformers`' generate takes.
        :return: int64 [rows × sequences, tokens], or a ``ModelOutput`` if one was asked for.
        :raises errata.cache.errors.GenerationError: embeddings without ids or ``query=``, or a
            stopping criterion that fails without scores.
        """
        named = name_positional(self.base, args) if args else {}
        request = read_request(self.base, inputs, {**named, **kwargs})
        return self._generate(request, edits, lambda: self._reader.prompts(request, query), key)

    @sharing_weights
    def _generate(
        self,
        request: GenerateRequest,
        edits: Selection,
        read: Callable[[], Sequence[Prompt]],
        key: Key,
    ) -> Any:
        """Answer a request.

        :param request: the call.
        :param edits: as in :meth:`generate`.
        :param read: returns the prompt of each row.
        :param key: as in :meth:`generate`.
        """
        self._last.trace = None
        if edits is False or request.prompt is None:
            return self.base.generate(**request.arguments)
        if self.shadow:
            self._shadow(read, edits, key)
            return self.base.generate(**request.arguments)
        watch = StopWatch()
        prompts = read()
        batch = self._decide(prompts, edits, watch, key)
        builder = OutputBuilder(self.base, self._writer, request, batch, prompts)
        if all(batch.affected):
            validate_request(self.base, request)
            output = None
            watch.lap("base", "not called")
        else:
            output = builder.base_output()
            watch.lap("base")
        rows = builder.affected_rows(self.verbatim)
        watch.lap("reasoner", builder.reasoner_note())
        merged = builder.merge(rows, output)
        if request.streamer is not None and rows:
            builder.stream(request.streamer, rows[0][0])
        watch.lap("filter")
        self._keep_trace(batch, builder.trace(watch))
        return merged

    def _decide(
        self, prompts: Sequence[Prompt], edits: Selection, watch: StopWatch, key: Key
    ) -> RoutedBatch:
        """Return the decision about the query of each prompt, as of this moment."""
        key = key if self.rollouts else EVERYONE
        conversations = conversations_of(key, [one.conversation for one in prompts])
        pipelines, view = self.backends.pipelines(self.pipeline), self.backends.view()
        route = route_by_rollout if view.rolling_out else route_batch
        queries, histories = [one.query for one in prompts], [one.history for one in prompts]
        return route(
            RouteRequest(
                queries, view, self.encoder, pipelines, selector(edits), watch.lap,
                self._background, histories, conversations,
            )
        )  # fmt: skip

    def _shadow(self, read: Callable[[], Sequence[Prompt]], edits: Selection, key: Key) -> None:
        """Decide and log; errors are logged, too."""
        watch = StopWatch()
        try:
            batch = self._decide(read(), edits, watch, key)
        except Exception:
            log.exception("shadow: nothing was decided")
            return
        for decision in batch.decisions:
            fired = [f"{edit.id} ({edit.location})" for edit in decision.fired]
            query = batch.view.without_secrets(decision.query)
            log.info("shadow: %s: %r fired %s", decision.route, query, fired)
        self._keep_trace(batch, Trace(batch.decisions, batch.rewrites, tuple(watch.steps)))

    # -- asking ------------------------------------------------------------------------------

    def ask(
        self,
        question: str | Messages,
        *,
        edits: Selection = True,
        key: Key = None,
        **options: Any,
    ) -> Answer:
        """Ask one question.

        :param question: a text, or the messages of a chat.
        :param edits: as in :meth:`generate`.
        :param key: as in :meth:`generate`.
        :param options: for :meth:`generate`; by default those of ``ask_config``.
        """
        return self.ask_many([question], edits=edits, key=key, **options)[0]

    def ask_many(
        self,
        questions: Sequence[str | Messages],
        *,
        edits: Selection = True,
        key: Key = None,
        **options: Any,
    ) -> list[Answer]:
        """Ask several questions in one batch; as :meth:`ask`.

        :return: one answer a question, in order.
        """
        if not questions:
            return []
        prompts = [self._reader.render(question) for question in questions]
        causal = not self.base.config.is_encoder_decoder
        arguments = {**asdict(self.ask_config), **options}
        pad = read_request(self.base, None, arguments).pad_token_id
        texts = [prompt.text for prompt in prompts]
        tokens = tokenize_prompts(texts, self._writer.tokenizer, pad, left=causal)
        ids, mask = (each.to(input_device(self.base)) for each in tokens)
        passed = {"attention_mask": mask, "pad_token_id": pad, **arguments}
        output = self._generate(read_request(self.base, ids, passed), edits, lambda: prompts, key)
        sequences = getattr(output, "sequences", output)
        start = ids.shape[1] if causal else 1
        step = len(sequences) // len(questions)
        texts = [self._writer.decode(row[start:].tolist()).strip() for row in sequences[::step]]
        trace = self.last_trace
        if trace is None:
            trace = Trace(tuple(Decision(prompt.query) for prompt in prompts))
        return [Answer(text, trace.decisions[i], trace.row(i)) for i, text in enumerate(texts)]

    def explain(self, question: str | Messages, *, key: Key = None) -> Decision:
        """Return what would be decided about a question: candidates, probabilities, threshold.

        :param question: a text, or the messages of a chat (its last user turn counts).
        :param key: as in :meth:`generate`.
        :raises errata.cache.errors.GenerationError: there is no question in it.
        """
        return self.decide([question], key=key)[0]

    @sharing_weights
    def decide(self, questions: Sequence[str | Messages], *, key: Key = None) -> list[Decision]:
        """Return what would be decided about each of several questions, as :meth:`explain`."""
        prompts = [read_question(question) for question in questions]
        return list(self._decide(prompts, True, StopWatch(), key).decisions)

    # -- edits -------------------------------------------------------------------------------

    @property
    def gate(self) -> Gate:
        """The gate of the cache's pipeline."""
        return self.pipeline.gate

    @property
    def edits(self) -> tuple[Edit, ...]:
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

    def __enter__(self) -> EditableModel:
        """Return itself, to be closed at the end of a ``with``."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the cache."""
        self.close()
