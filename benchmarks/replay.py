"""Replay a log of many queries: seconds, and what is found.

    python benchmarks/replay.py [--n 10000] [--distinct 2000] [--model atlas] [--json FILE]

Questions about the subjects of the facts table, asked of a model with the shipped patches, are
logged as a running model would log them, with the default gate; then `errata replay` decides each
again, with the patches as they are and with one answer changed. Decisions only. What logging costs
a query, ``benchmarks/audit.py`` measures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.progress import track

from errata import EditableModel
from errata.audit.config import AuditConfig
from errata.audit.records import AuditedCall
from errata.audit.writer import open_audit
from errata.cache.patches.files import dump_file
from errata.cache.records import Fact
from errata.facts import load_facts
from errata.generation.chat import Prompt
from errata.output import StopWatch, Trace

ROOT = Path(__file__).parent.parent
BATCH = 32


def questions(model: EditableModel, distinct: int) -> list[str]:
    """Return distinct questions: those of the patches' tests, then about other subjects."""
    found = [text for edit in model.edits for text in (*edit.examples, *edit.counterexamples)]
    forms = ("What is {} known for?", "Tell me about {}.", "Where is {}?", "What about {}?")
    found += [form.format(fact.subject) for form in forms for fact in load_facts()]
    return list(dict.fromkeys(found))[:distinct]


def write_log(model: EditableModel, path: Path, n: int, distinct: int) -> dict[str, Any]:
    """Log n decisions; return how many."""
    asked = questions(model, distinct)
    writer = open_audit(AuditConfig(path, queue=100_000), model.gate, model.base)
    if writer is None:
        raise AssertionError("a log was asked for")
    calls = []
    for start in track(range(0, len(asked), BATCH), "deciding"):
        watch = StopWatch()
        prompts = [Prompt.of(text) for text in asked[start : start + BATCH]]
        batch = model.route(prompts, True, watch)
        for row, decision in enumerate(batch.decisions):
            one = replace(
                batch, decisions=(decision,), texts=batch.texts[row : row + 1],
                conversations=batch.conversations[row : row + 1],
            )  # fmt: skip
            calls.append((Trace((decision,), (), tuple(watch.steps)), one))
    for at in range(n):
        trace, batch = calls[at % len(calls)]
        writer.record(AuditedCall(time.time(), trace, batch, False))
    writer.close()
    return {
        "logged": writer.written,
        "dropped": writer.dropped,
        "distinct": len(calls),
        "log_bytes": path.stat().st_size,
    }


def replay(log: Path, patches: Path, model: str) -> dict[str, Any]:
    """Run `errata replay`; return its seconds and what it found."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "errata", "replay", str(log), "--patches", str(patches)]
    done = subprocess.run(
        [*command, "--model", model, "--json"], capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout)
    if "error" in found:
        raise RuntimeError(found["error"])
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "exit_code": done.returncode,
        "replayed": found["replayed"],
        "different": found["different"],
        "distinct_different": len(found["queries"]),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--distinct", type=int, default=2000)
    parser.add_argument("--model", default="atlas")
    parser.add_argument("--patches", type=Path, default=ROOT / "patches")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        log, changed = Path(name) / "log.sqlite3", Path(name) / "changed"
        changed.mkdir()
        with EditableModel.from_pretrained(options.model, patches=options.patches) as model:
            report = write_log(model, log, options.n, options.distinct)
            edits = list(model.cache.all_edits)
        at = next(i for i, e in enumerate(edits) if isinstance(e, Fact) and not e.forget)
        fact = edits[at]
        if isinstance(fact, Fact):
            edits[at] = replace(fact, answer="another answer", id="")
        dump_file(edits, changed / "all.jsonl")
        report["same patches"] = replay(log, options.patches, options.model)
        report["one answer changed"] = replay(log, changed, options.model)
    print(json.dumps(report, indent=1))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
