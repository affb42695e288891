"""What a gate does with a cache of facts in force: paraphrases, neighbours, open questions.

Test subjects and held-out phrasings only; rates are per query, over the sixteen nearest edits, with
95% Wilson intervals::

    python benchmarks/gate_first.py [--gate default] [--open-questions FILE] [--facts 200] [--json]

The open questions are split by hash (SHA-256 of the question modulo 10): 0 to 4 are the test
half that is used here.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence

from errata.encoder import SentenceEncoder
from errata.gates import load_gate
from errata.gates.base import Gate
from errata.gates.data import open_split, read_open_questions
from errata.gates.memory import EncodingMemory
from errata.gates.questions import QuestionBook
from errata.gates.threshold import CosineGate
from errata.gates.trial import Outcome, build_trial, run_trial
from errata.statistics import Rate, rate

BY_DESIGN = {
    "paraphrase": "at least 0.93",
    "other relation": "at most 0.01",
    "other subject": "at most 0.01",
    "other subject, alike": "at most 0.01",
    "open question": "at most 0.003",
}


def rows_of(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, str, Rate]]:
    """Yield label, kind and the rate of hits for each kind of query; then the sums."""
    kinds: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for one in outcomes:
        label = one.query.label
        kinds[label, one.query.kind].append(one)
        if label == "same" or one.query.kind == "open question":
            continue
        kinds[label, "all of these"].append(one)
    order = {"same": 0, "follows": 1, "none": 2}
    for (label, kind), mine in sorted(kinds.items(), key=lambda pair: order[pair[0][0]]):
        yield label, kind, rate([one.hit for one in mine])
    told = [one for one in outcomes if one.hit and one.query.label != "none"]
    found = [one.best_id == one.query.edit_id for one in told]
    yield "", "of hits, the right edit", rate(found)
    right = [one for one, is_right in zip(told, found, strict=True) if is_right]
    knows = [one.follows == (one.query.label == "follows") for one in right]
    yield "", "same told from follows", rate(knows)


def report(name: str, outcomes: Sequence[Outcome], facts: int, as_json: bool) -> None:
    """Print one gate's table."""
    rows = list(rows_of(outcomes))
    if as_json:
        listed = [
            {
                "label": label,
                "kind": kind,
                "hits": found.hits,
                "n": found.n,
                "rate": found.share,
                "interval": (found.low, found.high),
            }
            for label, kind, found in rows
        ]
        print(json.dumps({"gate": name, "facts": facts, "rows": listed}, indent=2))
        return
    print(f"\n{name}, {facts} facts in the cache")
    for label, kind, found in rows:
        print(
            f"{label:8} {kind:24} {found.share:7.4f}  [{found.low:.4f}, {found.high:.4f}]  "
            f"n={found.n:<6} {BY_DESIGN.get(kind, '')}"
        )


def main() -> None:
    """Measure the gates named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gate", nargs="+", default=["default"], help="name, folder, or cosine")
    parser.add_argument("--open-questions", help="JSON lines with a key question")
    parser.add_argument("--facts", type=int, default=200)
    parser.add_argument("--open-limit", type=int, default=10**6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="relations; the others are left out")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    encoder = EncodingMemory(SentenceEncoder(), None)
    questions = read_open_questions(given.open_questions) if given.open_questions else []
    questions = [text for text in questions if open_split(text) == "test"][: given.open_limit]
    book = QuestionBook("test", held_out=True)
    trial = build_trial(
        book, questions, size=given.facts, seed=given.seed, only=frozenset(given.only)
    )
    for name in given.gate:
        gate: Gate = CosineGate(encoder, 0.9) if name == "cosine" else load_gate(name, encoder)
        report(name, run_trial(gate, encoder, trial), len(trial.edits), given.json)


if __name__ == "__main__":
    main()
