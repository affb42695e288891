"""Editors of weights on atlas: counterfactual edits, by likelihood and by free generation.

    python benchmarks/weight_editors.py [--backends ft ft-l lora] [--mode single batch sequence]
        [--n 100] [--seeds 0 1 2] [--split test] [--options '{"rate": 0.002}'] [--json FILE]

A case is a fact of the table about a subject of the split, with another object of the same
relation as the new answer. It is edited by one question. Then, on the edited base model alone:

- ES, PS, NS as CounterFact defines them (Meng et al. 2022), by the mean negative log-likelihood
  a token of an object after the prompt: on the edit's own question and on its held-out phrasings
  the new object is likelier than the old one (ES, PS); on the same question about other subjects,
  those who share the old object first, their own object is likelier than the new one (NS). S is
  their harmonic mean.
- accuracy, generality: greedy free generation says exactly the new object, on the question and on
  the held-out phrasings. Locality: it says what it said before the edit, on the same question
  about other subjects, and on other questions about the subject.

Rates are over prompts, with n and 95% Wilson intervals, which take prompts as independent. In
``batch`` all edits of a seed are planned in one go, in ``sequence`` one by one, each on the weights
that the one before left; both are measured after the last. Settings were chosen with
``--split tune``; test subjects are for measuring only.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from errata.atlas.measure import generate
from errata.backends.base import Editor
from errata.backends.changes import applied
from errata.backends.examples import Example, padded
from errata.backends.prompts import answer_ids
from errata.base import load_base
from errata.cache.records import Fact
from errata.facts import FactRow, Relation, fill, load_facts, load_relations
from errata.registry import make
from errata.statistics import Rate, rate

NEIGHBOURS, OTHERS, FEWEST_OBJECTS = 10, 3, 4
MEASURES = {
    "ES": "new object likelier on the question",
    "PS": "new object likelier on held-out phrasings",
    "NS": "own object likelier for other subjects",
    "accuracy": "says the new object",
    "generality": "says it on held-out phrasings",
    "locality": "other subjects: says what it said",
    "same subject": "other relations: says what it said",
}


@dataclass(frozen=True)
class Case:
    """One counterfactual edit and the questions it is measured by."""

    fact: Fact
    old: str
    paraphrases: tuple[str, ...]
    neighbours: tuple[tuple[str, str], ...]
    others: tuple[str, ...]

    @property
    def prompts(self) -> list[str]:
        """All questions: its own, paraphrases, other subjects, other relations."""
        neighbours = [question for question, _ in self.neighbours]
        return [self.fact.question, *self.paraphrases, *neighbours, *self.others]


def draw_cases(split: str, n: int, seed: int) -> list[Case]:
    """Return n cases about subjects of a split."""
    rng = random.Random(f"weight editors {split} {seed}")
    by_relation: dict[str, list[FactRow]] = defaultdict(list)
    by_subject: dict[str, list[FactRow]] = defaultdict(list)
    for row in load_facts():
        by_relation[row.relation].append(row)
        by_subject[row.subject].append(row)
    rich = {
        name
        for name, rows in by_relation.items()
        if len({row.believed for row in rows}) >= FEWEST_OBJECTS and name.isascii()
    }
    pool = [
        row
        for row in load_facts()
        if row.split == split and row.relation in rich and row.kind != "model"
    ]
    drawn = rng.sample(pool, min(n, len(pool)))
    return [_case(row, by_relation[row.relation], by_subject[row.subject], rng) for row in drawn]


def _case(row: FactRow, relatives: list[FactRow], own: list[FactRow], rng: random.Random) -> Case:
    relation = load_relations()[row.relation]
    taken = {each.believed for each in own if each.relation == row.relation} | {row.object}
    target = rng.choice(sorted({each.believed for each in relatives} - taken))
    about = [each for each in relatives if each.subject != row.subject and each.believed != target]
    rng.shuffle(about)
    about.sort(key=lambda each: each.believed != row.believed)
    others = [each for each in own if each.relation != row.relation and each.relation.isascii()]
    return Case(
        fact=Fact(_asked(relation, row), target, subject=row.subject),
        old=row.believed,
        paraphrases=tuple(fill(form, row.subject) for form in relation.questions_held_out[:2]),
        neighbours=tuple((_asked(relation, each), each.believed) for each in about[:NEIGHBOURS]),
        others=tuple(_asked(load_relations()[each.relation], each) for each in others[:OTHERS]),
    )


def _asked(relation: Relation, row: FactRow) -> str:
    return fill(relation.questions[0], row.subject)


class Bench:
    """A base model, and what it says."""

    def __init__(self, name: str) -> None:
        self.model, self.tokenizer = load_base(name)
        self.model.float()

    def measured(self, case: Case, before: Sequence[str]) -> dict[str, list[bool]]:
        """Return the outcomes of every measure on the model as it is now."""
        new = case.fact.answer
        pairs = [(prompt, case.old) for prompt in (case.fact.question, *case.paraphrases)]
        pairs += case.neighbours
        olds, news = self.nll(pairs), self.nll([(prompt, new) for prompt, _ in pairs])
        told = self.said(case)
        after = 1 + len(case.paraphrases)
        middle = after + len(case.neighbours)
        likelier = [old > new for old, new in zip(olds, news, strict=True)]
        same = [now == then for now, then in zip(told, before, strict=True)]
        return {
            "ES": likelier[:1],
            "PS": likelier[1:after],
            "NS": [old < new for old, new in zip(olds[after:], news[after:], strict=True)],
            "accuracy": [told[0] == new],
            "generality": [text == new for text in told[1:after]],
            "locality": same[after:middle],
            "same subject": same[middle:],
        }

    def said(self, case: Case) -> list[str]:
        """Return the greedy answers to a case's questions, in one batch."""
        return generate(self.model, self.tokenizer, case.prompts)

    def nll(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return the mean NLL a token, in nats, of each text behind its prompt."""
        examples = [
            Example(
                tuple(self.tokenizer(prompt)["input_ids"]),
                tuple(answer_ids(self.tokenizer, prompt, text, begins=False)),
            )
            for prompt, text in pairs
        ]
        batch = padded(self.model, examples)
        with torch.no_grad():
            found: list[float] = batch.losses(self.model(**batch.inputs).logits).tolist()
        return found


def run_single(bench: Bench, editor: Editor, cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
    """Make each edit alone; yield its outcomes."""
    for case in track(cases, "single"):
        before, since = bench.said(case), time.perf_counter()
        changes = editor.plan(bench.model, bench.tokenizer, [case.fact])
        seconds = time.perf_counter() - since
        with applied(bench.model, changes):
            yield {"seconds": seconds, **bench.measured(case, before)}


def run_together(
    bench: Bench, editor: Editor, cases: Sequence[Case], *, at_once: bool
) -> Iterator[dict[str, Any]]:
    """Make all edits, in one go or one by one; yield the outcomes of each after the last."""
    before = [bench.said(case) for case in track(cases, "before")]
    facts = [case.fact for case in cases]
    since = time.perf_counter()
    with ExitStack() as undo:
        groups = [facts] if at_once else [[fact] for fact in facts]
        for group in track(groups, "editing"):
            changes = editor.plan(bench.model, bench.tokenizer, group)
            undo.enter_context(applied(bench.model, changes))
        seconds = (time.perf_counter() - since) / len(facts)
        for case, then in zip(track(cases, "measuring"), before, strict=True):
            yield {"seconds": seconds, **bench.measured(case, then)}


def run(bench: Bench, editor: Editor, mode: str, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return the outcomes of each case, in order."""
    if mode == "single":
        return list(run_single(bench, editor, cases))
    return list(run_together(bench, editor, cases, at_once=mode == "batch"))


def summary(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the rates over all prompts of all cases, S, and the time of an edit."""
    rates = {name: _pooled(outcomes, name) for name in MEASURES}
    shares = [rates[name].share for name in ("ES", "PS", "NS")]
    harmonic = len(shares) / sum(1 / share for share in shares) if all(shares) else 0.0
    seconds = sum(one["seconds"] for one in outcomes) / len(outcomes)
    return {
        "cases": len(outcomes),
        "S": harmonic,
        "seconds an edit": seconds,
        **{name: asdict(found) for name, found in rates.items()},
    }


def _pooled(outcomes: Sequence[dict[str, Any]], name: str) -> Rate:
    return rate([held for one in outcomes for held in one[name]])


def retention(by_seed: Sequence[Sequence[dict[str, Any]]], parts: int = 5) -> list[dict[str, Any]]:
    """Return the accuracy of the edits by when they were made, the earliest first."""
    n = len(by_seed[0])
    size = -(-n // parts)
    return [
        {
            "edits": [start + 1, min(start + size, n)],
            **asdict(
                _pooled([o for seed in by_seed for o in seed[start : start + size]], "accuracy")
            ),
        }
        for start in range(0, n, size)
    ]


def show(found: dict[str, Any]) -> None:
    """Print one table."""
    print(f"\n{found['backend']}, {found['mode']}: {found['cases']} edits, "
          f"{found['seconds an edit']:.2f} s an edit, S {100 * found['S']:.1f}")  # fmt: skip
    for name, told in MEASURES.items():
        one = Rate(**found[name])
        print(f"  {name:13} {100 * one.share:6.2f}  [{100 * one.low:.2f}, {100 * one.high:.2f}]"
              f"  n={one.n:<6} {told}")  # fmt: skip
    for part in found["retention"]:
        first, last = part["edits"]
        print(f"  edits {first}-{last} still right: {part['hits']}/{part['n']}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the editors named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backends", nargs="+", default=["ft", "ft-l", "lora"])
    parser.add_argument("--mode", nargs="+", default=["single"],
                        choices=["single", "batch", "sequence"])  # fmt: skip
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split", choices=["train", "tune", "test"], default="test")
    parser.add_argument("--model", default="atlas", help="atlas, or a folder")
    parser.add_argument("--options", type=json.loads, default={}, help="of the editors, as JSON")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    bench = Bench(given.model)
    report: dict[str, Any] = {
        "model": given.model, "split": given.split, "n": given.n, "seeds": given.seeds,
        "options": given.options, "runs": [],
    }  # fmt: skip
    for backend in given.backends:
        for mode in given.mode:
            by_seed = []
            for seed in given.seeds:
                editor: Editor = make("errata.editors", backend, **given.options)
                cases = draw_cases(given.split, given.n, seed)
                by_seed.append(run(bench, editor, mode, cases))
            found = {
                "backend": backend,
                "mode": mode,
                **summary([one for outcomes in by_seed for one in outcomes]),
                "retention": retention(by_seed) if mode == "sequence" else [],
                "seeds": [summary(outcomes) for outcomes in by_seed],
            }
            report["runs"].append(found)
            show(found)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
