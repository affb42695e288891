"""Run a comparison: every backend on the same cases, in the same order and the same batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from errata.cache.errors import EditError, ErrataError
from errata.compare.inputs.cases import Case
from errata.compare.inputs.data import ComparisonData
from errata.compare.run.backend_factory import BackendFactory
from errata.compare.run.backends import ComparedBackend
from errata.compare.run.batches import EditBatch, Step, edit_batches
from errata.compare.run.controls import ShuffledAnswers
from errata.compare.run.evaluate import Baseline, Evaluator
from errata.compare.run.model_digest import model_digest, weights_digest
from errata.compare.run.records import RecordKey, Run
from errata.compare.run.settings import Settings
from errata.generation.free_generation import AnswerGenerator

SMALL_MODEL = 64_000_000
"""Bytes of a model up to which its digest is checked after every batch, else once a turn.

Whether edits touch the weights is then looked at in the first batch and in the last."""
TURN = 20
"""Batches (in mode single: cases) that a backend measures before the next one's turn."""

Progress = Callable[[str], None]


class Runner:
    """Measures what a run's records lack.

    :param settings: what is compared.
    :param factory: creates the backends.
    :param data: cases, open questions, text.
    :param run: where the records go.
    """

    def __init__(
        self, settings: Settings, factory: BackendFactory, data: ComparisonData, run: Run
    ) -> None:
        self.settings, self.factory, self.data, self.records = settings, factory, data, run
        base, tokenizer = factory.model.base, factory.model.tokenizer
        self.base = base
        generator = AnswerGenerator(base, tokenizer, settings.max_new_tokens, settings.batch_size)
        self.evaluator = Evaluator(base, tokenizer, generator, forced=settings.teacher_forcing)
        for seed, cases in data.cases.items():
            _check_distinct(cases, seed)
        self._done = run.done()
        self._baselines: dict[str, Baseline] = {}
        self._perplexity = 0.0
        size = sum(p.numel() * p.element_size() for p in base.parameters())
        self._check_every_batch = size <= SMALL_MODEL

    def remaining(self) -> int:
        """Return how many cases are still to be evaluated."""
        return sum(
            len(self._missing(name, seed, batch))
            for seed, cases in self.data.cases.items()
            for name in self.settings.all_backends
            for batch in self._batches(cases)
        )

    def run(self, progress: Progress = lambda backend: None) -> None:
        """Measure everything that the records lack.

        :param progress: called with the backend's name after each case.
        :raises EditError: a backend did not restore the model bit for bit; the run is void.
        """
        if self.data.texts and self.remaining():
            self._perplexity = self.evaluator.teacher_forcing.perplexity(self.data.texts)
        for seed, cases in self.data.cases.items():
            self._baselines = {}
            self._run_seed(seed, cases, progress)

    def _run_seed(self, seed: int, cases: Sequence[Case], progress: Progress) -> None:
        """Measure some batches by every backend, then the next: an interrupted run has all."""
        backends: dict[str, ComparedBackend] = {}
        batches = self._batches(cases)
        for start in range(0, len(batches), TURN):
            for name in self.settings.all_backends:
                some = batches[start : start + TURN]
                missing = [batch for batch in some if self._missing(name, seed, batch)]
                if not missing:
                    continue
                if name not in backends:
                    backends[name] = self._create(name, seed, cases)
                self._run_backend(backends[name], seed, missing, progress)

    def _create(self, name: str, seed: int, cases: Sequence[Case]) -> ComparedBackend:
        backend = self.factory.create(name, self.settings.options.get(name, {}))
        if isinstance(backend, ShuffledAnswers):
            backend.prepare(cases, seed)
        return backend

    def _run_backend(
        self, backend: ComparedBackend, seed: int, batches: Sequence[EditBatch], progress: Progress
    ) -> None:
        unedited, weights = model_digest(self.base), weights_digest(self.base)
        touched = False
        for batch in batches:
            look = not touched and (self._check_every_batch or batch in (batches[0], batches[-1]))
            with_edits = self._run_batch(backend, seed, batch, progress, digest=look)
            touched |= look and with_edits != weights
            if self._check_every_batch:
                self._check_restored(backend, seed, batch.mode, unedited)
        self._check_restored(backend, seed, batches[-1].mode, unedited)
        self.records.write({
            "type": "rollback", "backend": backend.name, "seed": seed, "exact": True,
            "touched": touched,
        })  # fmt: skip
        # Only now: some editors compute what they need for a model with their first edit.
        self.records.write({
            "type": "training", "backend": backend.name, "seed": seed,
            "seconds": backend.training_seconds,
        })  # fmt: skip

    def _run_batch(
        self, backend: ComparedBackend, seed: int, batch: EditBatch, progress: Progress, *,
        digest: bool,
    ) -> str:  # fmt: skip
        """Measure a batch; return the digest of the weights with all its edits, if wanted."""
        applied: set[str] = set()
        wanted = {key.case for key in self._missing(backend.name, seed, batch)}
        for step in batch.steps:  # before anything is edited
            for case in step.evaluated:
                if case.id in wanted:
                    self._baseline(case, seed)
        costs: dict[str, dict[str, Any]] = {}
        try:
            for step in batch.steps:
                for group in step.applied:
                    ids, cost = _apply(backend, group)
                    applied |= ids
                    costs |= {case.id: cost for case in group}
                self._evaluate(backend, seed, batch, step, applied, costs, progress)
            return weights_digest(self.base) if digest else ""
        finally:
            backend.undo()

    def _evaluate(
        self, backend: ComparedBackend, seed: int, batch: EditBatch, step: Step, applied: set[str],
        costs: dict[str, dict[str, Any]], progress: Progress,
    ) -> None:  # fmt: skip
        perplexity = None
        for position, case in enumerate(step.evaluated):
            key = RecordKey(backend.name, batch.mode, step.size, seed, case.id)
            if key in self._done:
                continue
            unsupported = [edit.id for edit in case.edits if edit.id not in applied]
            record = {
                "type": "case", "backend": key.backend, "mode": key.mode, "size": key.size,
                "seed": seed, "pipeline": backend.pipeline, "case": case.id,
                "position": position, "group": case.group,
                "edits": edit_fields(case), "old": case.old,
                "unsupported": unsupported,
            }  # fmt: skip
            if unsupported:
                record["reason"] = costs[case.id].get("reason", "")
            else:
                perplexity = perplexity or self._perplexities(backend)
                record |= costs[case.id]
                record |= self.evaluator.after(case, self._baseline(case, seed), backend)
                record["perplexity"] = perplexity
            self.records.write(record)
            self._done.add(key)
            progress(backend.name)

    def _baseline(self, case: Case, seed: int) -> Baseline:
        if case.id not in self._baselines:
            cases = self.data.cases[seed]
            position = cases.index(case)
            questions = self.data.open_questions.get(seed, ())[position :: len(cases)]
            extras = position < self.settings.latency_cases
            self._baselines[case.id] = self.evaluator.before(case, questions, extras=extras)
        return self._baselines[case.id]

    def _perplexities(self, backend: ComparedBackend) -> list[float]:
        """Return the perplexity of the held-out text, unedited and now; empty without text."""
        if not self.data.texts:
            return []
        if backend.pipeline:  # its logits are the unedited model's
            return [self._perplexity, self._perplexity]
        return [self._perplexity, self.evaluator.teacher_forcing.perplexity(self.data.texts)]

    def _batches(self, cases: Sequence[Case]) -> list[EditBatch]:
        counts = self.settings.edit_counts
        return [b for mode in self.settings.modes for b in edit_batches(mode, counts, cases)]

    def _missing(self, name: str, seed: int, batch: EditBatch) -> list[RecordKey]:
        keys = [
            RecordKey(name, batch.mode, step.size, seed, case.id)
            for step in batch.steps
            for case in step.evaluated
        ]
        return [key for key in keys if key not in self._done]

    def _check_restored(
        self, backend: ComparedBackend, seed: int, mode: str, unedited: str
    ) -> None:
        if model_digest(self.base) == unedited:
            return
        name = backend.name
        self.records.write({"type": "rollback", "backend": name, "seed": seed, "exact": False})
        raise EditError(
            f"{name}, {mode}, seed {seed}: expected every bit of the model to be what it was "
            "before its edits, found it changed; the run is void: every later figure would be of "
            "another model. Correct the backend, or leave it out, and begin a new run"
        )


