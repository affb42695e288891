"""The edit cache from a thousand vectors to a million: one table, encodings given.

    python benchmarks/scale.py [--sizes 1000,10000,100000,1000000,250000x3]
        [--json FILE] [--markdown FILE] [--folder DIR]

``250000x3`` is 250,000 edits of three examples each, a million vectors as well. Each size is built
in one process and opened in another; a size that the JSON file has already is not measured again.

The facts are invented: a relation of a name of two words. Their encodings are given: hashed bags
of words (:class:`WordEncoder`), in which questions of one relation lie together, and so do those of
one name, as they do in a trained encoder. The time to make them is subtracted. A query words its
question as no edit does. Exact are the candidates by inner product over all vectors.

Seconds are by the clock, and in brackets of the processor: the machine may do other work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from errata.cache.encoder import encode_queries
from errata.cache.records import Fact, PatchTests, Query, Vector
from errata.cache.store import EditCache
from errata.commands.progress import progress
from errata.pipelines.base import ScopedView, decide_by_gate

CANDIDATES = 16
QUERIES = 300
CHANGES = 20
BATCH = 10_000
RELATIONS = (
    "capital mayor currency language anthem motto founder patron river height population climate "
    "dialect emblem harbour airport museum theatre market bridge tower festival dish newspaper "
    "architect treasurer registrar archive postcode timetable charter tariff beacon quarry orchard "
    "observatory ferry reservoir foundry lighthouse"
).split()
ASKED = "Could you say what the {relation} of {name} is?"
FORMS = (
    "What is the {relation} of {name}?",
    "Tell me the {relation} of {name}.",
    "Which {relation} does {name} have?",
    "{name}: its {relation}?",
)


class WordEncoder:
    """Hashed bags of words: two rows of a fixed random table for each word, rare words most.

    :param dimension: width of the vectors.
    """

    fingerprint = "words-384"
    common = frozenset("what is the of tell me which does have its could you say".split())

    def __init__(self, dimension: int = 384) -> None:
        self.dimension = dimension
        self.seconds, self.cpu = 0.0, 0.0
        rows = np.random.default_rng(0).normal(size=(4096, dimension))
        self._rows = (rows / np.sqrt(dimension)).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, d], rows of length 1."""
        start, cpu = time.perf_counter(), time.process_time()
        words, weights, starts = list[int](), list[float](), list[int]()
        for text in texts:
            starts.append(len(words))
            for word in text.casefold().replace("?", "").replace(".", "").replace(":", "").split():
                code = zlib.crc32(word.encode())
                words += (code & 4095, code >> 12 & 4095)
                weights += (0.25 if word in self.common else 1.0,) * 2
        made = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if texts:
            rows = self._rows[words] * np.array(weights, dtype=np.float32)[:, None]
            made = np.add.reduceat(rows, starts, axis=0)
            made /= np.linalg.norm(made, axis=1, keepdims=True)
        self.seconds += time.perf_counter() - start
        self.cpu += time.process_time() - cpu
        return made

    def unknown_share(self, texts: Sequence[str]) -> np.ndarray:
        """Return zeros, float64 [n]."""
        return np.zeros(len(texts))

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text."""
        return (text,)


def fact(number: int, examples: int, answer: str = "") -> Fact:
    """Return the fact of a number: every relation of the first name, then of the second."""
    relation = RELATIONS[number % len(RELATIONS)]
    texts = [form.format(relation=relation, name=name_of(number)) for form in FORMS]
    tests = PatchTests(fires=tuple(texts[1 : 1 + examples]))
    return Fact(texts[0], answer or word_of(number * 31 + 7), tests=tests)


def name_of(number: int) -> str:
    """Return the name of two words that a fact is about."""
    at = number // len(RELATIONS)
    return f"{word_of(at % 5003).capitalize()} {word_of(at // 7 + 5003).capitalize()}"


def word_of(number: int) -> str:
    """Return an invented word, another one for each number."""
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    word = ""
    number = (number * 2_654_435_761 + 97) % 24_010_000
    for _ in range(4):
        number, at = divmod(number, len(syllables))
        word += syllables[at]
    return word


def build(folder: Path, edits: int, examples: int) -> dict[str, Any]:
    """Add the edits in batches and close; return seconds, bytes and the peak of memory."""
    encoder = WordEncoder()
    cache = EditCache(encoder, folder)
    before = resident()
    peak, wall, cpu = 0, 0.0, 0.0
    with progress("adding", edits) as advance:
        for first in range(0, edits, BATCH):
            facts = [fact(n, examples) for n in range(first, min(edits, first + BATCH))]
            start = clocks()
            cache.add(facts)
            wall, cpu = wall + since(start)[0], cpu + since(start)[1]
            peak = max(peak, resident())
            advance(len(facts))
    added = wall - encoder.seconds, cpu - encoder.cpu
    cache.view()
    start = clocks()
    cache.close()
    closed = since(start)
    disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {"add": added, "close": closed, "disk": disk, "building": peak - before}


def serve(folder: Path, edits: int, examples: int) -> dict[str, Any]:
    """Open the cache, ask, change; return seconds, memory and the share of queries answered."""
    encoder = WordEncoder()
    texts, right = queries(edits, examples)
    asked = encode_queries(encoder, texts)
    before = resident()
    start = clocks()
    cache = EditCache(encoder, folder)
    cache.view().search(asked[:1], CANDIDATES)
    opened = since(start)
    held = resident() - before
    view = cache.view()
    found = [[hit.edit.id for hit in view.search([one], CANDIDATES)[0]] for one in asked]
    search = median(lambda at: view.search([asked[at]], CANDIDATES), len(asked))
    decide = median(decider(cache, asked), len(asked))
    serving = resident() - before
    exact = nearest(encoder, asked, edits, examples)
    hits = [(key in ids, key in best) for key, ids, best in zip(right, found, exact, strict=True)]
    made = [fact(n, 0, f"changed {n}") for n in random.Random(1).sample(range(edits), CHANGES)]

    def change(at: int) -> None:
        cache.add([made[at]])
        if cache.view().by_id.get(made[at].id) is None:
            raise SystemExit("expected the changed edit in the view")

    changed = median(change, CHANGES)
    start = clocks()
    cache.close()
    return {
        "open": opened, "search": search, "decide": decide, "changed": changed,
        "held": held, "serving": serving, "n": len(hits), "close_again": since(start),
        "found": sum(ours for ours, _ in hits), "exact": sum(best for _, best in hits),
        "found_of_exact": sum(ours and best for ours, best in hits),
    }  # fmt: skip


def decider(cache: EditCache, asked: Sequence[Query]) -> Callable[[int], object]:
    """Return a function that decides about a query by a threshold on the cosine."""
    from errata.gates.cosine import CosineGate

    gate = CosineGate(cache.encoder, 0.8)
    view = ScopedView(cache.view(), cache.encoder, lambda edit: True)
    return lambda at: decide_by_gate(gate, [asked[at]], view, CANDIDATES)


def queries(edits: int, examples: int) -> tuple[list[str], list[str]]:
    """Return questions in words that no edit has, and the ids of the edits they ask for."""
    numbers = random.Random(0).sample(range(edits), min(QUERIES, edits))
    texts = [ASKED.format(relation=RELATIONS[n % len(RELATIONS)], name=name_of(n)) for n in numbers]
    return texts, [fact(n, examples).id for n in numbers]


def nearest(
    encoder: WordEncoder, asked: Sequence[Query], edits: int, examples: int
) -> list[set[str]]:
    """Return of each query the ids of the nearest edits by all vectors, candidates as many."""
    matrix = np.concatenate([one.vectors for one in asked])
    best: list[list[tuple[float, int]]] = [[] for _ in asked]
    for first in range(0, edits, BATCH):
        numbers = range(first, min(edits, first + BATCH))
        texts = [[*dict.fromkeys(fact(n, examples).examples)] for n in numbers]
        rows = encoder.encode([text for each in texts for text in each])
        starts = np.cumsum([0, *map(len, texts)])[:-1]
        scores = np.maximum.reduceat(matrix @ rows.T, starts, axis=1)
        for row, kept in zip(scores, best, strict=True):
            top = np.argsort(-row)[:CANDIDATES]
            kept += [(float(row[at]), numbers[at]) for at in top.tolist()]
            kept.sort(reverse=True)
            del kept[CANDIDATES:]
    return [{fact(number, examples).id for _, number in kept} for kept in best]


def median(action: Callable[[int], object], count: int) -> tuple[float, float]:
    """Return the median seconds of an action, by the clock and of the processor."""
    measured = []
    for at in range(count):
        start = clocks()
        action(at)
        measured.append(since(start))
    walls, cpus = zip(*measured, strict=True)
    return statistics.median(walls), statistics.median(cpus)


def clocks() -> tuple[float, float]:
    """Return the clock and the processor time of this process."""
    return time.perf_counter(), time.process_time()


def since(start: tuple[float, float]) -> tuple[float, float]:
    """Return the seconds since :func:`clocks`."""
    return time.perf_counter() - start[0], time.process_time() - start[1]


def resident() -> int:
    """Return the bytes of memory that are resident now, files that are mapped included."""
    pages = Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def measured(size: str, parent: Path) -> dict[str, Any]:
    """Return the figures of a size, from two processes."""
    row: dict[str, Any] = {"size": size}
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        for stage in ("build", "serve"):
            command = [sys.executable, __file__, "--stage", stage, "--sizes", size]
            out = subprocess.run(
                [*command, "--folder", folder], stdout=subprocess.PIPE, check=True, text=True
            )
            row |= json.loads(out.stdout.splitlines()[-1])
    return row


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table, one column a size."""
    lines = ["| | " + " | ".join(label(row["size"]) for row in rows) + " |"]
    lines.append("|---|" + "---:|" * len(rows))
    for name, cell in CELLS.items():
        lines.append(f"| {name} | " + " | ".join(cell(row) for row in rows) + " |")
    return "\n".join(lines) + "\n"


