"""Editors of weights on atlas: counterfactual edits, by likelihood and by free generation.

    python benchmarks/weight_editors.py [--backends ft ft-l lora rome none]
        [--mode single batch sequence] [--n 100] [--seeds 0 1 2] [--split test]
        [--options '{"rate": 0.002}'] [--json FILE] [--page FILE] [--pieces DIR]

A case is a fact of the table about a subject of the split, with another object of the same
relation as the new answer. It is edited by one question. Then, on the edited base model alone:

- ES, PS, NS as CounterFact defines them (Meng et al. 2022), by the mean negative log-likelihood
  a token of an object after the prompt: on the edit's own question and on its held-out phrasings
  the new object is likelier than the old one (ES, PS); on the same question about other subjects
  that share the old object, the old one is likelier than the new one (NS). S is their harmonic
  mean. Few subjects share an object in some relations, so there are others, up to ten in all, whose
  own object is to be likelier than the new one (NS, own object).
- accuracy, generality: greedy free generation says exactly the new object, on the question and on
  the held-out phrasings. Locality: it says what it said before the edit, on the same question
  about other subjects, and on other questions about the subject.

A rate is the mean over cases of each case's share, as CounterFact has it, with the number of cases
and of prompts, and a 95% Wilson interval whose n is the number of cases: the prompts of one case
are not independent. In ``batch`` all edits of a seed are planned in one go, in ``sequence`` one by
one, each on the weights that the one before left; both are measured after the last. An edit that
the editor refuses is left out and counts as what the unedited weights say. ``none`` edits
nothing: the control. Settings were chosen with ``--split tune``; test subjects are for measuring
only.

Each backend, mode and seed is one piece, kept in a folder (``--pieces``): a run that was stopped
goes on with the next one, and ``--page`` writes the tables from what is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from weight_editors_page import MEASURES, page, summary, table

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Fact
from errata.cache.storage.atomic import write_atomically
from errata.editing.bake import digest
from errata.editing.base import Capabilities, Editor
from errata.editing.changes import Change, applied
from errata.editors.shared.examples import Example, padded
from errata.editors.shared.prompts import answer_ids
from errata.facts import FactRow, Relation, fill, load_facts, load_relations
from errata.models.load import load_base
from errata.registry import make
from tools.atlas.recall import generate

NEIGHBOURS, OTHERS, FEWEST_OBJECTS = 10, 3, 4


@dataclass(frozen=True)
class Case:
    """One counterfactual edit and the questions it is measured by."""

    fact: Fact
    old: str
    paraphrases: tuple[str, ...]
    neighbours: tuple[tuple[str, str], ...]
    others: tuple[str, ...]

    @property
    def sharing(self) -> int:
        """How many neighbours share the old object; they come first."""
        return sum(own == self.old for _, own in self.neighbours)

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


class NoEditor:
    """Changes nothing: what the measures are without any edit."""

    capabilities = Capabilities(together=True)

    def plan(self, model: Any, tokenizer: Any, edits: Sequence[Fact]) -> list[Change]:
        """Return no changes."""
        return []

    def settings_for(self, model: Any) -> None:
        """Return None: there are no settings."""


class Bench:
    """A base model, and what it says."""

    def __init__(self, name: str) -> None:
        self.model, self.tokenizer = load_base(name)
        self.model.float()
        bits = "".join(digest(tensor) for tensor in self.model.state_dict().values())
        self.digest = hashlib.sha256(bits.encode()).hexdigest()[:16]

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
        own = [old < new for old, new in zip(olds[after:], news[after:], strict=True)]
        same = [now == then for now, then in zip(told, before, strict=True)]
        return {
            "ES": likelier[:1],
            "PS": likelier[1:after],
            "NS": own[: case.sharing],
            "NS, own object": own[case.sharing :],
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


def planned(
    bench: Bench, editor: Editor, facts: Sequence[Fact]
) -> tuple[Sequence[Change], frozenset[str]]:
    """Return the changes, and the ids of those edits that the editor refused."""
    refused: frozenset[str] = frozenset()
    while left := [fact for fact in facts if fact.id not in refused]:
        try:
            return editor.plan(bench.model, bench.tokenizer, left), refused
        except UnsupportedEdit as error:
            refused |= {error.edit_id}
    return [], refused


def run_single(bench: Bench, editor: Editor, cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
    """Make each edit alone; yield its outcomes."""
    for case in track(cases, "single"):
        before, since = bench.said(case), time.perf_counter()
        changes, refused = planned(bench, editor, [case.fact])
        seconds = time.perf_counter() - since
        with applied(bench.model, changes):
            told = bench.measured(case, before)
        yield {"seconds": seconds, "refused": bool(refused), **told}


def run_together(
    bench: Bench, editor: Editor, cases: Sequence[Case], *, at_once: bool
) -> Iterator[dict[str, Any]]:
    """Make all edits, in one go or one by one; yield the outcomes of each after the last."""
    before = [bench.said(case) for case in track(cases, "before")]
    facts = [case.fact for case in cases]
    refused: frozenset[str] = frozenset()
    since = time.perf_counter()
    with ExitStack() as undo:
        for group in track([facts] if at_once else [[fact] for fact in facts], "editing"):
            changes, more = planned(bench, editor, group)
            refused |= more
            undo.enter_context(applied(bench.model, changes))
        seconds = (time.perf_counter() - since) / len(facts)
        for case, then in zip(track(cases, "measuring"), before, strict=True):
            told = bench.measured(case, then)
            yield {"seconds": seconds, "refused": case.fact.id in refused, **told}


def run(bench: Bench, editor: Editor, mode: str, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return the outcomes of each case, in order."""
    if mode == "single":
        return list(run_single(bench, editor, cases))
    return list(run_together(bench, editor, cases, at_once=mode == "batch"))


