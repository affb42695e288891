"""Decider: the edits in force for a model that runs elsewhere, such as behind a chat API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from errata.audit.config import AuditConfig
from errata.cache.filters.text_filter import Replacement
from errata.cache.index.base import VectorIndex
from errata.cache.patches.folder import PatchFolder
from errata.cache.patches.watch import WatchConfig
from errata.cache.records import Edit
from errata.cache.rollout import Key, conversations_of
from errata.decision_memo import DecisionMemo
from errata.encoder import load_encoder
from errata.gates.base import Decision, Gate
from errata.gates.load import choose_gate
from errata.generation.chat import Messages, Prompt, read_question
from errata.generation.request import Selection
from errata.output import Answer, Step, StopWatch, Trace
from errata.pipelines.base import RoutedBatch
from errata.pipelines.cache import CachePipeline, choose_resolvers
from errata.pipelines.resolvers.base import Resolver
from errata.reasoners.base import Outcome, Reasoner, answer_prompts
from errata.reasoners.prompted import CHAT_FORM
from errata.reasoners.remote import Complete, RemoteReasoner, in_context
from errata.reasoners.verbatim import VerbatimReasoner
from errata.reasoners.verified import DEFAULT_VERIFICATION, VerificationConfig, verified
from errata.registry import load
from errata.router import EditRouter

if TYPE_CHECKING:
    from transformers import GenerationConfig

    from errata.cache.encoder import Encoder


@dataclass(frozen=True, slots=True, eq=False)
class RoutedQuery:
    """What is decided about one conversation.

    :param prompt: the conversation, and the query in it.
    :param batch: the decision, as a batch of one.
    :param seconds: until it was decided.
    :param steps: the stages of deciding.
    """

    prompt: Prompt = field(repr=False)
    batch: RoutedBatch
    seconds: float
    steps: tuple[Step, ...] = ()

    @property
    def decision(self) -> Decision:
        """The decision."""
        return self.batch.decisions[0]

    @property
    def affected(self) -> bool:
        """Whether the model must not get the caller's own question."""
        return self.batch.affected[0]

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits by which the effective query is answered."""
        return self.decision.remaining_edits

    @property
    def stored(self) -> bool:
        """Whether a stored answer or a refusal is the answer."""
        return self.decision.route in ("verbatim", "refuse")

    def filter(self, text: str) -> tuple[str, tuple[Replacement, ...]]:
        """Return an answer after the output patterns and secrets, and what they replaced."""
        output_filter = self.batch.output_filters[0]
        return output_filter.apply(text) if output_filter else (text, ())

    def in_context(self) -> str:
        """Return the query with its edits behind it, for an answer that has to keep a form."""
        query = self.batch.queries[0]
        return in_context(CHAT_FORM, query, self.edits) if self.edits else query


class Decider:
    """Decides by patches, without a model: ``decide(messages)`` returns an answer or None.

    For servers and frameworks that have their own way to a model. A stored answer or a refusal
    needs no model; what follows from an edit is asked of the model by ``complete``, with the edit
    in its prompt. Safe under threads.

    :param patches: folder of patch files.
    :param complete: asks the model: messages in, text out. Without it only stored answers and
        refusals are given, and query patterns have no effect.
    :param cache: folder where edits made by :meth:`edit` are kept, or the URL of a PostgreSQL
        database that several processes share (``postgresql://…``); None keeps them in memory.
    :param gate: a :class:`~errata.gates.base.Gate`, or the name of one.
    :param resolvers: as of :class:`errata.EditableModel`; the base model is not consulted.
    :param encoder: an :class:`~errata.cache.encoder.Encoder`, or the name of one.
    :param encoder_device: where the encoder runs.
    :param index: the name of a vector index, or a function that makes one of a width.
    :param verification: how the model's answers are held against the edits; None: they are not.
    :param watch: reload the folder of patches whenever it changes.
    :param audit: log every decision in this SQLite file.
    :param model_name: names the model in the log.
    :param rollouts: keep to the patches' ``rollout``.
    :raises errata.cache.errors.PatchFolderError: a patch is wrong; names every file and line.
    """

    def __init__(
        self,
        patches: str | Path | PatchFolder | None = None,
        *,
        complete: Complete | None = None,
        cache: str | Path | None = None,
        gate: Gate | str | None = None,
        resolvers: Sequence[Resolver | str] | None = None,
        encoder: Encoder | str | None = None,
        encoder_device: str | None = None,
        index: Callable[[int], VectorIndex] | str | None = None,
        verification: VerificationConfig | None = DEFAULT_VERIFICATION,
        watch: bool | WatchConfig = False,
        audit: str | Path | AuditConfig | None = None,
        model_name: str = "",
        rollouts: bool = True,
    ) -> None:
        files = PatchFolder.of(patches)
        stages = choose_resolvers(resolvers)
        loaded = load_encoder(encoder, encoder_device)
        self.complete, self.verification = complete, verification
        self._gate, self._verbatim = choose_gate(gate, loaded), VerbatimReasoner()
        self._memo = DecisionMemo()
        pipeline = CachePipeline(self._gate, self._reasoner(complete), resolvers=stages)
        self.router = EditRouter(
            pipeline, loaded, files=files, cache=cache,
            index=load("errata.indexes", index) if isinstance(index, str) else index,
            watch=watch, audit=audit, model_name=model_name, rollouts=rollouts,
        )  # fmt: skip

    # -- deciding ----------------------------------------------------------------------------

    def decide(
        self, messages: str | Messages, *, edits: Selection = True, key: Key = None
    ) -> Answer | None:
        """Return the answer to a conversation by the edits in force, None where none governs it.

        :param messages: a text, or the messages of a chat; the last user turn is the query.
        :param edits: True, False, ``{"tags": [...]}`` or ``{"ids": [...]}``.
        :param key: what rollouts draw by, such as a user's id.
        :raises errata.cache.errors.GenerationError: there is no question in it.
        """
        if edits is False:
            return None
        (routed,) = self.route([messages], edits=edits, key=key)
        return self.answer(routed)

    async def adecide(
        self, messages: str | Messages, *, edits: Selection = True, key: Key = None
    ) -> Answer | None:
        """Return what :meth:`decide` does, from a thread; ``complete`` is called there, too."""
        return await asyncio.to_thread(self.decide, messages, edits=edits, key=key)

    def filter(self, text: str) -> str:
        """Return a model's own answer after the output patterns and secrets in force."""
        return self.router.cache.view().text_filter("output", lambda edit: True).apply(text)[0]

    def route(
        self, conversations: Sequence[str | Messages], *, edits: Selection = True, key: Key = None
    ) -> list[RoutedQuery]:
        """Return the decisions about several conversations, in one batch; asks no model.

        :raises errata.cache.errors.GenerationError: there is no question in one of them.
        """
        watch, start = StopWatch(), time.perf_counter()
        prompts = [read_question(one) for one in conversations]
        drawn = conversations_of(key, [one.conversation for one in prompts])
        selected = edits if isinstance(edits, bool) else repr(sorted(edits.items()))
        keys = [(prompt.query, prompt.history, selected) for prompt in prompts]
        view = self.router.backends.view()
        rows = [self._memo.get(view, one) for one in keys]
        new = [row for row, known in enumerate(rows) if known is None]
        if new:
            asked, own = [prompts[row] for row in new], [drawn[row] for row in new]
            batch = self.router.route(asked, edits, watch, own)
            for at, row in enumerate(new):
                rows[row] = batch.row(at)
                self._memo.keep(keys[row], batch.row(at))
        seconds, steps = time.perf_counter() - start, tuple(watch.steps)
        return [
            RoutedQuery(prompt, replace(row, conversations=(conversation,)), seconds, steps)
            for prompt, conversation, row in zip(prompts, drawn, rows, strict=True)
            if row is not None
        ]

    def answer(
        self, routed: RoutedQuery, *, complete: Complete | None = None, count: int = 1
    ) -> Answer | None:
        """Return the answer to a query that was decided, and log the decision.

        :param routed: of :meth:`route`.
        :param complete: asks the model; by default the decider's own.
        :param count: answers to ask for; the first is returned.
        :return: None where no edit governs the query.
        """
        answers = self.answers(routed, complete=complete, count=count)
        return answers[0] if answers else None

    def answers(
        self, routed: RoutedQuery, *, complete: Complete | None = None, count: int = 1
    ) -> list[Answer]:
        """Return ``count`` answers to a query that was decided; none where no edit governs it."""
        ask = complete or self.complete
        watch = StopWatch()
        texts: list[str] = []
        outcome: Outcome = ""
        if routed.decision.hit and routed.edits:
            texts, outcome = self._reasoned(routed, ask, count)
        elif routed.affected and ask is not None:
            prompt = routed.prompt
            turns = [
                *prompt.history,
                ("user", routed.prompt.replace_query(routed.batch.queries[0])),
            ]
            messages = [{"role": role, "content": text} for role, text in turns]
            texts = [ask(messages) for _ in range(count)]
        watch.lap("reasoner")
        filtered = [routed.filter(text) for text in texts]
        watch.lap("filter")
        replaced = (*routed.batch.rewrites[0], *(filtered[0][1] if filtered else ()))
        trace = Trace(
            (routed.decision,), (replaced,), (*routed.steps, *watch.steps),
            (outcome,) if texts else (),
        )  # fmt: skip
        self.log(routed, trace)
        return [Answer(text, routed.decision, trace) for text, _ in filtered]

    def log(self, routed: RoutedQuery, trace: Trace | None = None, *, shadow: bool = False) -> None:
        """Log a decision, if a log is kept.

        :param trace: how it was answered; by default not at all.
        :param shadow: the model answered, whatever was decided.
        """
        trace = trace or Trace((routed.decision,), routed.batch.rewrites, routed.steps)
        self.router._keep_trace(routed.batch, trace, shadow=shadow)

    def _reasoned(
        self, routed: RoutedQuery, complete: Complete | None, count: int
    ) -> tuple[list[str], Outcome]:
        """Return answers by stored texts or by the model, and the outcome of the first."""
        reasoner = self._verbatim if routed.stored else self._reasoner(complete)
        asked = routed.prompt.asking(routed.batch.queries[0])
        (found,) = answer_prompts(reasoner, [asked], [routed.edits], _generation(count))
        return [reply.text for reply in found], found[0].outcome

    def _reasoner(self, complete: Complete | None) -> Reasoner:
        """Return what answers where the route is ``reason``."""
        if complete is None:
            return VerbatimReasoner()
        return verified(RemoteReasoner(complete), self.verification, self._gate)

    # -- edits -------------------------------------------------------------------------------

    @property
    def edits(self) -> Sequence[Edit]:
        """The edits in force today, those of patch files first."""
        return self.router.edits

    def edit(self, edit: Edit) -> Edit:
        """Put an edit in force; see :meth:`errata.EditableModel.edit`."""
        return self.router.edit(edit)

    def retract(self, edit_id: str) -> Edit:
        """Take an edit out of force; see :meth:`errata.EditableModel.retract`."""
        return self.router.retract(edit_id)

    def explain(self, messages: str | Messages, *, key: Key = None) -> Decision:
        """Return what would be decided: candidates, probabilities, thresholds."""
        return self.router.explain(messages, key=key)

    def close(self) -> None:
        """Close cache and log."""
        self.router.close()

    def __enter__(self) -> Decider:
        """Return itself, to be closed at the end of a ``with``."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close cache and log."""
        self.close()


@cache
def _generation(count: int) -> GenerationConfig:
    """Return the config by which a reasoner gives so many answers; it sets nothing else."""
    from transformers import GenerationConfig

    generation = GenerationConfig()
    generation.num_return_sequences = count
    return generation
