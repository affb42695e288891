"""What is compared: a gate with its cache, cosine over examples, logistic regression over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from errata.cache.encoder import Encoder, encode_queries
from errata.cache.records import Edit, Query
from errata.cache.store import EditCache
from errata.cache.view import View
from errata.gates.base import Candidate, Decision, Gate
from errata.gates.evaluation.metrics import Array

CHUNK = 64

T = TypeVar("T")
Step = Callable[[int], object]
"""Receives the number of messages decided since the last call."""


@dataclass(frozen=True, slots=True)
class Message:
    """A query.

    :param text: the query.
    :param right: id of the edit that governs it; empty: none does.
    :param part: which of its trial's parts it belongs to.
    :param case: messages of one case are not independent: an interval resamples whole cases.
    """

    text: str
    right: str = ""
    part: str = ""
    case: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """Edits in force together, and queries."""

    edits: tuple[Edit, ...]
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one message.

    :param message: the message.
    :param best: id of the candidate nearest to firing, or furthest above its threshold.
    :param margin: how far that candidate is above its threshold, in log-odds or as a difference of
        cosines; an edit fires from 0 on. -inf without candidates.
    :param right_margin: the same of the right edit; -inf where it is no candidate.
    :param fired: ids of the edits that fire, the answering one first.
    :param entailed: whether the answering edit's relation is entailed, not paraphrase.
    """

    message: Message
    best: str
    margin: float
    right_margin: float
    fired: tuple[str, ...]
    entailed: bool = False

    @property
    def hit(self) -> bool:
        """Whether any edit fires."""
        return bool(self.fired)

    @property
    def right(self) -> bool:
        """Whether the edit that governs the message answers it."""
        return self.hit and self.fired[0] == self.message.right


class Decider(Protocol):
    """Decides on messages, given edits."""

    name: str

    def decide(self, trial: Trial, step: Step) -> list[Verdict] | None:
        """Return the verdicts on a trial's messages, in order; None: it cannot."""

    def decide_pairs(
        self, pairs: Sequence[tuple[Message, Edit]], step: Step
    ) -> list[Verdict] | None:
        """Return the verdicts on messages, each against its one edit; None: it cannot."""


DecideQueries = Callable[[View, Sequence[Query]], list[Decision]]
"""Decisions on queries, given the view of the edits in force."""


class GateDecider:
    """A cache and a gate.

    :param name: of the gate, for tables.
    :param gate: any gate.
    :param encoder: of the gate; a caching one saves most of the time.
    :param candidates: edits that a search returns.
    :param decide: decides in place of search and gate, such as a pipeline with its resolvers.
    """

    def __init__(
        self,
        name: str,
        gate: Gate,
        encoder: Encoder,
        candidates: int = 16,
        decide: DecideQueries | None = None,
    ) -> None:
        self.name, self.gate, self.encoder = name, gate, encoder
        self.candidates = candidates
        self._decide = decide or self._search_and_gate

    def decide(self, trial: Trial, step: Step) -> list[Verdict]:
        """Return the verdicts: search, then gate."""
        verdicts: list[Verdict] = []
        with EditCache(self.encoder) as cache:
            cache.add(trial.edits)
            view = cache.view()
            for some in _chunks(trial.messages):
                queries = encode_queries(self.encoder, [one.text for one in some])
                decisions = self._decide(view, queries)
                verdicts += map(verdict_of, some, decisions)
                step(len(some))
        return verdicts

    def decide_pairs(self, pairs: Sequence[tuple[Message, Edit]], step: Step) -> list[Verdict]:
        """Return the verdicts of the gate alone, given one candidate each."""
        verdicts: list[Verdict] = []
        edits = {edit.id: edit for _, edit in pairs}
        with EditCache(self.encoder) as cache:
            cache.add(list(edits.values()))
            view = cache.view()
            for some in _chunks(pairs):
                queries = encode_queries(self.encoder, [message.text for message, _ in some])
                hits = [[view.hit(q, edit)] for q, (_, edit) in zip(queries, some, strict=True)]
                decisions = self.gate.decide_batch(queries, hits)
                verdicts += map(verdict_of, (message for message, _ in some), decisions)
                step(len(some))
        return verdicts

    def found(self, trial: Trial) -> list[tuple[Message, tuple[str, ...]]]:
        """Return the ids of each message's candidates, undecided."""
        found: list[tuple[Message, tuple[str, ...]]] = []
        with EditCache(self.encoder) as cache:
            cache.add(trial.edits)
            view = cache.view()
            for some in _chunks(trial.messages):
                queries = encode_queries(self.encoder, [one.text for one in some])
                hits = view.search(queries, self.candidates)
                found += zip(some, (tuple(hit.edit.id for hit in each) for each in hits),
                             strict=True)  # fmt: skip
        return found

    def _search_and_gate(self, view: View, queries: Sequence[Query]) -> list[Decision]:
        return self.gate.decide_batch(queries, view.search(queries, self.candidates))


