"""Record every decision and answer on fixed questions, and compare two such records.

    python benchmarks/regression.py record now.jsonl.gz --open open_questions.jsonl.gz
    python benchmarks/regression.py diff results/regression/0.2.0.jsonl.gz now.jsonl.gz
    python benchmarks/regression.py diff BEFORE AFTER --causes causes.yaml --out page.md

Three parts: all of ``errata atlas-bench --split tune`` with its edits in force together, the tests
of the shipped patches with ``patches/`` in force, and open questions with both in force. A change
that keeps behaviour shows no difference; any other states the cause of each. Open questions are
other people's texts: a record holds their digests, and ``--open`` shows the texts again.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import track
from ruamel.yaml import YAML

from errata import Answer, EditableModel, Fact

ROOT = Path(__file__).parent.parent
OPEN = "open questions"
KEYS = ("part", "query")
BATCH = 8
"""Questions asked at a time; padding in a batch moves probabilities, see :data:`TOLERANCE`."""
TOP = 3
"""Candidates recorded for each query, the most probable ones."""
TOLERANCE = 1e-3
"""Largest difference of two probabilities that count as equal: a gate promises 1e-4 a batch."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Record, or compare; return 1 where two records differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="ask everything and write a record")
    record.add_argument("out", type=Path)
    record.add_argument("--open", type=Path, help='JSON lines with a "question", gzipped or not')
    record.add_argument("--n", type=int, default=2000, help="open questions")
    record.add_argument("--patches", type=Path, default=ROOT / "patches")
    diff = commands.add_parser("diff", help="list what differs between two records")
    diff.add_argument("before", type=Path)
    diff.add_argument("after", type=Path)
    diff.add_argument("--open", type=Path, help="show the texts of open questions from this file")
    diff.add_argument("--causes", type=Path, help="YAML: a query (or digest) and its cause")
    diff.add_argument("--out", type=Path, help="write the differences as a Markdown page")
    diff.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.command == "record":
        write(options.out, record_rows(options.patches, options.open, options.n))
        return 0
    differences = compare(read(options.before), read(options.after))
    texts = {} if options.open is None else {digest(q): q for q in questions_of(options.open)}
    causes = {} if options.causes is None else YAML(typ="safe").load(options.causes)
    text = page(differences, texts, causes)
    if options.out:
        options.out.write_text(text, "utf-8")
    print(json.dumps(differences, ensure_ascii=False, indent=1) if options.json else text)
    return int(bool(differences["different"]))


def record_rows(patches: Path, questions: Path | None, n: int) -> Iterator[dict[str, Any]]:
    """Yield one row for each question.

    :param patches: the folder whose patches are tested.
    :param questions: open questions; None asks none.
    :param n: maximum number of open questions, from the first.
    """
    edits, probes = bench()
    with EditableModel.from_pretrained("atlas") as model:
        model.edit(edits)
        yield from ask(model, "atlas-bench tune", probes)
    with EditableModel.from_pretrained("atlas", patches=patches) as model:
        yield from ask(model, "patches", patch_questions(model))
        model.edit([edit for edit in edits if edit.id not in {e.id for e in model.edits}])
        if questions is not None:
            yield from ask(model, OPEN, questions_of(questions)[:n])


def bench() -> tuple[list[Fact], list[str]]:
    """Return the edits and the prompts of ``errata atlas-bench --split tune``."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "tune.jsonl"
        command = [sys.executable, "-m", "errata", "atlas-bench", "--split", "tune"]
        subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
        cases = read(out)
    edits = [
        Fact(one["question"], one["answer"], subject=one.get("subject"))
        for case in cases
        for one in case["edits"]
    ]
    prompts = (
        prompt
        for case in cases
        for probe in case["probes"]
        for prompt in (probe["prompt"], probe.get("false_prompt"))
        if prompt
    )
    return edits, list(dict.fromkeys(prompts))


def patch_questions(model: EditableModel) -> list[str]:
    """Return the questions and the tests of all patches in force."""
    texts = (
        text
        for edit in model.edits
        for text in (getattr(edit, "question", ""), *edit.tests.fires, *edit.tests.silent)
        if text
    )
    return list(dict.fromkeys(texts))


def questions_of(path: Path) -> list[str]:
    """Return the open questions of a file, each once."""
    return list(dict.fromkeys(row["question"] for row in read(path)))


def ask(model: EditableModel, part: str, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Ask questions in batches; yield a row of decision and answer for each."""
    for start in track(range(0, len(texts), BATCH), part):
        batch = texts[start : start + BATCH]
        for text, answer in zip(batch, model.ask_many(batch), strict=True):
            yield compact({"part": part, "query": text, **row(answer)})


