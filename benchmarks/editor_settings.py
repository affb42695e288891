"""An editor's settings side by side on the same cases: what each makes, generalises and breaks.

    python benchmarks/editor_settings.py CASES --editor ft
        [--settings '[{"target_loss": 0.05}, {"target_loss": 0.01}]'] [--n 60]
        [--batch | --sequence 10,50,200] [--model atlas] [--json FILE]

CASES are those of `errata atlas-bench`; choose settings on `--split tune`. Each edit alone, or with
`--batch` all n in force together, or with `--sequence` one after another, and all of the first 10
measured after the tenth, and so on. By free generation: *own* question, *rewordings* (other
phrasings and paraphrases), *neighbours* (questions about other subjects, token-equal to the
unedited model).
S is the harmonic mean of CounterFact's ES, PS and NS, by likelihood. *Refused*: edits that the
editor cannot make; they count as failures everywhere but in neighbours. Intervals are 95% Wilson of
means a case. Seconds are CPU time of planning, all threads together, and load is the machine's.
*Largest*: the largest change of an entry, relative to the root mean square of its weight.

With `--pre-edit` the answers of an editor that brings trained weights with its first edit (ENN) are
compared with those of these weights before any edit, in place of the base model's.

An interrupted run goes on where it stopped, if it has a --json file.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from errata.cache.errors import UnsupportedEdit
from errata.cache.storage.atomic import write_atomically
from errata.compare.inputs.cases import Case, Probe
from errata.compare.inputs.files import load_cases
from errata.compare.run.scores import harmonic, success
from errata.compare.run.teacher_forcing import TeacherForcing
from errata.editing.changes import Change, WeightChange, applied
from errata.editing.stack import ChangeStack
from errata.generation.free_generation import AnswerGenerator, GeneratedAnswer
from errata.generation.judge import is_right
from errata.intervals import wilson
from errata.models.load import load_base
from errata.registry import make

Row = dict[str, Any]
SCORES = {"rewrite": "ES", "paraphrase": "PS", "neighbour": "NS"}


class Measure:
    """Asks a model before and after edits.

    :param name: of the base model.
    :param pre_edit: compare with the weights that an editor brings, before any edit.
    """

    def __init__(self, name: str, pre_edit: Any = None) -> None:
        self.pre_edit = pre_edit
        self.base, self.tokenizer = load_base(name)
        self.generator = AnswerGenerator(self.base, self.tokenizer, 24, 64)
        self.forced = TeacherForcing(self.base, self.tokenizer)
        self._before: dict[str, list[GeneratedAnswer]] = {}

    def before(self, cases: Sequence[Case]) -> None:
        """Ask the unedited model; call it before anything is edited."""
        missing = [g for g in _groups(cases) if any(case.id not in self._before for case in g)]
        if not missing:
            return
        brought = self.pre_edit.before_edits(self.base, self.tokenizer) if self.pre_edit else []
        with applied(self.base, brought):
            for group in missing:
                self._before |= self._answers(group)

    def after(self, cases: Sequence[Case]) -> dict[str, Row]:
        """Return the shares of each case, under the weights of the moment."""
        rows: dict[str, Row] = {}
        for group in _groups(cases):
            answers, likelihoods = self._answers(group), self._successes(group)
            for case in group:
                rows[case.id] = {**self._shares(case, answers[case.id]), **likelihoods[case.id]}
        return rows

    def _answers(self, cases: Sequence[Case]) -> dict[str, list[GeneratedAnswer]]:
        """Return the answers to each case's own question and its probes, in shared batches."""
        asked = [[c.edits[0].question, *(p.prompt for p in _probes(c))] for c in cases]
        told = iter(self.generator.answer([one for each in asked for one in each]))
        return {c.id: list(islice(told, len(q))) for c, q in zip(cases, asked, strict=True)}

    def _shares(self, case: Case, answers: Sequence[GeneratedAnswer]) -> Row:
        own, *others = answers
        edit = case.edits[0]
        found: dict[str, list[bool]] = {"own": [is_right(own.text, [edit.answer])]}
        pairs = zip(_probes(case), self._before[case.id][1:], others, strict=True)
        for probe, was, now in pairs:
            if probe.property == "locality":
                found.setdefault("neighbours", []).append(was.ids == now.ids)
            else:
                found.setdefault("rewordings", []).append(is_right(now.text, probe.answers))
        return {**_means(found), "answer": own.text, "wanted": edit.answer}

    def _successes(self, cases: Sequence[Case]) -> dict[str, Row]:
        """Return ES, PS and NS of each case."""
        texts = [
            (case, kind, p) for case in cases for kind in SCORES for p in case.preferences
            if p.kind == kind
        ]  # fmt: skip
        examples = [self.forced.example(p.prompt, t) for _, _, p in texts for t in (p.new, p.old)]
        nlls = [each.nll for each in self.forced.scores(examples)]
        found: dict[str, dict[str, list[bool]]] = {case.id: {} for case in cases}
        for (case, kind, _), new, old in zip(texts, nlls[::2], nlls[1::2], strict=True):
            found[case.id].setdefault(SCORES[kind], []).append(success(kind, new, old))
        return {name: _means(values) for name, values in found.items()}

    def plan(self, editor: Any, edits: Sequence[Any]) -> tuple[Sequence[Change], Row]:
        """Return an editor's changes and what they cost.

        :raises UnsupportedEdit: an edit cannot be made.
        """
        wall, cpu = time.perf_counter(), time.process_time()
        changes = editor.plan(self.base, self.tokenizer, edits)
        return changes, {
            "seconds": round((time.perf_counter() - wall) / len(edits), 3),
            "cpu_seconds": round((time.process_time() - cpu) / len(edits), 3),
            "load": round(os.getloadavg()[0], 1),
            "largest": max(map(self._largest, changes), default=None),
        }

    def _largest(self, change: Change) -> float:
        """Return the largest change of an entry, relative to the weight's root mean square."""
        if not isinstance(change, WeightChange):
            return 0.0
        weight = self.base.get_parameter(change.name).detach().double()
        return round(float(change.delta.abs().max() / weight.square().mean().sqrt()), 3)


