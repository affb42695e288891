"""Measure in which band of first-stage scores the cross-encoder changes decisions.

    python benchmarks/rerank.py --data question_pairs.jsonl.gz --split tune --n 300 --json a.json
    python benchmarks/rerank.py --page a.json b.json --out results/rerank.md

Every edit of the cases is in force, every question of theirs is asked. A gate's decisions with its
cross-encoder on all pairs from a low first-stage score up, among the best eight of a query, are
compared with those under narrower settings: how many pairs the cross-encoder scores, and how
many decisions differ (what fires, or the route). It scores each pair once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from errata.cache.encoder import encode_queries
from errata.cache.store import EditCache
from errata.compare.inputs.data import load_data
from errata.encoder import SentenceEncoder
from errata.gates.artifact import GateArtifact
from errata.gates.base import Decision
from errata.gates.classifier import ScopeClassifier
from errata.gates.load import gate_folder
from errata.intervals import wilson

LOWEST = 0.005
"""The widest setting: this, and the best of :data:`TOP_K`."""
THRESHOLDS = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)
TOP_K = (8, 4, 3, 2)
BATCH = 32


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="cases, as errata compare reads them")
    parser.add_argument("--split", help="only cases of this split: tune or test")
    parser.add_argument("--n", type=int, help="cases")
    parser.add_argument("--gate", default="clear")
    parser.add_argument("--json", type=Path, help="write the measurement here")
    parser.add_argument("--page", type=Path, nargs="+", help="measurements to make a page of")
    parser.add_argument("--out", type=Path, help="the page")
    chosen = parser.parse_args(arguments)
    if chosen.page:
        text = page([json.loads(path.read_text("utf-8")) for path in chosen.page])
        if chosen.out:
            chosen.out.write_text(text, "utf-8")
        print(text)
        return
    if chosen.data is None:
        parser.error("expected --data FILE, or --page FILE ...")
    cases = load_data(chosen.data, (0,), n=chosen.n, split=chosen.split).cases[0]
    edits = {edit.id: edit for case in cases for edit in case.edits}
    queries = list(dict.fromkeys(probe.prompt for case in cases for probe in case.probes))
    found = {
        "gate": chosen.gate, "data": chosen.data.name, "split": chosen.split,
        "edits": len(edits), "queries": len(queries),
        "settings": measure(chosen.gate, list(edits.values()), queries),
    }  # fmt: skip
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(json.dumps(found, indent=1))


def measure(name: str, edits: Sequence[Any], queries: Sequence[str]) -> list[dict[str, Any]]:
    """Return what each setting scores and changes, the gate's own setting first."""
    encoder, artifact = SentenceEncoder(), GateArtifact.load(gate_folder(name))
    if artifact.second is None:
        raise SystemExit(f"expected a gate with a cross-encoder, found {name} without one")
    gate = RememberingClassifier(encoder, artifact)
    with EditCache(encoder) as cache:
        cache.add(edits)
        encoded = encode_queries(encoder, queries)
        batches = [encoded[at : at + BATCH] for at in range(0, len(encoded), BATCH)]
        hits = [cache.view().search(batch) for batch in batches]
    settings = [(low, k) for k in TOP_K for low in (LOWEST, *THRESHOLDS)]
    decided: list[list[Decision]] = []
    rows = []
    for low, top_k in settings:
        gate.config = replace(gate.config, rerank_top_k=top_k)
        gate.artifact = replace(artifact, second=replace(artifact.second, rerank_threshold=low))
        gate.scored = 0
        now = []
        for place, (batch, found) in enumerate(zip(batches, hits, strict=True)):
            now += gate.decide_batch(batch, found)
            if not decided and sys.stderr.isatty():
                print(f"{place + 1} of {len(batches)} batches", file=sys.stderr)
        decided.append(now)
        rows.append({"rerank_threshold": low, "rerank_top_k": top_k,
                     "pairs a query": round(gate.scored / len(queries), 3),
                     **differences(decided[0], now)})  # fmt: skip
    return rows


def page(found: Sequence[dict[str, Any]]) -> str:
    """Return measurements as Markdown."""
    parts = [
        "# Where the cross-encoder changes a decision",
        "Made by `python benchmarks/rerank.py`. Every edit of the cases is in force, every "
        "question of theirs is asked. First row: the gate as it reads most pairs. *Differ*: "
        "decisions that are others than there (what fires, or the route), with the 95% Wilson "
        "interval of their share.",
    ]
    for one in found:
        n = one["queries"]
        split = f", {one['split']} split" if one["split"] else ""
        parts.append(f"## {one['gate']} on {one['data']}{split}: {one['edits']} edits, {n} queries")
        rows = ["| rerank from | best of a query | pairs a query | differ | lost | gained |",
                "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
        for s in one["settings"]:
            low, high = wilson(s["differ"] / n, n)
            rows.append(
                f"| {s['rerank_threshold']:g} | {s['rerank_top_k']} | {s['pairs a query']:.2f} | "
                f"{s['differ']} [{100 * low:.1f}, {100 * high:.1f}]% | {s['lost']} | "
                f"{s['gained']} |"
            )
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def differences(before: Sequence[Decision], now: Sequence[Decision]) -> dict[str, Any]:
    """Return how many decisions differ: no longer hits, new hits, others."""
    pairs = [
        (one, two)
        for one, two in zip(before, now, strict=True)
        if (one.fired, one.route) != (two.fired, two.route)
    ]
    return {
        "differ": len(pairs),
        "lost": sum(one.hit and not two.hit for one, two in pairs),
        "gained": sum(two.hit and not one.hit for one, two in pairs),
        "queries": sorted(one.query for one, _ in pairs)[:20],
    }


class RememberingClassifier(ScopeClassifier):
    """A gate that remembers what its cross-encoder gave, and counts what that is asked."""

    scored = 0

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._logits: dict[Any, Any] = {}
        self._reader, self._cross_encoder = self._cross_encoder, self  # type: ignore[assignment]

    def score_edits(self, sides: Any, queries: Sequence[str]) -> Any:
        """Return the logits of edits and queries; each pair is scored once."""
        self.scored += len(sides)
        keys = [(*side, query) for side, query in zip(sides, queries, strict=True)]
        new = [at for at, key in enumerate(keys) if key not in self._logits]
        if new and self._reader is not None:
            found = self._reader.score_edits([sides[i] for i in new], [queries[i] for i in new])
            self._logits |= dict(zip((keys[i] for i in new), found, strict=True))
        return np.array([self._logits[key] for key in keys]).reshape(-1, 3)


if __name__ == "__main__":
    main()
