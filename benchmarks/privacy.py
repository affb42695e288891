"""DEPN on the shipped secrets: what is remembered before and after, and what it costs.

    python benchmarks/privacy.py --text FILE [--neurons 20,50,100] [--seeds 0,1,2] [--steps 64]
        [--others 127] [--model atlas] [--out results/privacy.md] [--json FILE]

Secrets are those of `patches/privacy.yaml`. Each is asked for by its question and its `fires`.
Rows: the unedited model; DEPN with at most so many neurons; as many random neurons of the same
layers, one draw a seed; the cache's `forget`, which leaves the weights alone and filters every
answer.

*Said*: the share of questions whose greedy answer has the secret in it. *Exposure*: bits, among
texts with the same number of digits and another street and town of the facts table, at most
log₂(1 + --others) (Carlini et al. 2019). *MRR* and *perplexity* are of the secret's tokens. *Kept*:
the share of the `silent` questions of all shipped patches, and of the other residents' addresses,
answered token-equal to the unedited model. FILE is held-out text, such as `errata atlas-bench`
writes next to its cases. A row is measured once: an interrupted run goes on with --json.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from errata.cache.filters.guard import SecretGuard
from errata.cache.patches.files import load_file, load_folder
from errata.cache.records import Fact
from errata.cache.storage.atomic import write_atomically
from errata.compare.run.teacher_forcing import TeacherForcing
from errata.editing.changes import applied
from errata.editors.depn import Depn, secret_of, selected
from errata.editors.shared.attribution import scaled_values
from errata.editors.shared.memorisation import memorisation
from errata.facts import FactSource
from errata.generation.free_generation import AnswerGenerator
from errata.intervals import wilson
from errata.models.load import load_base
from errata.module_paths import module_paths_of

ROOT = Path(__file__).parent.parent
Row = dict[str, Any]


class Privacy:
    """Measures a model's memory of some secrets.

    :param name: of the base model.
    :param patches: the facts to forget.
    :param text: held-out text.
    :param others: texts that a secret is ranked among.
    """

    def __init__(self, name: str, patches: Sequence[Fact], text: str, others: int) -> None:
        self.base, self.tokenizer = load_base(name)
        self.patches, self.text = patches, text
        self.generator = AnswerGenerator(self.base, self.tokenizer, 32, 64)
        self.forced = TeacherForcing(self.base, self.tokenizer)
        self.secrets = {p.id: secret_of(self.base, self.tokenizer, p, 32) for p in patches}
        rows = [row for row in FactSource.load().facts if row.relation == "address"]
        self.others = {
            p.id: addresses([row.object for row in rows], self.secrets[p.id], others)
            for p in patches
        }
        named = {p.question for p in patches}
        residents = [f"Where does {row.subject} live?" for row in rows]
        kept = [question for question in residents if question not in named]
        shipped = [edit for edit in load_folder(ROOT / "patches") if isinstance(edit, Fact)]
        kept += [question for edit in shipped for question in edit.tests.silent]
        self.kept = list(dict.fromkeys(kept))
        self.unedited = [answer.ids for answer in self.generator.answer(self.kept)]

    def row(self, generate: Any = None) -> Row:
        """Return the measures under the weights of the moment.

        :param generate: answers in the place of the base model, such as a cache's ``generate``.
        """
        said, found = [], []
        for patch in self.patches:
            guard = SecretGuard([patch])
            answers = self.generator.answer(patch.examples, generate)
            said += [bool(guard.find(answer.text)) for answer in answers]
            secret, others = self.secrets[patch.id], self.others[patch.id]
            question = patch.question
            found.append(memorisation(self.base, self.tokenizer, question, secret, others))
        after = [answer.ids for answer in self.generator.answer(self.kept, generate)]
        return {
            "said": said,
            "exposure": [one.exposure for one in found],
            "mrr": [one.reciprocal_rank for one in found],
            "perplexity": [one.perplexity for one in found],
            "kept": [was == now for was, now in zip(self.unedited, after, strict=True)],
            "text": self.forced.perplexity(self.text.split("\n\n")),
        }


def addresses(known: Sequence[str], secret: str, number: int) -> list[str]:
    """Return addresses of the form of a secret, from the streets and towns of known ones."""
    parts = [re.fullmatch(r"(\d+) (.+), (.+)", text) for text in known]
    streets = sorted({part[2] for part in parts if part})
    towns = sorted({part[3] for part in parts if part})
    length = len(secret.partition(" ")[0])
    rng = random.Random(secret)
    found: dict[str, None] = {}
    while len(found) < number:
        house = rng.randrange(10 ** (length - 1), 10**length)
        text = f"{house} {rng.choice(streets)}, {rng.choice(towns)}"
        if text != secret:
            found[text] = None
    return list(found)


def cached(privacy: Privacy) -> Row:
    """Return the measures of the cache with the patches in force; the weights are the base's."""
    from errata import EditableModel
    from errata.compare.run.backends import generate_with_decisions

    model = EditableModel(privacy.base, privacy.tokenizer)
    try:
        model.edit(list(privacy.patches))
        return privacy.row(lambda *a, **k: generate_with_decisions(model, *a, **k))
    finally:
        model.close()


