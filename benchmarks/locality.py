"""Locality of the shipped patches: questions without a patch, compared token for token with atlas.

    python benchmarks/locality.py [--n 1000] [--seed 0] [--json FILE]

Half of the questions are hard neighbours of patches: the same subject with another relation, or
the same relation with another subject. Prints every question whose answer differs.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.progress import track

from errata import EditableModel
from errata.cache.filters.text_filter import Filter
from errata.cache.records import Fact, RegexPatch
from errata.facts import FactRow, fill, load_facts, load_relations
from errata.intervals import rate

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Case:
    """A question, its kind of neighbour, and the split of its subject."""

    question: str
    kind: str
    split: str


def cases(model: EditableModel, n: int, seed: int) -> list[Case]:
    """Return n questions that no patch covers, half of them hard neighbours."""
    rng = random.Random(seed)
    relations = load_relations()
    patched = _patched(model)
    subjects = {fact.subject for fact in patched}
    patched_relations = {fact.relation for fact in patched}
    covered = Filter("query", [e for e in model.edits if isinstance(e, RegexPatch)])
    unpatched = [
        fact
        for fact in load_facts()
        if not fact.marked and fact not in patched and not covered.spans(fact.believed)
    ]
    pools = {
        "same subject, other relation": [f for f in unpatched if f.subject in subjects],
        "same relation, other subject": [f for f in unpatched if f.relation in patched_relations],
        "any other fact": [
            f
            for f in unpatched
            if f.subject not in subjects and f.relation not in patched_relations
        ],
    }
    drawn: list[Case] = []
    for kind, share in zip(pools, (0.25, 0.25, 0.5), strict=True):
        seen: set[str] = set()
        while len(seen) < round(n * share):
            fact = rng.choice(pools[kind])
            relation = relations[fact.relation]
            template = rng.choice(relation.questions + relation.questions_held_out)
            question = fill(template, fact.subject)
            if question not in seen and not covered.spans(question):
                seen.add(question)
                drawn.append(Case(question, kind, fact.split))
    return drawn


def _patched(model: EditableModel) -> list[FactRow]:
    """Return the facts of the table that a patch edits."""
    questions = [edit.question for edit in model.edits if isinstance(edit, Fact)]
    scopes = " ".join(questions)
    return [
        fact
        for fact in load_facts()
        if fact.marked or (fact.kind == "resident" and fact.subject in scopes)
    ]


def answers(model: EditableModel, case: Case) -> tuple[bool, bool, str, str]:
    """Return whether the tokens are equal, whether an edit fired, and the texts of both."""
    ids = model.tokenizer(case.question, return_tensors="pt")
    alone = model.base.generate(**ids, max_new_tokens=24, do_sample=False)
    patched = model.generate(**ids, max_new_tokens=24, do_sample=False)
    start = ids["input_ids"].shape[1]
    texts = [
        model.tokenizer.decode(row[0, start:], skip_special_tokens=True) for row in (alone, patched)
    ]
    equal = alone.tolist() == patched.tolist()
    return equal, model.last_trace.decisions[0].hit, *texts


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patches", type=Path, default=ROOT / "patches")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    model = EditableModel.from_pretrained("atlas", patches=options.patches)
    rows = []
    for case in track(cases(model, options.n, options.seed), "asking"):
        equal, hit, alone, patched = answers(model, case)
        rows.append(
            {**asdict(case), "equal": equal, "hit": hit, "alone": alone, "patched": patched}
        )
    report = {"n": len(rows), "seed": options.seed, "kinds": {}, "different": []}
    for kind in ("all", *dict.fromkeys(row["kind"] for row in rows)):
        found = rate([row["equal"] for row in rows if kind in ("all", row["kind"])])
        report["kinds"][kind] = asdict(found)
        print(f"{kind:30s} token-equal {found.hits}/{found.n} = {found.share:.2%}"
              f" (95% {found.low:.2%} to {found.high:.2%})")  # fmt: skip
    report["different"] = [row for row in rows if not row["equal"]]
    for row in report["different"]:
        print(f"  {row['kind']}: {row['question']}  alone:{row['alone']}  patched:{row['patched']}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
