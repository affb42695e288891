"""Running a comparison: every backend on the same cases, in the same order, in the same batches."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from errata.cache.errors import EditError, ErrataError
from errata.compare.inputs.cases import Case
from errata.compare.run.backend_names import Workshop
from errata.compare.run.backends import Contender
from errata.compare.run.batches import Step, Unit, units
from errata.compare.run.controls import Shuffled
from errata.compare.run.evaluate import Before, Examiner
from errata.compare.run.free_generation import Asker
from errata.compare.run.records import Key, Run
from errata.compare.run.rollback import state_of
from errata.compare.run.settings import Settings

SMALL = 64_000_000
"""Bytes of a model up to which its state is compared after every unit, else once a backend."""

Tick = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Material:
    """What a comparison works on.

    :param cases: of each seed, in the order in which they are edited.
    :param opens: open questions of each seed.
    :param texts: held-out text for perplexity.
    """

    cases: dict[int, tuple[Case, ...]]
    opens: dict[int, tuple[str, ...]]
    texts: tuple[str, ...] = ()


class Runner:
    """Measures what a run does not have yet.

    :param settings: what is compared.
    :param workshop: makes the backends.
    :param material: cases, open questions, text.
    :param run: where the records go.
    """

    def __init__(
        self, settings: Settings, workshop: Workshop, material: Material, run: Run
    ) -> None:
        self.settings, self.workshop, self.material, self.store = settings, workshop, material, run
        base, tokenizer = workshop.model.base, workshop.model.tokenizer
        self.base = base
        self.examiner = Examiner(
            base, tokenizer, Asker(base, tokenizer, settings.new_tokens, settings.batch)
        )
        for seed, cases in material.cases.items():
            _check_distinct(cases, seed)
        self._done = run.done()
        self._before: dict[str, Before] = {}
        self._perplexity = 0.0
        small = sum(p.numel() * p.element_size() for p in base.parameters()) <= SMALL
        self._every_unit = small

    def left(self) -> int:
        """Return how many cases are still to be judged."""
        return sum(
            len(self._missing(name, seed, unit))
            for seed, cases in self.material.cases.items()
            for name in self.settings.backends
            for unit in self._units(cases)
        )

    def run(self, tick: Tick = lambda backend: None) -> None:
        """Measure everything that is not there yet.

        :param tick: told of each case judged, by its backend's name.
        :raises EditError: a backend did not put the model back bit for bit; the run is void.
        """
        if self.material.texts and self.left():
            self._perplexity = self.examiner.forcing.perplexity(self.material.texts)
        for seed, cases in self.material.cases.items():
            self._before = {}
            for name in self.settings.backends:
                self._backend(name, seed, cases, tick)

    def _backend(self, name: str, seed: int, cases: Sequence[Case], tick: Tick) -> None:
        todo = [unit for unit in self._units(cases) if self._missing(name, seed, unit)]
        if not todo:
            return
        contender = self.workshop.contender(name, self.settings.options.get(name, {}))
        if isinstance(contender, Shuffled):
            contender.prepare(cases, seed)
        untouched = state_of(self.base)
        for unit in todo:
            self._unit(contender, seed, unit, tick)
            if self._every_unit:
                self._check(contender, seed, unit.mode, untouched)
        self._check(contender, seed, todo[-1].mode, untouched)
        self.store.write({"type": "rollback", "backend": name, "seed": seed, "exact": True})
        # Only now: some editors compute what they need for a model with their first edit.
        told = {"type": "training", "backend": name, "seed": seed, "seconds": contender.trained}
        self.store.write(told)

    def _unit(self, contender: Contender, seed: int, unit: Unit, tick: Tick) -> None:
        held: set[str] = set()
        wanted = {key.case for key in self._missing(contender.name, seed, unit)}
        for step in unit.steps:  # before anything is edited
            for case in step.judged:
                if case.id in wanted:
                    self._before_of(case, seed)
        costs: dict[str, dict[str, Any]] = {}
        try:
            for step in unit.steps:
                for group in step.made:
                    made, cost = _made(contender, group)
                    held |= made
                    costs |= {case.id: cost for case in group}
                self._judge(contender, seed, unit, step, held, costs, tick)
        finally:
            contender.clear()

    def _judge(
        self, contender: Contender, seed: int, unit: Unit, step: Step, held: set[str],
        costs: dict[str, dict[str, Any]], tick: Tick,
    ) -> None:  # fmt: skip
        perplexity = None
        for position, case in enumerate(step.judged):
            key = Key(contender.name, unit.mode, step.size, seed, case.id)
            if key in self._done:
                continue
            refused = [edit.id for edit in case.edits if edit.id not in held]
            record = {
                "type": "case", "backend": key.backend, "mode": key.mode, "size": key.size,
                "seed": seed, "pipeline": contender.pipeline, "case": case.id,
                "position": position, "group": case.group,
                "edits": [
                    {"id": e.id, "question": e.question, "answer": e.answer, "subject": e.subject}
                    for e in case.edits
                ],
                "unsupported": refused,
            }  # fmt: skip
            if refused:
                record["reason"] = costs[case.id].get("reason", "")
            else:
                perplexity = perplexity or self._perplexities(contender)
                record |= costs[case.id]
                record |= self.examiner.after(case, self._before_of(case, seed), contender)
                record["perplexity"] = perplexity
            self.store.write(record)
            self._done.add(key)
            tick(contender.name)

    def _before_of(self, case: Case, seed: int) -> Before:
        if case.id not in self._before:
            cases = self.material.cases[seed]
            position = cases.index(case)
            opens = self.material.opens.get(seed, ())[position :: len(cases)]
            extras = position < self.settings.extras
            self._before[case.id] = self.examiner.before(case, opens, extras=extras)
        return self._before[case.id]

    def _perplexities(self, contender: Contender) -> list[float]:
        """Return the perplexity of the held-out text, unedited and now; empty without text."""
        if not self.material.texts:
            return []
        if contender.pipeline:  # its logits are the unedited model's
            return [self._perplexity, self._perplexity]
        return [self._perplexity, self.examiner.forcing.perplexity(self.material.texts)]

    def _units(self, cases: Sequence[Case]) -> list[Unit]:
        return [unit for m in self.settings.modes for unit in units(m, self.settings.sizes, cases)]

    def _missing(self, name: str, seed: int, unit: Unit) -> list[Key]:
        keys = [
            Key(name, unit.mode, step.size, seed, case.id)
            for step in unit.steps
            for case in step.judged
        ]
        return [key for key in keys if key not in self._done]

    def _check(self, contender: Contender, seed: int, mode: str, untouched: str) -> None:
        if state_of(self.base) == untouched:
            return
        name = contender.name
        self.store.write({"type": "rollback", "backend": name, "seed": seed, "exact": False})
        raise EditError(
            f"{name}, {mode}, seed {seed}: expected every bit of the model to be what it was "
            "before its edits, found it changed; the run is void: every later figure would be of "
            "another model. Mend the backend, or leave it out, and begin a new run"
        )


def deal_opens(
    questions: Sequence[str], seeds: Sequence[int], n: int | None
) -> dict[int, tuple[str, ...]]:
    """Return each seed's share of the open questions; none is asked under two seeds.

    :param questions: all of them.
    :param seeds: of the comparison.
    :param n: how many are used in all; None uses all.
    """
    drawn = list(dict.fromkeys(questions))
    random.Random("open questions").shuffle(drawn)
    drawn = drawn[:n]
    return {seed: tuple(drawn[i :: len(seeds)]) for i, seed in enumerate(seeds)}


def _made(contender: Contender, group: Sequence[Case]) -> tuple[frozenset[str], dict[str, Any]]:
    """Make the edits of a group; return the ids of those made, and what an edit cost."""
    edits = [edit for case in group for edit in case.edits]
    try:
        made = contender.make(edits)
    except EditError as error:  # one that diverges fails alone, not the whole comparison
        return frozenset(), {"reason": str(error)}
    return made.held, {
        "seconds": round(made.seconds / len(edits), 6),
        "bytes": round(made.bytes / len(edits)),
        "memory": made.memory,
    }


def _check_distinct(cases: Sequence[Case], seed: int) -> None:
    ids = [case.id for case in cases]
    twice = sorted({each for each in ids if ids.count(each) > 1})
    if not cases or twice:
        raise ErrataError(
            f"seed {seed}: expected cases, each with an id of its own, found "
            f"{f'{twice[0]!r} twice' if twice else 'none'}; look into the file of cases"
        )
