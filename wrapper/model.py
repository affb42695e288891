"""EditableModel: a base model with edits in force, behind the interface of `transformers`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.audit.config import AuditConfig
from errata.cache.index.base import VectorIndex
from errata.cache.patches.folder import PatchFolder
from errata.cache.patches.watch import WatchConfig
from errata.cache.rollout import Key
from errata.classification import Classifying
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
    pad_ids,
    private_copy,
    read_question,
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
    validate_request,
)
from errata.output import (
    Answer,
    CallOptions,
    Completion,
    OutputBuilder,
    StopWatch,
    Trace,
    completions,
)
from errata.pipelines.base import RoutedBatch
from errata.pipelines.cache import CachePipeline, choose_resolvers
from errata.pipelines.resolvers.base import Resolver
from errata.pretrained import SavedModel
from errata.reasoners.background import Mentions, background_reasoner
from errata.reasoners.base import Reasoner
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.load import load_reasoner
from errata.reasoners.verbatim import VerbatimReasoner
from errata.reasoners.verified import DEFAULT_VERIFICATION, VerificationConfig, verified
from errata.registry import load, make, names
from errata.router import EditRouter

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.cache.encoder import Encoder
    from errata.generation.base_model import GenerativeModel

log = logging.getLogger("errata")


class EditableModel(EditRouter, Classifying, WeightEditing, SavedModel, BaseProxy):
    """A language model with an errata sheet.

    A query that an edit in force governs is answered by the edit; every other query gets the base
    model's own tokens (knowledge editing by external extension: SERAC, Mitchell et al. 2022). Only
    the editors that :meth:`using` and :meth:`use` take change the base model's weights.
    ``forward()`` and logits are the base's, uncorrected.

    :param model: any causal or encoder-decoder `transformers` model that generates.
    :param tokenizer: its tokenizer.
    :param patches: folder of patch files, or one that is read.
    :param cache: folder where edits made by :meth:`edit` are kept, or the URL of a PostgreSQL
        database that several processes share (``postgresql://…``); None keeps them in memory.
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
        patches: str | Path | PatchFolder | None = None,
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
        files = PatchFolder.of(patches)
        stages = choose_resolvers(resolvers)
        self.tokenizer, tokenizer = tokenizer, private_copy(tokenizer)
        make_index = load("errata.indexes", index) if isinstance(index, str) else index
        if isinstance(encoder, str) and encoder in names("errata.encoders"):
            encoder = make("errata.encoders", encoder)
        background = background_reasoner(mentions, model, tokenizer)
        loaded = load_encoder(encoder, encoder_device)
        self.reasoner = load_reasoner(reasoner, model, tokenizer)
        self.verbatim = VerbatimReasoner()
        chosen = choose_gate(gate, loaded)
        pipeline = CachePipeline(
            chosen,
            verified(self.reasoner, verification, chosen),
            BaseConsistency(model, tokenizer),
            resolvers=stages,
        )
        super().__init__(
            pipeline, loaded, base=(model, tokenizer), files=files, cache=cache,
            index=make_index, background=background, watch=watch, audit=audit, rollouts=rollouts,
        )  # fmt: skip
        self.shadow = shadow
        self.ask_config = ask_config or AskConfig()
        self._reader = PromptReader(tokenizer)
        self._writer = AnswerWriter(tokenizer)
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
        read = partial(self._reader.prompts, request, query)
        return self._generate(request, read, CallOptions(edits, key, self.shadow))

    @sharing_weights
    def _generate(
        self, request: GenerateRequest, read: Callable[[], Sequence[Prompt]], call: CallOptions
    ) -> Any:
        """Answer a request.

        :param request: the arguments of `transformers`' generate.
        :param read: returns the prompt of each row.
        :param call: errata's own arguments.
        """
        self._last.trace = None
        if call.edits is False or request.prompt is None:
            call.on_decision(None)
            return self.base.generate(**request.arguments)
        if call.shadow:
            call.on_decision(self._shadow(read, call))
            return self.base.generate(**request.arguments)
        watch = StopWatch()
        prompts = read()
        batch = self.route(prompts, call.edits, watch, call.key)
        call.on_decision(batch)
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

    def _shadow(
        self, read: Callable[[], Sequence[Prompt]], call: CallOptions
    ) -> RoutedBatch | None:
        """Decide and log; errors are logged, too."""
        watch = StopWatch()
        try:
            batch = self.route(read(), call.edits, watch, call.key)
        except Exception:
            log.exception("shadow: nothing was decided")
            return None
        for decision in batch.decisions:
            fired = [f"{edit.id} ({edit.location})" for edit in decision.fired]
            log.info("shadow: %s: %r fired %s", decision.route, decision.query, fired)
        trace = Trace(batch.decisions, batch.rewrites, tuple(watch.steps))
        self._keep_trace(batch, trace, shadow=True)
        return batch

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
        call = CallOptions(edits, key, self.shadow)
        made = self.complete([self._reader.render(one) for one in questions], call, **options)
        return [Answer(one.texts[0].strip(), one.decision, one.trace) for one in made]

    def prompt_of(self, question: str | Messages, *, raw: bool = False) -> Prompt:
        """Return the prompt of a question.

        :param question: a text, or the messages of a chat.
        :param raw: the text is the prompt as it stands, without the chat template.
        :raises errata.cache.errors.GenerationError: there is no question in it.
        """
        return read_question(question) if raw else self._reader.render(question)

    def complete(
        self, prompts: Sequence[Prompt], call: CallOptions | None = None, **options: Any
    ) -> list[Completion]:
        """Return what follows each of several prompts, generated in one batch.

        :param prompts: of :meth:`prompt_of`.
        :param call: which edits are in force, and what rollouts draw by.
        :param options: for :meth:`generate`; by default those of ``ask_config``.
        """
        if not prompts:
            return []
        causal = not self.base.config.is_encoder_decoder
        arguments = {**asdict(self.ask_config), **options}
        pad = read_request(self.base, None, arguments).pad_token_id
        tokenizer = self._writer.tokenizer
        # a chat template writes the special tokens itself
        rows = [tokenizer(p.text, add_special_tokens=not p.chat)["input_ids"] for p in prompts]
        ids, mask = (t.to(input_device(self.base)) for t in pad_ids(rows, pad, left=causal))
        passed = {"attention_mask": mask, "pad_token_id": pad, **arguments}
        request = read_request(self.base, ids, passed)
        output = self._generate(request, lambda: prompts, call or CallOptions())
        trace = self._last.trace or Trace(tuple(Decision(prompt.query) for prompt in prompts))
        sequences = getattr(output, "sequences", output)[:, ids.shape[1] if causal else 1 :]
        lengths = mask.sum(dim=1).tolist()
        return completions(self._writer, request, sequences.tolist(), lengths, trace)

    def __enter__(self) -> EditableModel:
        """Return itself, to be closed at the end of a ``with``."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the cache."""
        self.close()
