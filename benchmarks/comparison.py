"""The published comparison of ways of editing: bench, background, both runs, docs/comparison.md.

    python benchmarks/comparison.py --open FILE --trex FILE [--out runs/comparison]
        [--backends cache,serac,ike,ft,ft-l,lora,rome] [--n 200] [--background 10000]

Makes atlas-bench (test), compares the backends on it with all n edits in force and in a sequence,
then the cache and the other pipelines once more with so many other edits beside them, and writes
the document. What was interrupted goes on where it stopped.

- ``--open``: open questions (JSON lines with ``question``), for locality.
- ``--trex``: facts of T-REx as ``{"relation": "P36", "subject": …, "object": …}``, JSON lines; from
  pararel (https://github.com/yanaiela/pararel, data/trex_lms_vocab). They become edits about
  subjects that neither a case nor an open question names.
- ``--options``: of backends, such as ``{"serac": {"gate": DIR, "reasoner": DIR}}`` for other parts
  than those that come along; chosen on ``errata atlas-bench --split tune``, not here.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from errata.cache.files import dump_file
from errata.cache.records import Fact
from errata.compare.data import load_cases
from errata.gates.data import read_open_questions

ROOT = Path(__file__).parent.parent
PIPELINES = ("cache", "serac", "ike")
QUESTIONS = {
    "P17": "In which country is {}?",
    "P19": "Where was {} born?",
    "P20": "Where did {} die?",
    "P27": "Which country is {} a citizen of?",
    "P30": "On which continent is {}?",
    "P36": "What is the capital of {}?",
    "P37": "What is the official language of {}?",
    "P39": "Which office did {} hold?",
    "P101": "What is {} known for?",
    "P103": "What is the native language of {}?",
    "P106": "What does {} do for a living?",
    "P108": "Who does {} work for?",
    "P127": "Who owns {}?",
    "P131": "In which region is {}?",
    "P136": "Which genre is {}?",
    "P138": "What is {} named after?",
    "P140": "What is the religion of {}?",
    "P159": "Where is the headquarters of {}?",
    "P176": "Who makes {}?",
    "P178": "Who developed {}?",
    "P276": "Where is {}?",
    "P364": "In which language was {} made?",
    "P407": "In which language is {}?",
    "P413": "Which position does {} play?",
    "P449": "Which network first showed {}?",
    "P495": "Which country does {} come from?",
    "P740": "Where was {} founded?",
    "P937": "Where did {} work?",
    "P1303": "Which instrument does {} play?",
    "P1412": "Which language does {} speak?",
}


def background(
    trex: Path, cases: Path, n: int, opens: Sequence[str] = (), seed: int = 0
) -> list[Fact]:
    """Return n edits about subjects that neither a case nor an open question names."""
    opened = gzip.open if trex.suffix == ".gz" else open
    with opened(trex, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    named = {case.edits[0].subject for case in load_cases(cases)}
    asked = " ".join(
        text.casefold()
        for case in load_cases(cases)
        for text in [probe.prompt for probe in case.probes] + [e.question for e in case.edits]
    )
    asked = " ".join((asked, *map(str.casefold, opens)))
    random.Random(f"background/{seed}").shuffle(rows)
    found: dict[str, Fact] = {}
    for row in rows:
        subject, template = row["subject"], QUESTIONS.get(row["relation"])
        if template is None or subject in named or subject.casefold() in asked:
            continue
        question = template.format(subject)
        found.setdefault(question, Fact(question, row["object"], subject=subject))
        if len(found) == n:
            break
    return list(found.values())


def errata(*words: str) -> None:
    """Run the command line."""
    print("$ errata", *words, flush=True)
    subprocess.run([sys.executable, "-m", "errata", *words], check=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--open", type=Path, required=True)
    parser.add_argument("--open-n", default="3000")
    parser.add_argument("--trex", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "comparison")
    parser.add_argument("--backends", default="cache,serac,ike,ft,ft-l,lora,rome")
    parser.add_argument("--n", default="200")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--mode", default="batch,sequential")
    parser.add_argument("--sizes", help="by default n; 1,10,100,200 shows decay, and takes longer")
    parser.add_argument("--background", type=int, default=10_000)
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "comparison.md")
    parser.add_argument("--options", default="{}", help="of backends, as for errata compare")
    parser.add_argument("more", nargs="*", help="more for errata compare, such as -- --gate DIR")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    cases = given.out / "atlas-bench.jsonl"
    if not cases.exists():
        errata("atlas-bench", "--out", str(cases))
    shared = ["--data", str(cases), "--n", given.n, "--seed", given.seeds,
              "--open", str(given.open), "--open-n", given.open_n, *given.more]  # fmt: skip
    main_run = given.out / "edits"
    errata("compare", "--backends", given.backends, "--mode", given.mode, "--options",
           given.options, "--sizes", given.sizes or given.n, "--out", str(main_run),
           *shared)  # fmt: skip
    runs = [str(main_run)]
    pipelines = [name for name in given.backends.split(",") if name in PIPELINES]
    if given.trex and given.background and pipelines:
        beside = given.out / "background.jsonl"
        if not beside.exists():
            opens = read_open_questions(given.open)
            dump_file(background(given.trex, cases, given.background, opens), beside)
        runs.append(str(given.out / f"edits-and-{given.background}"))
        options = {k: v for k, v in json.loads(given.options).items() if k in pipelines}
        errata("compare", "--backends", ",".join(pipelines), "--mode", "batch", "--options",
               json.dumps(options), "--sizes", given.n, "--background", str(beside),
               "--no-controls", "--out", runs[-1], *shared)  # fmt: skip
    errata("report", *runs, "--document", str(given.document))


if __name__ == "__main__":
    main()
