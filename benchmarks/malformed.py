"""Read malformed patch files by the thousand: no crash, no hang, every error with file and line.

    python benchmarks/malformed.py [--files 100000] [--seed 0] [--json FILE]

Files are mutations of good ones (of the shipped patches and of JSON lines): characters, lines and
bytes deleted, doubled, swapped and replaced by what parsers stumble over. Each is put beside a good
file and read by a cache that has the good set: a refused one must name its file and line and leave
the good set in force. A file that takes more than a second of the processor counts as a hang.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.progress import track

from errata.cache.errors import PatchFolderError
from errata.cache.patches.files import load_folder
from errata.cache.records import Edit

ROOT = Path(__file__).parent.parent
GOOD = "- {question: Who wrote Emma?, answer: Jane Austen}\n"
LINE = (
    '{"question": "What is 1.10?", "answer": 007, "tests": {"fires": ["a"], "silent": ["b"]}, '
    '"tags": ["x"], "priority": 3, "until": "2027-01-01"}\n'
)
STUMBLES = [
    ":", ": ", "- ", "[", "]", "{", "}", "'", '"', "#", "&a ", "*a", "!!python/object:x ", "!x ",
    "|", ">", "%", "@", "`", "\t", "\n", "\r", "\r\n", "---\n", "...\n", "<<: *a", "? ", "\\", "\0",
    "\x07", "\x85", "\u2028", "\ufeff", "\\ud800", "é", "界", "😀", "null", "~", "1e999", "NaN",
    "0x1F", "[" * 50, "- " * 50, "{a: " * 50, "x" * 5000, "&a [*a]", '"\\u', "\\x", ",", "=",
]  # fmt: skip
HANG = 1.0
"""Seconds of the processor."""


def seeds() -> list[tuple[str, str]]:
    """Return suffix and text of good files."""
    shipped = sorted((ROOT / "patches").glob("*.yaml"))
    texts = [(".yaml", "\n".join(f.read_text("utf-8").split("\n")[:40])) for f in shipped]
    return [*texts, (".yaml", GOOD * 3), (".jsonl", LINE * 4)]


def mutated(text: str, chance: random.Random) -> bytes:
    """Return a text with one to four mutations."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text) + 1)
        end = min(len(text), at + chance.choice((0, 1, 1, 2, 5, 20)))
        lines = text.split("\n")
        kind = chance.randrange(6)
        if kind < 3:
            text = text[:at] + chance.choice(STUMBLES) + text[end:]
        elif kind == 3:
            text = text[:at] + text[end:]
        elif kind == 4:
            line = chance.randrange(len(lines))
            lines[line:line] = [lines[chance.randrange(len(lines))]] * chance.choice((1, 1, 3))
            text = "\n".join(lines)
        else:
            line = chance.randrange(len(lines))
            lines[line] = " " * chance.randrange(5) + lines[line].strip()
            text = "\n".join(lines)
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if data and chance.random() < 0.1:
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def judge(folder: Path, file: Path, good: Sequence[Edit]) -> str:
    """Return what became of a folder with a mutated file: ``read``, ``refused``, or what is wrong.

    :param folder: holds ``good.yaml``, and the file.
    :param file: the mutated file.
    :param good: the edits of ``good.yaml``.
    """
    start = time.process_time()
    try:
        edits = load_folder(folder)
    except PatchFolderError as error:
        unplaced = [one for one in error.problems if one.where is None or one.where.line < 1]
        if unplaced:
            return f"no file and line: {unplaced[0]}"
        lines = file.read_bytes().count(b"\n") + file.read_bytes().count(b"\r") + 1
        far = [o for o in error.problems if o.where and o.where.path == str(file)
               and o.where.line > lines]  # fmt: skip
        if far:
            return f"a line that is not there: {far[0]}"
        found = "refused"
    except Exception as error:
        return f"crash: {type(error).__name__}: {error}"[:300]
    else:
        found = "read" if set(good) <= set(edits) else "the good file is lost"
    spent = time.process_time() - start
    return found if spent < HANG else f"hang: {spent:.1f} s"


def run(
    count: int, seed: int, folder: Path, tick: Callable[[Sequence[int]], Iterable[int]]
) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Return how often each outcome came, and the faults with the number of their file.

    :param count: files to make.
    :param seed: of the first; each is made of its own number, so that one can be made again.
    :param folder: where to write them.
    :param tick: shows progress.
    """
    (folder / "good.yaml").write_text(GOOD)
    good = load_folder(folder)
    kinds = seeds()
    outcomes: Counter[str] = Counter()
    faults = []
    for number in tick(range(seed, seed + count)):
        chance = random.Random(number)
        suffix, text = chance.choice(kinds)
        file = folder / f"mutated{suffix}"
        file.write_bytes(mutated(text, chance))
        outcome = judge(folder, file, good)
        outcomes[outcome if outcome in ("read", "refused") else outcome.split(":")[0]] += 1
        if outcome not in ("read", "refused"):
            faults.append((number, outcome))
        file.unlink()
    return outcomes, faults


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        outcomes, faults = run(
            options.files, options.seed, Path(folder), lambda numbers: track(numbers, "reading")
        )
    spent = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for number, fault in faults[:50]:
        print(f"file {number}: {fault}")
    counts = ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common())
    print(f"{options.files:,} files: {counts}; {spent:.0f} s of the processor, {peak:.0f} MiB")
    if options.json:
        body = {
            "files": options.files, "seed": options.seed, "outcomes": dict(outcomes),
            "faults": faults, "seconds": round(spent, 1), "peak_mib": round(peak),
        }  # fmt: skip
        options.json.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
