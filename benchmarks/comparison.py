"""The published comparison of ways of editing: bench, background, both runs, results/comparison.md.

    python benchmarks/comparison.py --open FILE --trex FILE [--out runs/comparison]
        [--backends cache,serac,mend,…] [--n 200] [--background 9800]

Makes atlas-bench (test), compares the backends on it with all n edits in force and in a sequence,
then the cache and the other pipelines again with background edits in their caches, and writes the
document. An interrupted run goes on where it stopped.

- ``--backends``: of those of the textbook and the later ones (:data:`BACKENDS`); all of them are
  named in the document's table of words, and those that the run lacks as not measured. Others join
  a run later: call it again with the same other options.
- ``--open``: open questions (JSON lines with ``question``), for locality: all of the test half,
  unless ``--open-n`` says how many of it.
- ``--trex``: facts of T-REx as ``{"relation": "P36", "subject": …, "object": …}``, JSON lines; from
  pararel (https://github.com/yanaiela/pararel, data/trex_lms_vocab). Those of the test half become
  edits, about subjects that neither a case nor an open question names.
- ``--options``: of backends, such as ``{"serac": {"gate": DIR, "reasoner": DIR}}`` for other parts
  than the shipped ones; chosen on ``errata atlas-bench --split tune``.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from errata.cache.errors import ErrataError
from errata.cache.patches.files import dump_file
from errata.cache.records import Fact
from errata.compare.inputs.cases import Case
from errata.compare.inputs.data import read_questions
from errata.compare.inputs.files import load_cases
from errata.gates.data.distractors import hash_half, read_background, unrelated_facts
from errata.gates.data.pairs import open_split

ROOT = Path(__file__).parent.parent
PIPELINES = ("cache", "serac", "ike")
BACKENDS = (
    "serac", "cache:if", "cache:regex", "calinet", "tpatcher", "grace", "enn", "ke", "mend", "kn",
    "rome", "memit", "depn", "ft", "ft-l", "lora", "ike", "alphaedit", "ultraedit", "wise", "cache",
)  # fmt: skip
"""The methods of the field's table (Language Patch is ``cache:if``), then those beside them."""


def background(trex: Path, cases: Path, opens: Path, n: int, seed: int = 0) -> list[Fact]:
    """Return n edits about subjects that neither a case nor an open question names.

    They are of the half of the facts that `errata gate eval` tests gates with; the thresholds of
    gates are calibrated on the other half.

    :raises ErrataError: there are fewer than n.
    """
    queries = [text for case in load_cases(cases) for text in prompts(case)]
    queries += [question for question in read_questions(opens) if open_split(question) == "test"]
    free = list(unrelated_facts(hash_half(read_background(trex), test=True), queries))
    if len(free) < n:
        raise ErrataError(
            f"{trex}: expected {n:,} facts of subjects that no question names, found {len(free):,} "
            "in its test half; pass a smaller --background, or a larger file"
        )
    return random.Random(f"background/{seed}").sample(free, n)


def prompts(case: Case) -> Iterator[str]:
    """Yield every prompt of a case."""
    yield from (edit.question for edit in case.edits)
    for probe in case.probes:
        yield from (text for text in (probe.prompt, probe.false_prompt) if text)
    yield from (preference.prompt for preference in case.preferences)


def errata(*words: str) -> None:
    """Run the command line."""
    print("$ errata", *words, flush=True)
    subprocess.run([sys.executable, "-m", "errata", *words], check=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--open", type=Path)
    parser.add_argument(
        "--open-n", type=int, help="of the open questions; by default all of the test half"
    )
    parser.add_argument("--trex", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "comparison")
    parser.add_argument("--backends", default="cache,serac,ike,ft,ft-l,lora,rome")
    parser.add_argument("--n", default="200")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--mode", default="batch,sequential")
    parser.add_argument("--sizes", help="by default n; 1,10,100,200 shows decay, and takes longer")
    parser.add_argument("--background", type=int, default=9_800, help="with n, 10,000 in a cache")
    parser.add_argument("--document", type=Path, default=ROOT / "results" / "comparison.md")
    parser.add_argument("--latency-cases", type=int, default=20, help="a seed")
    parser.add_argument("--no-controls", action="store_true")
    parser.add_argument("--options", default="{}", help="of backends, as for errata compare")
    parser.add_argument("more", nargs="*", help="more for errata compare, such as -- --model DIR")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    cases, filling = given.out / "atlas-bench.jsonl", given.out / "background.jsonl"
    if not cases.exists():
        errata("atlas-bench", "--out", str(cases))
    pipelines = [name for name in given.backends.split(",") if name in PIPELINES]
    fills = bool(given.trex and given.open and given.background and pipelines)
    if fills and not filling.exists():
        dump_file(background(given.trex, cases, given.open, given.background), filling)
    options = json.loads(given.options)
    config = {
        "data": str(cases), "n": int(given.n), "seeds": _numbers(given.seeds),
        "open_questions": given.open and str(given.open), "n_open_questions": given.open_n,
        "backends": given.backends.split(","), "options": options,
        "controls": not given.no_controls, "latency_cases": given.latency_cases,
        "modes": given.mode.split(","), "sizes": _numbers(given.sizes or given.n),
    }  # fmt: skip
    runs = [compare(given.out / "edits", config, given.more)]
    if fills:
        config |= {
            "backends": pipelines, "controls": False, "modes": ["batch"],
            "sizes": _numbers(given.n), "background": str(filling),
            "options": {name: each for name, each in options.items() if name in pipelines},
        }  # fmt: skip
        runs.append(compare(given.out / f"edits-and-{given.background}", config, given.more))
    named = ",".join(BACKENDS)
    errata("report", *runs, "--document", str(given.document), "--backends", named)


def compare(out: Path, config: Mapping[str, Any], more: Sequence[str]) -> str:
    """Write the config next to the run's folder, and run the comparison; return the folder."""
    path = out.with_suffix(".yaml")
    path.write_text(json.dumps(config, indent=1) + "\n", "utf-8")  # JSON is YAML
    errata("compare", "--config", str(path), "--out", str(out), *more)
    return str(out)


def _numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


if __name__ == "__main__":
    main()
