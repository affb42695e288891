"""Time of the output filter against the length of the text, whole and streamed.

    python benchmarks/filter_time.py [--lengths 1000,10000,100000] [--repeats 3] [--json FILE]
        [--out results/filter_time.md]

Rows: regex patches alone, a guard of one plain and seven hashed secrets alone, and both. Text: of
so many characters with a match in every 24; and of so many matches (of one character each, a
pattern of one space). Streamed: in pieces of four characters, as tokens are. Times are the
processor's, the least of the repeats; *per character* is what a straight line keeps constant.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from errata.cache.filters.stream import FilterStream
from errata.cache.filters.text_filter import Filter
from errata.cache.patches.files import load_file
from errata.cache.records import Fact, RegexPatch
from errata.cache.storage.atomic import write_atomically

ROOT = Path(__file__).parent.parent
PATTERNS = (
    RegexPatch(r"\bSwaziland\b", "Eswatini", max_length=9),
    RegexPatch(r"[0-9]+", r"<\g<0>>", max_length=20),
    RegexPatch(r"(?i)\bcolou?r\b", "hue"),
)
SENTENCE = "12 people of Swaziland. "


def filters() -> dict[str, Filter]:
    """Return the filters to time."""
    edits = load_file(ROOT / "patches" / "privacy.yaml")
    facts = [edit for edit in edits if isinstance(edit, Fact) and edit.forget]
    return {
        "patterns": Filter("output", PATTERNS),
        "secrets": Filter("output", (), facts),
        "both": Filter("output", PATTERNS, facts),
    }


def stream(chosen: Filter, text: str) -> None:
    """Send a text through a filter in pieces."""
    running = FilterStream(chosen)
    for start in range(0, len(text), 4):
        running.feed(text[start : start + 4])
    running.finish()


def seconds(action: Callable[[], object], repeats: int) -> float:
    """Return the processor's time of an action, the least of several."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        found.append(time.process_time() - start)
    return min(found)


@dataclass(frozen=True, slots=True)
class Row:
    """The seconds of one filter by length."""

    name: str
    streamed: bool
    seconds: list[float]


def measure(lengths: Sequence[int], repeats: int) -> list[Row]:
    """Return a row for each filter, text and way."""
    cases = [(name, chosen, SENTENCE) for name, chosen in filters().items()]
    spaces = Filter("output", [RegexPatch(" ", "_", max_length=1)])
    cases.append(("a match a character", spaces, " "))
    rows: list[Row] = []
    for name, chosen, unit in cases:
        for streamed in (False, True):
            times = []
            for length in lengths:
                text = (unit * (length // len(unit) + 1))[:length]
                run = stream if streamed else Filter.apply
                times.append(seconds(partial(run, chosen, text), repeats))
            rows.append(Row(name, streamed, times))
    return rows


def markdown(rows: Sequence[Row], lengths: Sequence[int]) -> str:
    """Return the rows as Markdown."""
    head = " | ".join(f"{length:,}" for length in lengths)
    lines = [
        "# Time of the output filter against length",
        "",
        "Made by `python benchmarks/filter_time.py` in one run: seconds of the processor, and in "
        "brackets microseconds a character. What the rows are stands in the script.",
        "",
        f"| filter | | {head} |",
        "|---|---|" + "---|" * len(lengths),
    ]
    for row in rows:
        pairs = zip(row.seconds, lengths, strict=True)
        cells = " | ".join(f"{time:.4f} ({1e6 * time / n:.1f})" for time, n in pairs)
        lines.append(f"| {row.name} | {'streamed' if row.streamed else 'whole'} | {cells} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", default="1000,10000,100000")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "filter_time.md")
    given = parser.parse_args(arguments)
    lengths = [int(length) for length in given.lengths.split(",")]
    rows = measure(lengths, given.repeats)
    if given.json is not None:
        write_atomically(
            given.json, json.dumps({"lengths": lengths, "rows": list(map(asdict, rows))}).encode()
        )
    page = markdown(rows, lengths)
    write_atomically(given.out, page.encode())
    print(page)


if __name__ == "__main__":
    main()
