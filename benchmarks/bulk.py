"""Bulk facts end to end: 100,000 JSON lines, read, checked, encoded, indexed, asked.

    python benchmarks/bulk.py [--facts 100000] [--encoder none] [--json FILE]

Prints seconds and the peak of resident memory after each stage. ``--encoder none`` takes vectors
that cost nothing, to measure errata alone. Run again with ``--folder`` to see the next start.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from errata.cache.encoder import Encoder, encode_query
from errata.cache.patches.files import load_folder
from errata.cache.records import Vector
from errata.cache.store import EditCache
from errata.commands.progress import working


class RandomEncoder:
    """Vectors of no meaning, the same for a text each time, that cost nothing."""

    dimension = 384
    fingerprint = "random"

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, 384]."""
        made = [np.random.default_rng(abs(hash(text))).normal(size=384) for text in texts]
        rows = np.array(made, dtype=np.float32).reshape(len(texts), 384)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def unknown_share(self, texts: Sequence[str]) -> np.ndarray:
        """Return zeros."""
        return np.zeros(len(texts))

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text."""
        return (text,)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=100_000)
    parser.add_argument("--encoder", choices=("default", "none"), default="default")
    parser.add_argument("--folder", type=Path, help="kept; a new one is deleted")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    stages: list[dict[str, object]] = []

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        row = {"stage": name, "seconds": round(time.perf_counter() - start, 2),
               "peak_mib": round(peak)}  # fmt: skip
        stages.append(row)
        print(f"{name:28} {row['seconds']:9.2f} s   peak {peak:7,.0f} MiB", flush=True)

    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        patches = folder / "patches"
        patches.mkdir(parents=True, exist_ok=True)
        with stage("write the file"), (patches / "bulk.jsonl").open("w") as file:
            for number in range(options.facts):
                fact = {"question": f"What is the code of site {number}?", "answer": f"S-{number}"}
                file.write(json.dumps(fact) + "\n")
        with stage("load the encoder"):
            encoder: Encoder
            if options.encoder == "none":
                encoder = RandomEncoder()
            else:
                from errata.encoder import SentenceEncoder

                encoder = SentenceEncoder()
                encoder.encode(["a"])
        with stage("read and check the file"):
            edits = load_folder(patches)
        with stage("encode and index"), working("opening the cache"):
            cache = EditCache(encoder, folder / "cache")
            cache.set_files(edits)
            view = cache.view()
        last = f"What is the code of site {options.facts - 1}?"
        with stage("ask"):
            hit = view.search([encode_query(encoder, last)])[0][0]
        if hit.edit.scope != last:
            raise SystemExit(f"expected {last!r} to be found, found {hit.edit.scope!r}")
        with stage("close"):
            cache.close()
    if options.json:
        body = {"facts": options.facts, "encoder": options.encoder, "stages": stages}
        options.json.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
