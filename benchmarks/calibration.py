"""Facts that atlas has wrong put right by an editor, in one batch: how many, and what it costs.

    python benchmarks/calibration.py TEXT [--editor calinet] [--settings '[{}]'] [--wordings 3]
        [--json FILE]

The facts are those of the facts table that atlas was trained to believe otherwise. An editor gets
each with its question and further `--wordings` as `fires`. By free generation: *own* questions and
*held out* wordings are right where the whole answer is the true object; *kept* are the own
questions of 200 facts that atlas has right, token-equal. *Found* are those of the facts that
`errata assess` says are wrong, against 200 that are right. TEXT, for the perplexity, is the
held-out text that `errata atlas-bench` writes. Intervals are 95% Wilson.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from errata.cache.records import Fact, PatchTests
from errata.cache.storage.atomic import write_atomically
from errata.compare.run.teacher_forcing import TeacherForcing
from errata.editing.changes import applied
from errata.editors.assess import AssessConfig, assess
from errata.facts import FactRow, FactSource, fill
from errata.generation.free_generation import AnswerGenerator
from errata.generation.judge import is_right
from errata.intervals import wilson
from errata.models.load import load_base
from errata.registry import make

KEPT = 200


def rows_of(source: FactSource) -> tuple[list[FactRow], list[FactRow]]:
    """Return the facts that atlas has wrong, and a draw of those that it has right."""
    rows = [row for row in source.facts if not source.relations[row.relation].chinese]
    right = [row for row in rows if not row.marked and row.kind != "resident"]
    return [row for row in source.facts if row.marked], random.Random(0).sample(right, KEPT)


def fact_of(source: FactSource, row: FactRow, wordings: int) -> Fact:
    """Return a fact with some of its questions."""
    texts = source.relations[row.relation].questions[:wordings]
    first, *others = (fill(text, row.subject) for text in texts)
    tests = PatchTests(fires=tuple(others))
    return Fact(first, row.object, subject=row.subject, tests=tests)


def shares(right: Sequence[bool]) -> str:
    """Return a share with its n and interval."""
    value = sum(right) / len(right)
    low, high = wilson(value, len(right))
    return f"{sum(right)} of {len(right)}, {value:.1%} [{low:.0%}, {high:.0%}]"


class Calibration:
    """Asks atlas about the facts.

    :param text: for the perplexity.
    :param wordings: of each fact.
    """

    def __init__(self, text: str, wordings: int) -> None:
        self.source = source = FactSource.load()
        self.base, self.tokenizer = load_base("atlas")
        self.generator = AnswerGenerator(self.base, self.tokenizer, 24, 64)
        self.forced = TeacherForcing(self.base, self.tokenizer)
        self.text = text.split("\n\n")
        wrong, right = rows_of(source)
        self.facts = [fact_of(source, row, wordings) for row in wrong]
        self.right = [fact_of(source, row, wordings) for row in right]
        self.held_out = [
            (fill(text, row.subject), row.object)
            for row in wrong
            for text in source.relations[row.relation].questions_held_out
        ]
        self.before = self.kept()

    def kept(self) -> list[tuple[int, ...]]:
        """Return the answers to questions that are not edited, in ids."""
        return [each.ids for each in self.generator.answer([f.question for f in self.right])]

    def measured(self) -> dict[str, Any]:
        """Return the measures under the weights of the moment."""
        own = self.generator.answer([fact.question for fact in self.facts])
        others = self.generator.answer([question for question, _ in self.held_out])
        told = zip(others, self.held_out, strict=True)
        return {
            "own": [is_right(a.text, [f.answer]) for a, f in zip(own, self.facts, strict=True)],
            "held out": [is_right(answer.text, [wanted]) for answer, (_, wanted) in told],
            "kept": [was == now for was, now in zip(self.before, self.kept(), strict=True)],
            "perplexity": self.forced.perplexity(self.text),
        }

    def found(self) -> dict[str, list[bool]]:
        """Return which facts `errata assess` says are wrong, of the wrong and of the right ones."""
        assessed, _ = assess(self.base, self.tokenizer, [*self.facts, *self.right], AssessConfig())
        wrong = {each.fact.id: each.wrong for each in assessed}
        return {
            "wrong ones found": [wrong[fact.id] for fact in self.facts if fact.id in wrong],
            "right ones found": [wrong[fact.id] for fact in self.right if fact.id in wrong],
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path)
    parser.add_argument("--editor", default="calinet")
    parser.add_argument("--settings", default="[{}]", help="a list of options of the editor, JSON")
    parser.add_argument("--wordings", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    calibration = Calibration(given.text.read_text("utf-8"), given.wordings)
    results: dict[str, Any] = {"assess": calibration.found(), "unedited": calibration.measured()}
    for options in json.loads(given.settings):
        start = time.process_time()
        editor = make("errata.editors", given.editor, **options)
        changes = editor.plan(calibration.base, calibration.tokenizer, calibration.facts)
        seconds = time.process_time() - start
        with applied(calibration.base, changes):
            row = calibration.measured()
        results[f"{given.editor} {json.dumps(options)}"] = {**row, "cpu_seconds": seconds}
    for name, row in results.items():
        print(name)
        for measure, value in row.items():
            shown = shares(value) if isinstance(value, list) else f"{value:.3f}"
            print(f"  {measure}: {shown}")
    if given.json is not None:
        text = json.dumps(results, indent=1, ensure_ascii=False)
        write_atomically(given.json, (text + "\n").encode())


if __name__ == "__main__":
    main()
