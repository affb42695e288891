"""Record every decision and answer on fixed questions, and compare two such records.

    python benchmarks/regression.py record now.jsonl.gz --open open_questions.jsonl.gz
    python benchmarks/regression.py diff before.jsonl.gz now.jsonl.gz [--json]

Three parts: all of ``errata atlas-bench --split tune`` with its edits in force together, the tests
of the shipped patches with ``patches/`` in force, and open questions with both in force. A change
that is meant to keep behaviour shows no difference; any other change lists each one with its cause.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.progress import track

from errata import Answer, EditableModel, Fact

ROOT = Path(__file__).parent.parent
BATCH = 8
"""Questions asked at a time; a record made with another size differs in the last digits."""
TOLERANCE = 1e-5
"""Largest difference of two equal probabilities: encodings vary by that much between batches."""


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
    diff.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.command == "record":
        write(options.out, record_rows(options.patches, options.open, options.n))
        return 0
    differences = compare(read(options.before), read(options.after))
    if options.json:
        print(json.dumps(differences, ensure_ascii=False, indent=1))
    else:
        show(differences)
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
            texts = [row["question"] for row in read(questions)]
            yield from ask(model, "open questions", list(dict.fromkeys(texts))[:n])


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


def ask(model: EditableModel, part: str, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Ask questions in batches; yield a row of decision and answer for each."""
    for start in track(range(0, len(texts), BATCH), part):
        batch = texts[start : start + BATCH]
        for text, answer in zip(batch, model.ask_many(batch), strict=True):
            yield {"part": part, "query": text, **row(answer)}


def row(answer: Answer) -> dict[str, Any]:
    """Return an answer and its decision as JSON values."""
    decision = answer.decision
    return {
        "answer": answer.text,
        "route": decision.route,
        "fired": [edit.id for edit in decision.fired],
        "asked": decision.effective_query,
        "candidates": {
            c.edit_id: [round(c.probability, 8), round(c.threshold, 8), c.relation]
            for c in decision.candidates
        },
        "near_misses": [c.edit_id for c in decision.near_misses],
    }


def compare(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the rows of each part, and every row that differs with its differing fields."""
    old = {(one["part"], one["query"]): one for one in before}
    new = {(one["part"], one["query"]): one for one in after}
    different = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key, {}), new.get(key, {})
        fields = [name for name in {**a, **b} if not same(a.get(name), b.get(name))]
        if fields:
            rows = {name: [a.get(name), b.get(name)] for name in fields}
            different.append({"part": key[0], "query": key[1], **rows})
    return {
        "rows": dict(Counter(part for part, _ in new)),
        "only_before": len(old.keys() - new.keys()),
        "only_after": len(new.keys() - old.keys()),
        "differing_fields": dict(Counter(f for one in different for f in one if f not in KEYS)),
        "different": different,
    }


KEYS = ("part", "query")


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal, numbers up to :data:`TOLERANCE`."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= TOLERANCE
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def show(differences: dict[str, Any]) -> None:
    """Print the differences as text."""
    for part, count in differences["rows"].items():
        print(f"{part:20s} {count:6d} rows")
    print(f"{len(differences['different'])} differ: {differences['differing_fields'] or 'none'}")
    for one in differences["different"]:
        print(f"\n{one['part']}: {one['query']}")
        for name in (name for name in one if name not in KEYS and name != "candidates"):
            print(f"  {name}: {one[name][0]!r} -> {one[name][1]!r}")


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of JSON lines, gzipped or not."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as JSON lines, gzipped if the name ends in ``.gz``; byte-reproducible."""
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows).encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


if __name__ == "__main__":
    sys.exit(main())