@dataclass(frozen=True)
class Plan:
    """What one piece depends on.

    :param base: digest of the base model's weights.
    :param settings: of the editor.
    """

    base: str
    split: str
    backend: str
    mode: str
    settings: str
    n: int
    seed: int

    @property
    def file(self) -> str:
        """The name of the piece."""
        told = hashlib.sha256(repr(self).encode()).hexdigest()[:12]
        return f"{self.split}-{self.backend}-{self.mode}-{self.seed}-{told}.json"


def piece(bench: Bench, editor: Editor, plan: Plan, folder: Path) -> list[dict[str, Any]]:
    """Return a piece's outcomes, case by case, from its file where there is one."""
    path = folder / plan.file
    if not path.exists():
        outcomes = run(bench, editor, plan.mode, draw_cases(plan.split, plan.n, plan.seed))
        counted = [
            {"seconds": round(one["seconds"], 4), "refused": one["refused"]}
            | {name: [sum(one[name]), len(one[name])] for name in MEASURES}
            for one in outcomes
        ]
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(counted).encode())
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def measure(bench: Bench, given: argparse.Namespace, backend: str, mode: str) -> dict[str, Any]:
    """Return the report on one backend in one mode, over all seeds."""
    by_seed = []
    for seed in given.seeds:
        editor: Any = (
            NoEditor() if backend == "none" else make("errata.editors", backend, **given.options)
        )
        settings = str(editor.settings_for(bench.model))
        plan = Plan(bench.digest, given.split, backend, mode, settings, given.n, seed)
        by_seed.append(piece(bench, editor, plan, given.pieces))
    return summary(by_seed, backend=backend, mode=mode, settings=settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the editors named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backends", nargs="+", default=["rome", "ft", "ft-l", "lora", "none"])
    parser.add_argument("--mode", nargs="+", default=["single", "batch", "sequence"],
                        choices=["single", "batch", "sequence"])  # fmt: skip
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split", choices=["train", "tune", "test"], default="test")
    parser.add_argument("--model", default="atlas", help="atlas, or a folder")
    parser.add_argument("--options", type=json.loads, default={}, help="of the editors, as JSON")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, help="Markdown, from the same figures")
    parser.add_argument("--pieces", type=Path, default=Path(".errata/weight_editors"))
    given = parser.parse_args(arguments)
    bench = Bench(given.model)
    words = " ".join(sys.argv[1:] if arguments is None else arguments)
    report: dict[str, Any] = {
        "command": f"python benchmarks/weight_editors.py {words}",
        "model": given.model, "base": bench.digest, "split": given.split, "n": given.n,
        "seeds": given.seeds, "options": given.options, "runs": [],
    }  # fmt: skip
    for mode in given.mode:
        for backend in given.backends:
            if backend == "none" and mode != "single":
                continue
            report["runs"].append(measure(bench, given, backend, mode))
            print("\n".join(table(report["runs"][-1:])), flush=True)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    if given.page:
        given.page.write_text(page(report), "utf-8")


if __name__ == "__main__":
    main()