def label(size: str) -> str:
    """Return a size as a heading."""
    edits, examples = parsed(size)
    return f"{edits:,} edits" + (f" of {examples} examples" if examples else "")


def parsed(size: str) -> tuple[int, int]:
    """Return the numbers of edits and of examples of each."""
    edits, _, examples = size.partition("x")
    return int(edits), int(examples or 0)


def per_second(row: dict[str, Any]) -> str:
    """Return the edits added a second, by the clock and by processor time."""
    return f"{each(row, 1) / row['add'][0]:,.0f} ({each(row, 1) / row['add'][1]:,.0f})"


def each(row: dict[str, Any], value: float) -> float:
    """Return a value times the number of edits."""
    return value * parsed(row["size"])[0]


def seconds(key: str, unit: str = "s", scale: float = 1.0) -> Callable[[dict[str, Any]], str]:
    """Return a cell of two times."""
    return lambda row: f"{row[key][0] * scale:,.2f} ({row[key][1] * scale:,.2f}) {unit}"


CELLS: dict[str, Callable[[dict[str, Any]], str]] = {
    "vectors": lambda row: f"{parsed(row['size'])[0] * (1 + parsed(row['size'])[1]):,}",
    "added a second": per_second,
    "memory while adding, an edit": lambda row: f"{row['building'] / each(row, 1):,.0f} B",
    "close": seconds("close"),
    "open to the first answer": seconds("open"),
    "disk, an edit": lambda row: f"{row['disk'] / each(row, 1):,.0f} B",
    "memory after the first answer, an edit": lambda row: f"{row['held'] / each(row, 1):,.0f} B",
    "memory after 900 queries, an edit": lambda row: f"{row['serving'] / each(row, 1):,.0f} B",
    "one changed edit to visible, p50": seconds("changed", "ms", 1e3),
    "search, p50": seconds("search", "ms", 1e3),
    "search and decision, p50": seconds("decide", "ms", 1e3),
    "right edit among the candidates": lambda row: f"{row['found']} of {row['n']}",
    "the same, exact": lambda row: f"{row['exact']} of {row['n']}",
    "found of those that exact finds": lambda row: (
        f"{row['found_of_exact'] / max(1, row['exact']):.3f}"
    ),
}


def done(path: Path | None) -> Iterator[dict[str, Any]]:
    """Yield the rows that are in the JSON file already."""
    if path is not None and path.exists():
        yield from json.loads(path.read_text(encoding="utf-8"))["rows"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000,1000000,250000x3")
    parser.add_argument("--folder", type=Path, help="where the caches are made; deleted after")
    parser.add_argument("--stage", choices=("build", "serve"), help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args(arguments)
    if options.stage:
        stage = build if options.stage == "build" else serve
        print(json.dumps(stage(options.folder, *parsed(options.sizes))))
        return
    rows = {row["size"]: row for row in done(options.json)}
    for size in options.sizes.split(","):
        if size not in rows:
            print(f"{label(size)} …", file=sys.stderr, flush=True)
            rows[size] = measured(size, options.folder or Path(tempfile.gettempdir()))
        if options.json:
            body = json.dumps({"rows": list(rows.values())}, indent=1)
            options.json.write_text(body + "\n", encoding="utf-8")
    page = table(list(rows.values()))
    print(page)
    if options.markdown:
        options.markdown.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
