"""Locality of the shipped patches: questions without a patch, compared token for token.

    python benchmarks/locality.py [--n 1000] [--seed 0] [--json FILE]
    python benchmarks/locality.py --model smollm2 --questions open.jsonl.gz --batch 16 --rows FILE

Without ``--questions``, half of them are hard neighbours of patches, of the facts table: the same
subject with another relation, or the same relation with another subject. With it, they are drawn
from a file of JSON lines with a key ``question``. The base model and the model with the patches get
the same batches. Prints every question whose answer differs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.progress import track

from errata import EditableModel
from errata.cache.filters.text_filter import Filter
from errata.cache.records import Fact, RegexPatch
from errata.facts import FactRow, fill, load_facts, load_relations
from errata.generation.chat import render_prompt, tokenize_prompts
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


def open_questions(path: Path, n: int, seed: int) -> list[Case]:
    """Return n questions of a file of JSON lines, drawn without replacement."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    texts = [json.loads(line)["question"] for line in text.decode().splitlines()]
    texts = [text[:1].upper() + text[1:].rstrip("? ") + "?" for text in dict.fromkeys(texts)]
    drawn = random.Random(seed).sample(texts, min(n, len(texts)))
    return [Case(text, "open question", "") for text in drawn]


def answers(model: EditableModel, batch: Sequence[Case], new_tokens: int) -> list[dict[str, Any]]:
    """Return for each question whether the tokens are equal, whether an edit fired, and the texts.

    Equal up to trailing padding: a row that is corrected may be longer than all others.
    """
    pad = model.base.generation_config.pad_token_id or 0
    prompts = [render_prompt(case.question, model.tokenizer) for case in batch]
    ids, mask = tokenize_prompts(prompts, model.tokenizer, pad, left=True)
    options = {
        "attention_mask": mask, "max_new_tokens": new_tokens, "do_sample": False,
        "pad_token_id": pad,
    }  # fmt: skip
    alone = model.base.generate(ids, **options)[:, ids.shape[1] :].tolist()
    patched = model.generate(ids, **options)[:, ids.shape[1] :].tolist()
    decisions = model.last_trace.decisions
    rows = []
    for case, before, after, decision in zip(batch, alone, patched, decisions, strict=True):
        length = max(len(before), len(after))
        equal = before + [pad] * (length - len(before)) == after + [pad] * (length - len(after))
        texts = [model.tokenizer.decode(row, skip_special_tokens=True) for row in (before, after)]
        found = {"equal": equal, "hit": decision.hit, "alone": texts[0], "patched": texts[1]}
        rows.append({**asdict(case), **found})
    return rows


def measure(
    model: EditableModel, wanted: Sequence[Case], batch: int, new_tokens: int, kept: Path | None
) -> list[dict[str, Any]]:
    """Return the row of each question; those in the file of rows are not asked again."""
    rows: list[dict[str, Any]] = []
    if kept is not None and kept.is_file():
        rows = [json.loads(line) for line in kept.read_text("utf-8").splitlines()]
    known = {row["question"] for row in rows}
    left = [case for case in wanted if case.question not in known]
    for start in track(range(0, len(left), batch), "asking"):
        asked = answers(model, left[start : start + batch], new_tokens)
        rows += asked
        if kept is not None:
            with kept.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in asked)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="atlas")
    parser.add_argument("--questions", type=Path, help="JSON lines with a key question, or .gz")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--max-new-tokens", type=int, default=24)
    parser.add_argument("--patches", type=Path, default=ROOT / "patches")
    parser.add_argument("--rows", type=Path, help="keep the rows here, and go on from them")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    model = EditableModel.from_pretrained(options.model, patches=options.patches)
    if options.questions:
        wanted = open_questions(options.questions, options.n, options.seed)
    else:
        wanted = cases(model, options.n, options.seed)
    rows = measure(model, wanted, options.batch, options.max_new_tokens, options.rows)
    report = {
        "model": options.model, "n": len(rows), "seed": options.seed,
        "patches": len(model.edits), "kinds": {}, "different": [],
    }  # fmt: skip
    groups = {"all": rows, "nothing fired": [row for row in rows if not row["hit"]]}
    groups |= {
        k: [r for r in rows if r["kind"] == k] for k in dict.fromkeys(r["kind"] for r in rows)
    }
    for kind, group in groups.items():
        found = rate([row["equal"] for row in group])
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
