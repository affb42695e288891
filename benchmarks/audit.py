"""What an audit log costs a query: milliseconds of the calling thread, without a model.

    python benchmarks/audit.py [--n 10000] [--json FILE]

Decisions with 16 candidates each, of a cache of 100 facts, are recorded one by one between pieces
of work; then the same work is done without a log. ``record`` is the time of one
``AuditWriter.record``; ``nothing`` is the time of a call that does nothing, taken next to it: what
the machine itself adds. ``work`` is the time of a piece of work in pure Python, which shares the
interpreter with the writer: where it waits for the writer, it takes longer. ``preempted`` counts
the times that the system took the processor away from the thread, which no log does;
``undisturbed`` are the others.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from errata.audit.config import AuditConfig
from errata.audit.records import AuditedCall
from errata.audit.writer import AuditWriter
from errata.cache.records import Fact, Vector
from errata.cache.rollout import Conversation
from errata.cache.store import EditCache
from errata.gates.base import Candidate, Decision
from errata.output import Step, Trace
from errata.pipelines.base import RoutedBatch

FACTS = 100
CANDIDATES = 16
WORK = 20_000
"""Turns of the loop that stands for a query's own work."""


class FixedEncoder:
    """One vector for every text, that costs nothing."""

    dimension = 8
    fingerprint = "fixed"

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, 8]."""
        rows = np.zeros((len(texts), 8), dtype=np.float32)
        rows[:, 0] = 1.0
        return rows

    def unknown_share(self, texts: Sequence[str]) -> np.ndarray:
        """Return zeros."""
        return np.zeros(len(texts))

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text."""
        return (text,)


def calls() -> list[AuditedCall]:
    """Return a call for each fact: one half hits, the other comes near."""
    facts = [Fact(f"What is the code of site {n}?", f"S-{n}") for n in range(FACTS)]
    cache = EditCache(FixedEncoder())
    cache.add(facts)
    view, made = cache.view(), []
    for at, fact in enumerate(facts):
        near = [facts[(at + n) % FACTS] for n in range(CANDIDATES)]
        candidates = tuple(
            Candidate(one.id, "fact", one.scope, 0.9 - n / 20, 0.6, "paraphrase", None)
            for n, one in enumerate(near)
        )
        query = f"Say the code of site {at}, please."
        decision = Decision(query, candidates)
        if at % 2:
            decision = replace(decision, fired=(fact,), route="verbatim")
        batch = RoutedBatch(
            (query,), (decision,), (None,), ((),), (), view, (query,), (Conversation.of(query),)
        )
        steps = (Step("gate", 0.01, ""), Step("reasoner", 0.01, ""))
        made.append(AuditedCall(time.time(), Trace((decision,), (), steps), batch, False))
    return made


def timed(function: Callable[[], object]) -> tuple[float, bool]:
    """Return the milliseconds of a call, and whether the thread was preempted meanwhile."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
    start = time.perf_counter()
    function()
    took = (time.perf_counter() - start) * 1000
    return took, resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw > before


def work() -> None:
    """Do what keeps the interpreter busy for about a millisecond."""
    total = 0
    for number in range(WORK):
        total += number


def measure(n: int, record: Callable[[int], object] | None) -> dict[str, Any]:
    """Return the times of n pieces of work, each followed by a record and a call of nothing.

    :param n: how many.
    :param record: records the call of a number; None: no log is kept.
    """
    works, records, nothings = [], [], []
    for at in range(n):
        works.append(timed(work))
        if record is not None:
            records.append(timed(lambda at=at: record(at)))  # type: ignore[misc]
        nothings.append(timed(lambda: None))
    found = {"work": parts(works), "nothing": parts(nothings)}
    return found if record is None else {**found, "record": parts(records)}


def parts(times: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Return a summary of times, and one of those during which nothing was preempted."""
    free = [took for took, preempted in times if not preempted]
    return {
        **summary([took for took, _ in times]),
        "preempted": len(times) - len(free),
        "undisturbed": summary(free),
    }


def summary(times: Sequence[float]) -> dict[str, float]:
    """Return n, median, 99th percentile, 99.9th and maximum in milliseconds, and those over one."""
    ordered = sorted(times)
    at = {"median": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
    places = {name: min(len(ordered) - 1, int(share * len(ordered))) for name, share in at.items()}
    found = {name: round(ordered[i], 4) for name, i in places.items()}
    return {"n": len(ordered), **found, "over_1_ms": sum(one > 1 for one in ordered)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    made = calls()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.sqlite3"
        writer = AuditWriter(AuditConfig(path), "gate", "model")
        logged = measure(options.n, lambda at: writer.record(made[at % FACTS]))
        writer.close()
        body: dict[str, Any] = {
            "n": options.n,
            "load": [round(one, 1) for one in os.getloadavg()],
            "with a log": logged,
            "written": writer.written,
            "dropped": writer.dropped,
            "log_bytes": path.stat().st_size,
            "without a log": measure(options.n, None),
        }
    print(json.dumps(body, indent=1))
    if options.json:
        options.json.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
