"""Measure the CPU time of a batch of queries, alone or against another version of the package.

    python benchmarks/batch.py --json now.json
    python benchmarks/batch.py --baseline FOLDER --json ratio.json

One thread, process CPU time, atlas. A round is a batch of other queries than the rounds before, so
that no embedding of it is cached: wordings of facts in force, their aliases, one-hop questions and
questions that nothing governs. Two settings: the shipped patches; these and ``--facts``. With
``--baseline``, a folder on whose path another ``errata`` package lies, both versions get the same
rounds in turns, and the medians of the ratios are printed, each with its range.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

ROOT = Path(__file__).parent.parent
SIZE = 96
"""Queries of a batch."""
FACTS = 1000
"""Of which queries are made; ``--facts`` of them are in force."""
NEW_TOKENS = 16


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baseline", type=Path, help="folder with another errata package")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds of each setting")
    parser.add_argument("--facts", default=f"0,{FACTS}", help="facts in force, of each setting")
    parser.add_argument("--json", type=Path, help="write the measurement here")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.serve:
        serve()
        return
    found: dict[str, Any] = {"size": SIZE, "rounds": chosen.rounds}
    for facts in map(int, chosen.facts.split(",")):
        setting = f"patches and {facts:,} facts" if facts else "patches"
        found[setting] = summary(measure(facts, chosen.rounds, chosen.baseline))
        print(setting, found[setting], file=sys.stderr, flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(json.dumps(found, indent=1))


def measure(facts: int, rounds: int, baseline: Path | None) -> list[list[float]]:
    """Return for each version the seconds of each round.

    :param facts: facts in force beside the patches.
    :param rounds: timed rounds; one before them is not timed.
    :param baseline: folder of another version; None measures this one alone.
    """
    folders = [None] if baseline is None else [None, baseline]
    servers = [start(folder) for folder in folders]
    for server in servers:
        ask(server, {"facts": facts})
    seconds: list[list[float]] = [[] for _ in servers]
    for number in range(rounds + 1):
        turns = list(enumerate(servers))
        for version, server in turns if number % 2 else reversed(turns):
            taken = ask(server, {"round": number})
            if number:
                seconds[version].append(taken)
    for server in servers:
        server.communicate()
    return seconds


def summary(seconds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the median milliseconds of this version, and its ratios to the baseline."""
    now = seconds[0]
    found: dict[str, Any] = {"milliseconds": round(1000 * statistics.median(now), 1)}
    if len(seconds) > 1:
        ratios = sorted(a / b for a, b in zip(now, seconds[1], strict=True))
        found["baseline"] = round(1000 * statistics.median(seconds[1]), 1)
        found["ratio"] = round(statistics.median(ratios), 3)
        found["range"] = [round(ratios[0], 3), round(ratios[-1], 3)]
    return found


# -- one version, in a process of its own -------------------------------------------------------


def start(folder: Path | None) -> subprocess.Popen[str]:
    """Return a process that measures one version.

    :param folder: put in front of the path; None: the version that runs this.
    """
    path = os.environ.get("PYTHONPATH", "")
    if folder is not None:
        path = f"{folder.resolve()}{os.pathsep}{path}"
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--serve"]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ask(server: subprocess.Popen[str], request: dict[str, Any]) -> float:
    """Return a process's answer to a request."""
    stdin, stdout = cast(IO[str], server.stdin), cast(IO[str], server.stdout)
    stdin.write(json.dumps(request) + "\n")
    stdin.flush()
    return float(stdout.readline())


def serve() -> None:
    """Answer requests on standard input: load, then the seconds of each round."""
    import torch

    from errata import EditableModel

    torch.set_num_threads(1)
    requests = (json.loads(line) for line in sys.stdin)
    facts = next(requests)["facts"]
    with EditableModel.from_pretrained("atlas", patches=ROOT / "patches") as model:
        edits, queries = material(facts)
        model.edit(edits)
        print(0.0, flush=True)
        for _ in requests:
            batch = list(itertools.islice(queries, SIZE))
            began = time.process_time()
            model.ask_many(batch, max_new_tokens=NEW_TOKENS)
            print(time.process_time() - began, flush=True)


def material(facts: int) -> tuple[list[Any], Iterator[str]]:
    """Return the edits, and queries without end, no two alike."""
    from errata import Fact
    from errata.facts import FactSource, fill

    source = FactSource.load()
    relations = source.relations
    rows = [row for row in source.facts if not relations[row.relation].chinese][::3][:FACTS]
    edits = [
        Fact(
            fill(relations[row.relation].questions[0], row.subject),
            row.object,
            subject=row.subject,
            id=f"batch-{place}",  # not the id of a shipped patch
        )
        for place, row in enumerate(rows[:facts])
    ]
    return edits, different(query_of(source, row, n) for n, row in enumerate(itertools.cycle(rows)))


def different(texts: Iterator[str]) -> Iterator[str]:
    """Yield every text once."""
    seen: set[str] = set()
    for text in texts:
        if text not in seen:
            seen.add(text)
            yield text


def query_of(source: Any, row: Any, number: int) -> str:
    """Return a query about a fact's subject: of eight one by an alias, two one-hop, three others.

    :param source: the facts table.
    :param row: the fact; a query of one of the first three kinds needs more of the table than
        every subject has, and is one in other words where it is missing.
    :param number: chooses kind and wording.
    """
    from errata.facts import fill, nested

    kind, turn = number % 8, number // 8
    relation = source.relations[row.relation]
    names = source.aliases.get(row.subject, ())
    if kind == 0 and names:
        return str(fill(relation.questions[turn % len(relation.questions)], names[0]))
    further = [one for one in source.facts if one.subject == row.object]
    if kind in (1, 2) and further and relation.descriptor:
        questions = source.relations[further[0].relation].questions
        return str(nested(questions[turn % len(questions)], relation.descriptor[0], row.subject))
    others = [o for o in source.facts if o.subject == row.subject and o.relation != row.relation]
    if kind in (3, 4, 5) and others:
        relation = source.relations[others[turn % len(others)].relation]
    wordings = (*relation.questions_held_out, *relation.questions[1:])
    return str(fill(wordings[turn % len(wordings)], row.subject))


if __name__ == "__main__":
    main()