class CosineDecider:
    """The highest cosine of a query and any example of an edit, as in a semantic cache.

    :param encoder: any encoder.
    :param threshold: the cosine from which an edit fires.
    """

    def __init__(self, encoder: Encoder, threshold: float, name: str = "cosine") -> None:
        self.name, self.encoder, self.threshold = name, encoder, threshold

    def decide(self, trial: Trial, step: Step) -> list[Verdict]:
        """Return the verdicts by cosine with all examples of all edits."""
        texts = [example for edit in trial.edits for example in examples_of(edit)]
        rows = self.encoder.encode(texts)
        counts = [len(examples_of(edit)) for edit in trial.edits]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        ids = [edit.id for edit in trial.edits]
        verdicts: list[Verdict] = []
        for some in _chunks(trial.messages):
            cosines = self.encoder.encode([one.text for one in some]) @ rows.T
            best = np.maximum.reduceat(cosines, starts, axis=1).astype(np.float64)
            margins = best - self.threshold
            verdicts += [_by_margins(one, ids, row) for one, row in zip(some, margins, strict=True)]
            step(len(some))
        return verdicts

    def decide_pairs(self, pairs: Sequence[tuple[Message, Edit]], step: Step) -> list[Verdict]:
        """Return the verdicts by cosine with the examples of the one edit."""
        return [
            verdict
            for message, edit in pairs
            for verdict in self.decide(Trial((edit,), (message,)), step)
        ]


class LogisticDecider:
    """Logistic regression over embeddings of examples: SetFit without its contrastive stage.

    Tunstall et al. 2022, "Efficient few-shot learning without prompts", arXiv:2209.11055. One
    class an edit, and one for what is out of scope.

    :param encoder: any encoder.
    :param out_of_scope: texts out of scope of all edits, that no row measures.
    """

    def __init__(
        self, encoder: Encoder, out_of_scope: Sequence[str], name: str = "logistic regression"
    ) -> None:
        self.name, self.encoder, self.out_of_scope = name, encoder, tuple(out_of_scope)

    def decide(self, trial: Trial, step: Step) -> list[Verdict] | None:
        """Return the verdicts; the margin is in log-odds against the class out of scope."""
        from sklearn.linear_model import LogisticRegression

        if not self.out_of_scope:
            return None
        ids = [edit.id for edit in trial.edits]
        texts = [(text, at) for at, edit in enumerate(trial.edits) for text in examples_of(edit)]
        texts += [(text, len(ids)) for text in self.out_of_scope]
        model = LogisticRegression(class_weight="balanced", max_iter=300)
        model.fit(self.encoder.encode([text for text, _ in texts]), [at for _, at in texts])
        verdicts: list[Verdict] = []
        for some in _chunks(trial.messages):
            logs = model.predict_log_proba(self.encoder.encode([one.text for one in some]))
            margins = logs[:, :-1] - logs[:, -1:]
            verdicts += [_by_margins(one, ids, row) for one, row in zip(some, margins, strict=True)]
            step(len(some))
        return verdicts

    def decide_pairs(self, pairs: Sequence[tuple[Message, Edit]], step: Step) -> None:
        """Return None: one edit alone gives it nothing to learn."""


def examples_of(edit: Edit) -> tuple[str, ...]:
    """Return the positive examples of an edit: its question or condition, and its ``fires``."""
    return tuple(dict.fromkeys((edit.scope, *edit.tests.fires)))


def verdict_of(message: Message, decision: Decision) -> Verdict:
    """Return a gate's decision as a verdict."""
    margins = {one.edit_id: _margin(one) for one in decision.candidates}
    best = max(margins, key=lambda key: margins[key], default="")
    first = decision.fired[0].id if decision.fired else ""
    relations = {one.edit_id: one.relation for one in decision.candidates}
    return Verdict(
        message,
        best,
        margins.get(best, -np.inf),
        margins.get(message.right, -np.inf),
        tuple(edit.id for edit in decision.fired),
        relations.get(first) == "entailed",
    )


def _margin(candidate: Candidate) -> float:
    """Return the log-odds of a candidate's probability above those of its threshold."""
    odds = np.clip([candidate.probability, candidate.threshold], 1e-12, 1 - 1e-12)
    logits = np.log(odds / (1 - odds))
    return float(logits[0] - logits[1])


def _by_margins(message: Message, ids: Sequence[str], margins: Array) -> Verdict:
    order = np.argsort(-margins, kind="stable")
    fired = tuple(ids[at] for at in order if margins[at] >= 0)
    right = margins[ids.index(message.right)] if message.right in ids else -np.inf
    best = int(order[0])
    return Verdict(message, ids[best], float(margins[best]), float(right), fired)


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))
