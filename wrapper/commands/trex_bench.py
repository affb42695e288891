"""``errata trex-bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from errata.commands.options import AsJson
from errata.commands.output import print_json, print_line, reports_errors

FORMATS = ("counterfact", "zsre", "rippleedits")


@reports_errors
def trex_bench(
    facts: Annotated[
        Path, typer.Option("--facts", metavar="FILE", help="JSON lines relation, subject, object.")
    ],
    patterns: Annotated[
        Path, typer.Option("--patterns", metavar="FILE", help="JSON lines relation, pattern.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Records of a format, at most.")] = 300,
    seed: Annotated[int, typer.Option("--seed", help="Of everything drawn.")] = 0,
    split: Annotated[str, typer.Option("--split", help="train or test.")] = "test",
    as_json: AsJson = False,
) -> None:
    """Make records of CounterFact's, zsRE's and RippleEdits' form of T-REx facts.

    Relations and subjects are of one split. Each record edits a fact of a
    subject; its texts ask the same in other words, name the subject and say
    another thing, or lead one step further ("The capital of the country of
    citizenship of X is"). `errata compare` and `errata gate eval` read them.

    Example:
        errata trex-bench --facts trex_facts.jsonl.gz --patterns trex_patterns.jsonl.gz
          --out records/
    """
    import json

    from errata.cache.errors import ErrataError
    from errata.cache.storage.atomic import write_atomically
    from errata.gates.data.trex import TrexRecords, read_trex

    if split not in ("train", "test"):
        raise ErrataError(f"expected --split train or test, found {split!r}; name one of them")
    made = TrexRecords(read_trex(facts, patterns), split, seed)  # type: ignore[arg-type]  # checked
    out.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name in FORMATS:
        records = getattr(made, name)(n)
        counts[name] = len(records)
        text = json.dumps(records, indent=1, ensure_ascii=False)
        write_atomically(out / f"{name}.json", (text + "\n").encode())
    if as_json:
        print_json({"out": str(out), "split": split, "seed": seed, "records": counts})
        return
    for name, count in counts.items():
        print_line(f"{out / f'{name}.json'}: {count:,} records of {split} relations and subjects")
