"""``errata check --changed-since`` against a full check, on many facts with one changed file.

    python benchmarks/check.py [--facts 10000] [--files 100] [--changed 1] [--json FILE]

Writes a repository of JSON lines, one fact a question of invented places, and commits it; then the
answers of one file change. Checked are, with the model and the gate, what changed (``cold``: no
encoding is kept yet), everything, and what changed once more (``changed``), as after a first check.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from errata.cache.storage.user_cache import CACHE_VARIABLE

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


def check(folder: Path, model: str, since: bool, kept: Path) -> dict[str, Any]:
    """Run ``errata check``; return what it found, and its seconds, start included.

    :param folder: the patches.
    :param model: the model's name.
    :param since: only what changed since the commit.
    :param kept: where encodings are kept.
    """
    command = [sys.executable, "-m", "errata", "check", str(folder), "--model", model, "--json"]
    command += ["--changed-since", "HEAD"] if since else []
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, CACHE_VARIABLE: str(kept)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "tests": found["tests"],
        "errors": found["errors"],
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(cpu, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--changed", type=int, default=1)
    parser.add_argument("--model", default="atlas")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    spent: dict[str, float] = {}
    body: dict[str, object] = {"facts": options.facts, "files": options.files}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write(folder, options.facts, options.files, 0)
        git(folder, "init", "-q")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", "facts")
        write(folder, options.facts, options.files, options.changed)
        kept = folder / ".git" / "errata-cache"
        for kind, since in (("cold", True), ("full", False), ("changed", True)):
            if kind == "full":
                shutil.rmtree(kept)
            report = check(folder, options.model, since, kept)
            spent[kind] = report["processor_seconds"]
            body[kind] = report
            print(f"{kind}: {body[kind]}", flush=True)
    for kind in ("cold", "changed"):
        body[f"share_{kind}"] = round(spent[kind] / spent["full"], 4)
        print(f"{kind}: {spent[kind] / spent['full']:.1%} of a full check's processor seconds")
    if options.json:
        options.json.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
