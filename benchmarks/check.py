"""``errata check --changed-since`` against a full check, on many facts with one changed file.

    python benchmarks/check.py [--facts 10000] [--files 100] [--changed 1] [--json FILE]

Writes a repository of JSON lines, one fact a question of invented places, checks all of it, then
changes the answers of one file and checks what changed; both with the model and the gate.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from errata.commands.opening import open_model
from errata.commands.progress import progress
from errata.patch_tests.check import Selection, check_folder

ASKED = ("capital", "currency", "largest city", "head of state", "national dish")
SYLLABLES = ("ba", "ku", "mor", "ten", "il", "sar", "vo", "len", "dra", "pi", "gon", "eth")


def name(number: int) -> str:
    """Return an invented name of a number."""
    parts = [SYLLABLES[(number // 12**place) % 12] for place in range(4)]
    return "".join(parts).capitalize()


def write(folder: Path, facts: int, files: int, changed: int) -> None:
    """Write the facts; those of the first files with another answer.

    :param changed: how many files differ from the first writing.
    """
    for at in range(files):
        lines = []
        for number in range(at, facts, files):
            question = f"What is the {ASKED[number % 5]} of {name(number // 5)}?"
            answer = f"{name(number + 7)}{' City' if at < changed else ''}"
            lines.append(json.dumps({"question": question, "answer": answer}) + "\n")
        (folder / f"facts{at:04}.jsonl").write_text("".join(lines))


def git(folder: Path, *arguments: str) -> None:
    """Run git."""
    who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--changed", type=int, default=1)
    parser.add_argument("--model", default="atlas")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    body: dict[str, object] = {"facts": options.facts, "files": options.files}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write(folder, options.facts, options.files, 0)
        git(folder, "init", "-q")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", "facts")
        for kind, selection in (("changed", Selection(None, "HEAD")), ("full", Selection())):
            write(folder, options.facts, options.files, options.changed)
            wall, cpu = time.perf_counter(), time.process_time()
            report = check_folder(
                folder, lambda where: open_model(options.model, where), selection,
                progress=progress,
            )  # fmt: skip
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            body[kind] = {
                "tests": len(report.results), "errors": report.count("error"),
                "seconds": round(wall, 1), "processor_seconds": round(cpu, 1),
            }  # fmt: skip
            print(f"{kind}: {body[kind]}", flush=True)
            if kind == "changed":
                changed_cpu = cpu
        body["share"] = round(changed_cpu / cpu, 4)
    print(f"a check of what changed takes {body['share']:.1%} of a full one (processor seconds)")
    if options.json:
        options.json.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
