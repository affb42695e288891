"""How often the right patch is among the candidates, and what finding them costs.

The patches are the questions of labelled pairs that people wrote, the queries the same questions
asked in another way::

    python benchmarks/candidates.py question_pairs.jsonl.gz --edits 10000 --queries 500
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from errata.cache.encoder import encode_queries
from errata.cache.records import Fact
from errata.cache.store import EditCache
from errata.cache.view import SearchConfig
from errata.encoder import SentenceEncoder
from errata.gates.data.jsonl import json_lines, text_at
from errata.intervals import share


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path, help="JSON lines a, b, same; may be gzipped")
    parser.add_argument("--edits", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--cache", type=Path, help="folder to keep the encodings in")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    facts, asked = _draw(options.pairs, options.edits, options.queries)
    encoder = SentenceEncoder()
    queries = encode_queries(encoder, [text for text, _ in asked])
    found: dict[str, object] = {"edits": len(facts), "queries": len(asked)}
    with TemporaryDirectory() as other:
        folder = options.cache or Path(other)  # either way, texts are encoded once
        for name, search in (
            ("vectors", SearchConfig(by_words=0.0)),
            ("vectors and words", SearchConfig()),
        ):
            with EditCache(encoder, folder, search=search) as cache:
                cache.add(facts)
                view = cache.view()
            view.search(queries[:1], options.candidates)
            began = time.process_time()
            hits = view.search(queries, options.candidates)
            taken = 1000 * (time.process_time() - began) / len(queries)
            ids = [{hit.edit.id for hit in some} for some in hits]
            estimate = share([right in some for (_, right), some in zip(asked, ids, strict=True)])
            found[name] = {
                "recall": estimate.mean, "interval": [estimate.low, estimate.high],
                "candidates": sum(map(len, hits)) / len(hits), "CPU ms a query": taken,
            }  # fmt: skip
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    for key, value in found.items():
        sys.stdout.write(f"{key}: {value}\n")


def _draw(path: Path, edits: int, queries: int) -> tuple[list[Fact], list[tuple[str, str]]]:
    """Return patches, and queries with the id of their patch."""
    pairs = [(text_at(w, row, "a"), text_at(w, row, "b"), row) for w, row in json_lines(path)]
    same = [(a, b) for a, b, row in pairs if row.get("same")][:queries]
    questions = dict.fromkeys([a for a, _ in same] + [a for a, _, _ in pairs])
    facts = [Fact(text, "x", id=f"e{at}") for at, text in enumerate([*questions][:edits])]
    ids = {fact.question: fact.id for fact in facts}
    return facts, [(b, ids[a]) for a, b in same]


if __name__ == "__main__":
    main()
