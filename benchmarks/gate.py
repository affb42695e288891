"""Milliseconds per query, split by stage, at 1,000, 10,000 and 100,000 edits.

    python benchmarks/gate.py [--gate default] [--sizes 1000 10000 100000] [--queries 100]
        [--clock wall] [--json FILE]

One query at a time, each new to the gate; the encoder alone is timed on the same queries in the
same run. The edits are about invented subjects. The embeddings of the first 2,000 are real; the
others are those with noise, as the encoding of edits is not measured. The cross-encoder's time is
that of the gate with it minus that of the gate without it. On a shared machine, `--clock cpu`
counts the time of this process only.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from errata.cache.encoder import encode_query
from errata.cache.records import Fact, Vector
from errata.cache.store import EditCache
from errata.encoder import SentenceEncoder
from errata.gates.base import Gate
from errata.gates.data.distractors import property_questions
from errata.gates.data.questions import QuestionBook
from errata.gates.evaluation.registry import GateWithParts, measured_gate
from errata.gates.evaluation.trials import build_trial
from errata.pipelines.cache import CANDIDATES

REAL = 2_000
CLOCK = time.perf_counter
_SYLLABLES = "ba ko ri mun tel sa vor gen li du pra ost wen hal mi cor zan fe lup thi".split()


class PrefilledEncoder:
    """An encoder that holds the embeddings of the edits, and times all others.

    :param encoder: of all other texts.
    """

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.encoder = encoder
        self.known: dict[str, Vector] = {}
        self.dimension = encoder.dimension
        self.fingerprint = encoder.fingerprint
        self.spent = 0.0

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, d], unit rows."""
        missing = [text for text in texts if text not in self.known]
        took, new = timed(lambda: self.encoder.encode(missing) if missing else ())
        self.spent += took
        found = dict(zip(missing, new, strict=True))
        rows = [self.known[text] if text in self.known else found[text] for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.dimension), np.float32)

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the share of unknown tokens of each text, [n]."""
        return self.encoder.unknown_share(texts)

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text, or its windows."""
        return self.encoder.windows(text)


def edits_of(count: int, rng: random.Random) -> list[Fact]:
    """Return edits about invented subjects, no two alike."""
    questions = sorted(property_questions().values())
    found: dict[str, Fact] = {}
    while len(found) < count:
        name = "".join(rng.choices(_SYLLABLES, k=rng.choice((2, 3, 4)))).capitalize()
        question = rng.choice(questions).format(s=name)
        found.setdefault(question, Fact(question, "known", subject=name))
    return list(found.values())


def encode_edits(table: PrefilledEncoder, edits: Sequence[Fact]) -> None:
    """Add the edits' embeddings: real ones first, then those with noise."""
    rng = np.random.default_rng(0)
    real = table.encoder.encode([edit.scope for edit in edits[:REAL]])
    for at, edit in enumerate(edits):
        row = real[at % len(real)]
        if at >= len(real):
            row = row + rng.normal(0, 0.3 / np.sqrt(len(row)), len(row)).astype(np.float32)
        table.known[edit.scope] = row / np.linalg.norm(row)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return milliseconds and the result of the work."""
    start = CLOCK()
    found = work()
    return (CLOCK() - start) * 1000, found


def measure(
    size: int, queries: Sequence[str], name: str, encoders: tuple[SentenceEncoder, SentenceEncoder]
) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each stage for a cache of that size."""
    alone, table = encoders[0], PrefilledEncoder(encoders[1])
    trial = build_trial(QuestionBook("test", held_out=True), (), size=min(200, size))
    edits = [*trial.edits, *edits_of(size - len(trial.edits), random.Random(size))]
    encode_edits(table, edits)
    gate = measured_gate(name, table)
    less = (
        gate.without("cross") if isinstance(gate, GateWithParts) and "cross" in gate.parts else None
    )
    laps: list[dict[str, float]] = []
    with EditCache(table) as cache:
        cache.add(edits)
        view = cache.view()
        for text in track(queries, description=f"{size} edits"):
            lap = {"bare encoder": timed(lambda text=text: alone.encode([text]))[0]}
            lap["encode"], query = timed(lambda text=text: encode_query(table, text))
            lap["search"], hits = timed(lambda query=query: view.search([query], CANDIDATES)[0])
            whole, encoding = deciding(gate, table, query, hits)
            lap["bi-encoder, encoding"] = encoding
            lap["bi-encoder, the rest"] = whole - encoding
            if less is not None:
                without, again = deciding(less, table, query, hits)
                lap["bi-encoder, the rest"] = without - again
                lap["cross-encoder"] = whole - encoding - (without - again)
            lap["all"] = lap["encode"] + lap["search"] + whole
            laps.append(lap)
    # the first queries load libraries and encode the edits' texts once
    laps = laps[len(laps) // 5 :]
    return {stage: summary([lap[stage] for lap in laps]) for stage in laps[0]}


def deciding(gate: Gate, table: PrefilledEncoder, query: Any, hits: Any) -> tuple[float, float]:
    """Return the milliseconds of a decision, and of its encoding."""
    before = table.spent
    whole, _ = timed(lambda: gate.decide_batch([query], [hits]))
    return whole, table.spent - before


def summary(found: Sequence[float]) -> dict[str, float]:
    """Return mean, median and 95th percentile in milliseconds."""
    return {
        "mean": round(float(np.mean(found)), 3),
        "median": round(float(np.median(found)), 3),
        "p95": round(float(np.quantile(found, 0.95)), 3),
        "n": len(found),
    }


def main() -> None:
    """Measure, print and write."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gate", default="default", help="name, folder, or cosine")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    global CLOCK
    CLOCK = time.process_time if given.clock == "cpu" else time.perf_counter
    rng = random.Random(0)
    trial = build_trial(QuestionBook("test", held_out=True), (), size=200)
    queries = [query.text for query in rng.sample(trial.queries, given.queries)]
    found = {}
    for size in given.sizes:
        encoders = SentenceEncoder(), SentenceEncoder()  # they cache: a new pair for each size
        for encoder in encoders:
            encoder.encode(["warm-up"])
        found[str(size)] = measure(size, queries, given.gate, encoders)
    for size, stages in found.items():
        print(f"{size} edits, milliseconds per query")
        for stage, one in stages.items():
            print(f"  {stage:20} mean {one['mean']:8.2f}  median {one['median']:8.2f}  "
                  f"p95 {one['p95']:8.2f}  n={one['n']}")  # fmt: skip
    if given.json is not None:
        report = {
            "gate": given.gate,
            "machine": f"{platform.machine()}, torch threads {torch.get_num_threads()}",
            "clock": given.clock,
            "candidates": CANDIDATES,
            "milliseconds": found,
        }
        given.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