def _means(found: Mapping[str, Sequence[bool]]) -> Row:
    return {name: sum(values) / len(values) for name, values in found.items() if values}


def _groups(cases: Sequence[Case]) -> list[Sequence[Case]]:
    """Return the cases in tens, asked in the same batches before and after."""
    return [cases[start : start + 10] for start in range(0, len(cases), 10)]


def _probes(case: Case) -> list[Probe]:
    """Return the rewordings, and the questions about other subjects."""
    return [p for p in case.probes if p.property == "generality" or p.kind == "other subject"]


def single(measure: Measure, editor: Any, case: Case) -> Row:
    """Return the measures of one edit, made alone."""
    measure.before([case])
    try:
        changes, cost = measure.plan(editor, case.edits)
    except UnsupportedEdit as error:
        return {"refused": str(error)}
    with applied(measure.base, changes):
        return {**measure.after([case])[case.id], **cost}


def batch(measure: Measure, editor: Any, cases: Sequence[Case]) -> dict[str, Row]:
    """Return the measures of each edit, all in force together; refused ones are left out."""
    measure.before(cases)
    made, rows = list(cases), {}
    while made:
        try:
            changes, cost = measure.plan(editor, [edit for case in made for edit in case.edits])
            break
        except UnsupportedEdit as error:
            refused = next(case for case in made if case.edits[0].id == error.edit_id)
            made.remove(refused)
            rows[refused.id] = {"refused": str(error)}
    with applied(measure.base, changes if made else []):
        found = measure.after(cases)
        return {**rows, **{case.id: {**found[case.id], **cost} for case in made}}


def sequence(
    measure: Measure, editor: Any, cases: Sequence[Case], lengths: Sequence[int]
) -> Iterator[tuple[int, dict[str, Row]]]:
    """Yield after so many edits, made one after another, the measures of all of them so far.

    Cost is the mean of an edit since the last measurement.
    """
    measure.before(cases[: max(lengths)])
    stack = ChangeStack(measure.base, measure.tokenizer, editor)
    wall, cpu, since = 0.0, 0.0, 0
    try:
        for number, case in enumerate(cases[: max(lengths)], 1):
            start = time.perf_counter(), time.process_time()
            stack.add(case.edits)
            wall, cpu = wall + time.perf_counter() - start[0], cpu + time.process_time() - start[1]
            since += 1
            if number in lengths:
                made = {edit.id for edit in stack.edits}
                cost = {"seconds": wall / since, "cpu_seconds": cpu / since}
                cost |= {"load": os.getloadavg()[0]}
                found = measure.after(cases[:number])
                rows = {case.id: {**found[case.id], **cost} for case in cases[:number]}
                refused = [case for case in cases[:number] if case.edits[0].id not in made]
                yield number, {**rows, **{case.id: {"refused": editor.name} for case in refused}}
                wall, cpu, since = 0.0, 0.0, 0
    finally:
        stack.clear()


