"""Run a comparison of decisions: which edits fire on each question, without any answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from errata.cache.errors import ErrataError
from errata.cache.records import Edit, Hit, Query
from errata.compare.inputs.cases import Case
from errata.compare.inputs.data import ComparisonData
from errata.compare.run.backend_factory import BackendFactory
from errata.compare.run.backends import PipelineBackend
from errata.compare.run.records import Record, RecordKey, Run
from errata.compare.run.runner import Progress, edit_fields
from errata.compare.run.settings import Settings
from errata.gates.base import Decision, Gate, Scores

NumberedCase = tuple[int, Case]
"""A case and its position among those of its seed."""


class RememberedGate:
    """A gate that decides the same query and candidates once.

    Gates are pure, so that the backends of an ablation, which differ in what comes after the gate,
    get the same decisions at a fraction of the time.

    :param gate: decides.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self._decisions: dict[tuple[str, ...], Decision] = {}
        self._scores: dict[tuple[str, ...], Scores] = {}

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the gate, such as its card."""
        return getattr(self.gate, name)

    def score_batch(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return probabilities of each query against its edits."""
        keys = [_key(query, some) for query, some in zip(queries, edits, strict=True)]
        new = [at for at, key in enumerate(keys) if key not in self._scores]
        if new:
            found = self.gate.score_batch([queries[i] for i in new], [edits[i] for i in new])
            self._scores |= dict(zip((keys[i] for i in new), found, strict=True))
        return [self._scores[key] for key in keys]

    def decide_batch(
        self, queries: Sequence[Query], hits: Sequence[Sequence[Hit]]
    ) -> list[Decision]:
        """Return the decision on each query, given what the cache found."""
        keys = [_key(query, some) for query, some in zip(queries, hits, strict=True)]
        new = [at for at, key in enumerate(keys) if key not in self._decisions]
        if new:
            found = self.gate.decide_batch([queries[i] for i in new], [hits[i] for i in new])
            self._decisions |= dict(zip((keys[i] for i in new), found, strict=True))
        return [self._decisions[key] for key in keys]


class DecisionRunner:
    """Measures the decisions that a run's records lack; every edit of a seed is in force.

    :param settings: what is compared; modes and sizes are not used.
    :param factory: has created the backends, all of them pipelines.
    :param data: cases and open questions.
    :param run: where the records go.
    :raises ErrataError: a backend is no pipeline.
    """

    def __init__(
        self, settings: Settings, factory: BackendFactory, data: ComparisonData, run: Run
    ) -> None:
        self.settings, self.factory, self.data, self.records = settings, factory, data, run
        self._done = run.done()
        self._gate = RememberedGate(factory.model.gate)
        self._backends: dict[str, PipelineBackend] = {}
        for name in settings.all_backends:
            backend = factory.create(name, settings.options.get(name, {}))
            if not isinstance(backend, PipelineBackend):
                raise ErrataError(
                    f"expected pipelines, since question pairs have no answers to compare, found "
                    f"{name}; use --ablate, or --backends of pipelines and `controls: false`"
                )
            self._backends[name] = backend

    def remaining(self) -> int:
        """Return how many cases are still to be decided."""
        return sum(
            len(self._missing(name, seed, list(enumerate(cases))))
            for seed, cases in self.data.cases.items()
            for name in self._backends
        )

    def run(self, progress: Progress = lambda backend: None) -> None:
        """Measure everything that the records lack, each chunk of cases by every backend in turn.

        :param progress: called with the backend's name after each case.
        """
        for seed, cases in self.data.cases.items():
            edits = [edit for case in cases for edit in case.edits]
            chunks = _chunks(list(enumerate(cases)), self.settings.batch_size)
            with ExitStack() as stack:
                for backend in self._backends.values() if self.remaining() else ():
                    backend.model.edit(edits)
                    stack.callback(_retract, backend, edits)
                for chunk in chunks:
                    for name in self._backends:
                        self._decide(name, seed, self._missing(name, seed, chunk), progress)

    def _decide(
        self, name: str, seed: int, chunk: Sequence[NumberedCase], progress: Progress
    ) -> None:
        backend = self._backends[name]
        gate = backend.model.gate
        timed = self.settings.latency_cases
        costs = {
            case.id: {"cpu_ms": backend.decision_milliseconds(case.probes[0].prompt)}
            for position, case in chunk
            if position < timed
        }
        texts = [self._questions(seed, position, case) for position, case in chunk]
        try:
            if gate is self._gate.gate:
                backend.model.pipeline.gate = self._gate
            decided = iter(backend.decide([text for some in texts for text in some]))
        finally:
            backend.model.pipeline.gate = gate
        for (position, case), some in zip(chunk, texts, strict=True):
            record = self._record(name, seed, position, case, [next(decided) for _ in some])
            self.records.write({**record, **costs.get(case.id, {})})
            progress(name)

    def _record(
        self, name: str, seed: int, position: int, case: Case, decisions: Sequence[Decision]
    ) -> Record:
        ids = {edit.id for edit in case.edits}
        probes, locality = [], []
        for at, decision in enumerate(decisions):
            fired = [edit.id for edit in decision.fired]
            hit = {"fired": fired, "route": decision.route} if fired else {}
            if at < len(case.probes) and case.probes[at].property != "locality":
                probe = case.probes[at]
                probes.append({
                    "kind": probe.kind, "prompt": probe.prompt, "expected": list(probe.answers),
                    "before": "", "answer": "", "right": bool(fired) and fired[0] in ids, **hit,
                })  # fmt: skip
            else:
                kind = case.probes[at].kind if at < len(case.probes) else "unrelated"
                text = decision.query
                local = {"kind": kind, "prompt": text, "before": "", "right": not fired}
                locality.append({**local, **hit})
        key = RecordKey(name, "batch", len(self.data.cases[seed]), seed, case.id)
        return {
            "type": "case", "backend": key.backend, "mode": key.mode, "size": key.size,
            "seed": seed, "pipeline": True, "case": case.id, "position": position,
            "group": case.group, "edits": edit_fields(case), "unsupported": [], "untested": {},
            "probes": probes, "locality": locality, "preferences": [], "perplexity": [],
        }  # fmt: skip

    def _questions(self, seed: int, position: int, case: Case) -> list[str]:
        """Return a case's questions, and its share of the open ones."""
        opens = self.data.open_questions.get(seed, ())
        asked = [probe.prompt for probe in case.probes]
        return [*asked, *opens[position :: len(self.data.cases[seed])]]

    def _missing(
        self, name: str, seed: int, cases: Sequence[NumberedCase]
    ) -> Sequence[NumberedCase]:
        size = len(self.data.cases[seed])
        return [
            (position, case)
            for position, case in cases
            if RecordKey(name, "batch", size, seed, case.id) not in self._done
        ]


def _retract(backend: PipelineBackend, edits: Sequence[Edit]) -> None:
    for edit in edits:
        backend.model.retract(edit.id)


def _key(query: Query | str, edits: Sequence[Edit | Hit]) -> tuple[str, ...]:
    text = query if isinstance(query, str) else query.text
    return (text, *(one.edit.id if isinstance(one, Hit) else one.id for one in edits))


def _chunks(cases: Sequence[NumberedCase], size: int) -> Iterator[Sequence[NumberedCase]]:
    for start in range(0, len(cases), size):
        yield cases[start : start + size]