def row(answer: Answer) -> dict[str, Any]:
    """Return an answer and its decision as JSON values."""
    decision = answer.decision
    return {
        "answer": answer.text,
        "route": decision.route,
        "fired": [edit.id for edit in decision.fired],
        "effective_query": decision.effective_query,
        "candidates": {
            c.edit_id: [c.probability, c.threshold, c.relation] for c in decision.candidates
        },
        "near_misses": [c.edit_id for c in decision.near_misses],
    }


def compact(full: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the most probable candidates, and digests of other people's texts."""
    query, effective = full["query"], full["effective_query"]
    own = full["part"] != OPEN
    best = sorted(full["candidates"].items(), key=lambda item: -item[1][0])[:TOP]
    return {
        **full,
        "query": query if own else digest(query),
        "effective_query": "" if effective == query else effective if own else digest(effective),
        "candidates": {key: [round(p, 6), round(t, 6), kind] for key, (p, t, kind) in best},
    }


def digest(text: str) -> str:
    """Return the SHA-256 of a text, shortened."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compare(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the number of rows of each part, and each row that differs with its fields."""
    old = {(one["part"], one["query"]): one for one in before}
    new = {(one["part"], one["query"]): one for one in after}
    different = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key, {}), new.get(key, {})
        names = [name for name in {**a, **b} if not equal(a.get(name), b.get(name))]
        if names:
            fields = {name: [a.get(name), b.get(name)] for name in names}
            different.append({"part": key[0], "query": key[1], **fields})
    return {
        "rows": dict(Counter(part for part, _ in new)),
        "only_before": len(old.keys() - new.keys()),
        "only_after": len(new.keys() - old.keys()),
        "different": different,
    }


def equal(a: Any, b: Any) -> bool:
    """Return whether two values are equal, numbers up to :data:`TOLERANCE`."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= TOLERANCE
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def page(differences: dict[str, Any], texts: Mapping[str, str], causes: Mapping[str, str]) -> str:
    """Return the differences as Markdown.

    :param differences: of :func:`compare`.
    :param texts: of open questions, by digest.
    :param causes: by query or digest; ``*`` is the cause of a row that has none of its own.
    """
    different = differences["different"]
    lines = [
        "# Decisions and answers, before and after",
        "",
        "Made by `python benchmarks/regression.py diff`; its docstring says what is asked.",
        f"Probabilities are equal up to {TOLERANCE}.",
        "",
        "| part | queries | answer differs | fired differs | anything differs |",
        "| --- | --- | --- | --- | --- |",
    ]
    for part, count in differences["rows"].items():
        mine = [one for one in different if one["part"] == part]
        cells = (part, count, sum("answer" in o for o in mine), sum("fired" in o for o in mine))
        lines.append(f"| {' | '.join(map(str, (*cells, len(mine))))} |")
    lines.append("")
    for one in different:
        query = texts.get(one["query"], one["query"])
        cause = causes.get(one["query"], causes.get("*", "unexplained"))
        lines += [f"- {one['part']}: *{query}* ({cause})"]
        lines += [
            f"  - {name}: `{old}` → `{new}`"
            for name, (old, new) in ((n, v) for n, v in one.items() if n not in KEYS)
        ]
    return "\n".join([*lines, ""])


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of JSON lines, gzipped or not."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as JSON lines, gzipped where the name ends in ``.gz``; always the same bytes."""
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows).encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


if __name__ == "__main__":
    sys.exit(main())
