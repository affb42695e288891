"""What errata costs a query: milliseconds to the first token and in all, and memory.

    python benchmarks/latency.py --model smollm2 [--n 8] [--json FILE] [--markdown FILE]

Each question is asked of the bare model, then of the model with the patches; greedy, one at a time,
one warm-up of each kind. Medians with the quartiles, by the clock and of the processor's time (all
threads together): on a machine that does other work, the second is what to compare. A hit is the
question of a patch in other words, a miss a question on which a patch is tested to be silent, a hit
of the reasoner a yes-or-no question about a patch. The first token of a stored answer comes with
the whole answer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="atlas")
    parser.add_argument("--patches", type=Path, default=ROOT / "patches")
    parser.add_argument("--n", type=int, default=8, help="questions of each kind")
    parser.add_argument("--max-new-tokens", type=int, default=24)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args(arguments)
    report = measure(options.model, options.patches, options.n, options.max_new_tokens)
    page = markdown(report)
    print(page)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    if options.markdown:
        options.markdown.write_text(page)


def measure(name: str, patches: Path, n: int, new_tokens: int) -> dict[str, Any]:
    """Return the report of a model."""
    import torch

    from errata import EditableModel
    from errata.models.load import load_base

    start = time.perf_counter()
    base, tokenizer = load_base(name)
    memory = {"base model loaded": resident_mb()}
    loaded = time.perf_counter() - start
    model = EditableModel(base, tokenizer, patches=patches)
    questions = questions_of(model, n)
    rows: dict[str, dict[str, Any]] = {}

    def row(title: str, asked: Sequence[str], edits: bool, tokens: int) -> None:
        model.ask(asked[0], edits=edits, max_new_tokens=tokens)
        seconds, cpu, routes = [], [], []
        for question in asked:
            start, cpu_start = time.perf_counter(), time.process_time()
            answer = model.ask(question, edits=edits, max_new_tokens=tokens)
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - cpu_start)
            routes.append(answer.decision.route)
        rows[title] = {
            "n": len(asked), "clock": spread(seconds), "cpu": spread(cpu),
            "routes": {r: routes.count(r) for r in sorted(set(routes))},
        }  # fmt: skip
        memory[title] = resident_mb()

    row("bare: first token", questions["miss"], False, 1)
    row("bare: whole answer", questions["miss"], False, new_tokens)
    row("miss: first token", questions["miss"], True, 1)
    row("miss: whole answer", questions["miss"], True, new_tokens)
    row("hit, stored answer", questions["hit"], True, new_tokens)
    row("hit, reasoner", questions["reasoner"], True, new_tokens)
    for title, found in rows.items():
        compared = "bare: first token" if "first" in title else "bare: whole answer"
        for kind in ("clock", "cpu"):
            found[kind]["ratio"] = round(
                found[kind]["median_ms"] / rows[compared][kind]["median_ms"], 2
            )
    return {
        "model": name, "patches": len(model.edits), "dtype": str(base.dtype),
        "parameters": sum(p.numel() for p in base.parameters()),
        "threads": torch.get_num_threads(), "cpu": processor(), "n": n,
        "max_new_tokens": new_tokens, "seconds_to_load_the_base": round(loaded, 1),
        "rows": rows, "memory_mb": memory,
    }  # fmt: skip


def questions_of(model: Any, n: int) -> dict[str, list[str]]:
    """Return n questions of each kind, of the facts that are in force."""
    from errata import Fact

    facts = [
        edit
        for edit in model.edits
        if isinstance(edit, Fact) and not edit.forget and edit.tests.fires
        and edit.question.isascii()
    ]  # fmt: skip
    step = max(1, len(facts) // n)
    chosen = facts[::step][:n]
    capitals = [fact for fact in facts if fact.question.startswith("What is the capital of")]
    return {
        "hit": [fact.tests.fires[0] for fact in chosen],
        "miss": [fact.tests.silent[0] for fact in chosen],
        "reasoner": [f"Is {f.answer} the capital of {f.subject}?" for f in capitals][:n],
    }


def spread(seconds: Sequence[float]) -> dict[str, Any]:
    """Return median and quartiles in milliseconds."""
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return {
        "median_ms": round(1000 * middle, 1),
        "quartiles_ms": [round(1000 * low, 1), round(1000 * high, 1)],
    }


def resident_mb() -> int:
    """Return the memory of this process in MB; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")


def markdown(report: dict[str, Any]) -> str:
    """Return the report as a page."""
    lines = [
        "# What errata costs a query", "",
        f"{report['model']} ({report['parameters'] / 1e6:.1f} million parameters, "
        f"{report['dtype'].removeprefix('torch.')}), {report['patches']} patches, {report['cpu']}, "
        f"{report['threads']} thread(s), n={report['n']} questions a row, at most "
        f"{report['max_new_tokens']} new tokens, greedy. Made by "
        f"`python benchmarks/latency.py --model {report['model']}`.", "",
        "| | processor's time, ms | quartiles | to the bare model | by the clock, ms | quartiles "
        "| to the bare model | routes |", "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for title, row in report["rows"].items():
        cells = [title]
        for kind in ("cpu", "clock"):
            low, high = row[kind]["quartiles_ms"]
            cells += [
                f"{row[kind]['median_ms']:,.0f}", f"{low:,.0f} to {high:,.0f}",
                f"{row[kind]['ratio']:.2f}",
            ]  # fmt: skip
        cells.append(", ".join(f"{name} {count}" for name, count in row["routes"].items()))
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| memory of the process after | MB |", "|---|---|"]
    lines += [f"| {title} | {value:,} |" for title, value in report["memory_mb"].items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
