"""Processor time of a query, one at a time, by the facts in the cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from errata.cache.encoder import encode_query
from errata.cache.records import Fact
from errata.cache.store import EditCache
from errata.encoder import SentenceEncoder
from errata.gates.base import Gate
from errata.gates.evaluation.outside.config import OutsideConfig
from errata.gates.evaluation.outside.deciders import Decider, GateDecider, Step
from errata.gates.evaluation.outside.suites import NONE, Measurement, Suite
from errata.gates.evaluation.report import Row
from errata.intervals import Estimate, estimate

OpenGate = Callable[[str, SentenceEncoder], Gate]
"""A gate by name, made for an encoder."""


def speed_suites(
    facts: Callable[[], Sequence[Fact]],
    queries: Sequence[str],
    open_gate: OpenGate,
    encoder: str | None,
    config: OutsideConfig,
) -> list[Suite]:
    """Return the suite of processor time: of gates by name, search included.

    :param facts: reads the facts that fill the cache.
    :param queries: out of scope of most facts.
    :param open_gate: returns a gate of a name.
    :param encoder: the sentence encoder's path or hub id; None is the packaged one.
    """
    asked = list(queries[: config.timed])
    if not asked:
        return []
    timed = _Timed(facts, asked, open_gate, encoder, config.timed_sizes)
    return [Suite("processor time", timed.prepare)]


@dataclass(frozen=True, slots=True)
class _Timed:
    """The measurement of processor time; the parameters are those of :func:`speed_suites`."""

    facts: Callable[[], Sequence[Fact]]
    queries: Sequence[str]
    open_gate: OpenGate
    encoder: str | None
    sizes: Sequence[int]

    def prepare(self) -> Measurement:
        """Return the measurement."""
        facts = self.facts()
        sizes = [size for size in self.sizes if size <= len(facts)]
        return Measurement(len(sizes) * len(self.queries), partial(self._rows, facts, sizes))

    def _rows(
        self, facts: Sequence[Fact], sizes: Sequence[int], decider: Decider, step: Step
    ) -> list[Row]:
        if not isinstance(decider, GateDecider):
            return []
        rows = []
        for size in sizes:
            own = SentenceEncoder(self.encoder)
            gate = self.open_gate(decider.name, own)
            whole, bare = _times(gate, own, facts[:size], self.queries, decider.candidates)
            step(len(self.queries))
            what = f"processor time a query, {size:,} facts"
            rows += [
                Row(f"{what}: milliseconds", _mean(whole)),
                Row(f"{what}: the encoder alone", _mean(bare)),
                Row(f"{what}: ratio", _mean(np.array(whole) / float(np.mean(bare)))),
            ]
        return rows


def _times(
    gate: Gate,
    encoder: SentenceEncoder,
    facts: Sequence[Fact],
    queries: Sequence[str],
    candidates: int,
) -> tuple[list[float], list[float]]:
    """Return milliseconds of encoding, search and gate, and of encoding alone.

    Every query is decided once before, worded otherwise, so that the encodings of its candidates
    are there, as in a cache that has been in use.
    """
    whole, bare = [], []
    with EditCache(encoder) as cache:
        cache.add(facts)
        view = cache.view()

        def decide(text: str) -> None:
            query = encode_query(encoder, text)
            gate.decide_batch([query], view.search([query], candidates))

        for text in queries:
            decide(_reworded(text))
        for text in queries:
            encoder.forget()
            whole.append(_milliseconds(decide, text))
            encoder.forget()
            bare.append(_milliseconds(lambda one: encoder.encode([one]), text))
    warm = len(queries) // 5
    return whole[warm:], bare[warm:]


def _reworded(text: str) -> str:
    return text.removesuffix("?") if text.endswith("?") else f"{text}?"


def _milliseconds(work: Callable[[str], object], text: str) -> float:
    start = time.process_time()
    work(text)
    return (time.process_time() - start) * 1000


def _mean(values: Sequence[float] | np.ndarray) -> Estimate:
    return estimate({str(at): [float(one)] for at, one in enumerate(values)}, share=False) or NONE