def edit_fields(case: Case) -> list[dict[str, Any]]:
    """Return a case's edits as its record has them."""
    return [
        {"id": e.id, "question": e.question, "answer": e.answer, "subject": e.subject}
        for e in case.edits
    ]


def _apply(
    backend: ComparedBackend, group: Sequence[Case]
) -> tuple[frozenset[str], dict[str, Any]]:
    """Apply the edits of a group; return the ids of those applied, and the cost of one edit."""
    edits = [edit for case in group for edit in case.edits]
    try:
        result = backend.apply(edits)
    except EditError as error:  # an edit that diverges fails alone, without ending the run
        return frozenset(), {"reason": str(error)}
    return result.applied, {
        "seconds": round(result.cost.seconds / len(edits), 6),
        "cpu_seconds": round(result.cost.cpu_seconds / len(edits), 6),
        "load": result.cost.load,
        "bytes": round(result.bytes / len(edits)),
        "memory": result.cost.memory,
    }


def _check_distinct(cases: Sequence[Case], seed: int) -> None:
    ids = [case.id for case in cases]
    twice = sorted({each for each in ids if ids.count(each) > 1})
    if not cases or twice:
        raise ErrataError(
            f"seed {seed}: expected cases with distinct ids, found "
            f"{f'{twice[0]!r} twice' if twice else 'none'}; look into the file of cases"
        )