def table(editor: str, done: Mapping[str, Mapping[str, Row]]) -> str:
    """Return a Markdown table, one row a setting."""
    names = ("own", "rewordings", "neighbours", "ES", "PS", "NS")
    lines = [
        f"| {editor} | n | refused | {' | '.join(names)} | S | CPU s an edit | s | load | largest "
        "|",
        "|" + " --- |" * (len(names) + 8),
    ]
    for setting, rows in done.items():
        cells, means = [], {}
        for name in names:
            missing = 0.0 if name in ("own", "rewordings", "ES", "PS") else None
            values = [row.get(name, missing if "refused" in row else None) for row in rows.values()]
            known = [value for value in values if value is not None]
            means[name] = sum(known) / len(known) if known else 0.0
            low, high = wilson(means[name], len(known))
            cells.append(f"{means[name]:.1%} [{low:.0%}, {high:.0%}]")
        made = [row for row in rows.values() if "refused" not in row]
        costs = []
        for name in ("cpu_seconds", "seconds", "load", "largest"):
            values = [row[name] for row in made if row.get(name) is not None]
            costs.append(f"{sum(values) / len(values):.2f}" if values else "")
        s = harmonic([means[name] for name in ("ES", "PS", "NS")])
        refused = len(rows) - len(made)
        lines.append(
            f"| {setting} | {len(rows)} | {refused} | {' | '.join(cells)} | {s:.1%} | "
            f"{' | '.join(costs)} |"
        )
    return "\n".join(lines)


def together(
    measure: Measure,
    editor: Any,
    cases: Sequence[Case],
    rows: dict[str, Row],
    given: argparse.Namespace,
    save: Callable[[], None],
) -> dict[str, Row]:
    """Return the measures of all cases, together or alone, filling in what ``rows`` lacks."""
    if given.batch and not rows:
        rows.update(batch(measure, editor, cases))
        save()
    for case in cases:
        if case.id not in rows:
            rows[case.id] = single(measure, editor, case)
            save()
    return {case.id: rows[case.id] for case in cases}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", type=Path)
    parser.add_argument("--editor", required=True)
    parser.add_argument("--settings", default="[{}]", help="a list of options of the editor, JSON")
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--batch", action="store_true")
    parser.add_argument("--sequence", default="", help="lengths, separated by commas")
    parser.add_argument("--model", default="atlas")
    parser.add_argument("--pre-edit", action="store_true")
    parser.add_argument("--json", type=Path, help="file of all measures, read if it is there")
    given = parser.parse_args(arguments)
    cases = load_cases(given.cases)[: given.n]
    there = given.json is not None and given.json.exists()
    kept: dict[str, dict[str, Row]] = json.loads(given.json.read_text("utf-8")) if there else {}
    options = json.loads(given.settings)[0]
    own = make("errata.editors", given.editor, **options) if given.pre_edit else None
    measure, mode = Measure(given.model, own), "together" if given.batch else "alone"
    if given.sequence:
        mode = "in sequence"

    def save() -> None:
        if given.json is not None:
            text = json.dumps(kept, indent=1, ensure_ascii=False)
            write_atomically(given.json, (text + "\n").encode())

    shown: dict[str, Mapping[str, Row]] = {}
    lengths = [int(length) for length in given.sequence.split(",") if length]
    for options in json.loads(given.settings):
        editor = make("errata.editors", given.editor, **options)
        label = json.dumps(options)
        if lengths:
            names = {n: f"{given.editor} {label}, {n} in sequence" for n in lengths}
            if any(each not in kept for each in names.values()):
                for n, found in sequence(measure, editor, cases, lengths):
                    kept[names[n]] = found
                    save()
            shown |= {f"{label}, {n} edits": kept[name] for n, name in names.items()}
            continue
        name = f"{given.editor} {label}, {len(cases) if given.batch else 1} {mode}"
        shown[label] = together(measure, editor, cases, kept.setdefault(name, {}), given, save)
    print(f"{given.cases.name}, {mode}:\n\n{table(given.editor, shown)}")


if __name__ == "__main__":
    main()