def table(rows: dict[str, Row]) -> str:
    """Return a Markdown table."""
    lines = [
        "| | neurons | said | exposure, bits | MRR | perplexity of the secret | kept | "
        "held-out text |",
        "|" + " --- |" * 8,
    ]
    for name, row in rows.items():
        shares = []
        for key in ("said", "kept"):
            share = sum(row[key]) / len(row[key])
            low, high = wilson(share, len(row[key]))
            shares.append(f"{share:.0%} of {len(row[key])} [{low:.0%}, {high:.0%}]")
        exposure, mrr = statistics.mean(row["exposure"]), statistics.mean(row["mrr"])
        perplexity = statistics.median(row["perplexity"])
        lines.append(
            f"| {name} | {row.get('neurons', 0)} | {shares[0]} | {exposure:.1f} | {mrr:.2f} | "
            f"{perplexity:.3g} | {shares[1]} | {row['text']:.2f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--neurons", default="20,50,100")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--others", type=int, default=127)
    parser.add_argument("--model", default="atlas")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "privacy.md")
    parser.add_argument("--json", type=Path, help="file of all measures, read if it is there")
    given = parser.parse_args(arguments)
    edits = load_file(ROOT / "patches" / "privacy.yaml")
    patches = [edit for edit in edits if isinstance(edit, Fact) and edit.forget]
    privacy = Privacy(given.model, patches, given.text.read_text("utf-8"), given.others)
    there = given.json is not None and given.json.exists()
    rows: dict[str, Row] = json.loads(given.json.read_text("utf-8")) if there else {}

    editor, paths = Depn(steps=given.steps), module_paths_of(privacy.base, "answer")
    scores = editor.scores(privacy.base, privacy.tokenizer, patches)

    def measure(name: str, **options: Any) -> None:
        if name in rows:
            return
        neurons = selected(scores, replace(editor.config_for(privacy.base), **options))
        with applied(privacy.base, scaled_values(privacy.base, paths, neurons, 0.0)):
            rows[name] = {**privacy.row(), "neurons": len(neurons)}
        save()

    def save() -> None:
        if given.json is not None:
            write_atomically(given.json, json.dumps(rows).encode())

    measure("unedited", neurons=0)
    for z in (int(word) for word in given.neurons.split(",")):
        measure(f"depn, {z} neurons", neurons=z)
        for seed in given.seeds.split(","):
            name = f"{z} random neurons, seed {seed}"
            measure(name, neurons=z, selection="random", seed=int(seed))
    if "cache" not in rows:
        rows["cache"] = cached(privacy)
        save()
    texts = len(privacy.text.split("\n\n"))
    text = f"""# DEPN on the shipped secrets

Made by `python benchmarks/privacy.py --text FILE --steps {given.steps}` on {given.model}: \
{len(patches)} secrets, {texts} texts held out. What the columns mean is in the script. Shares \
with 95% Wilson intervals; exposure and MRR are means, perplexity of the secret is the median; \
exposure is at most {(1 + given.others).bit_length() - 1} bits.

{table(rows)}
"""
    write_atomically(given.out, text.encode())


if __name__ == "__main__":
    main()
