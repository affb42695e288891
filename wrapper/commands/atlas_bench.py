"""``errata atlas-bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from errata.commands.options import AsJson
from errata.commands.output import print_json, print_line, reports_errors
from errata.commands.progress import working


@reports_errors
def atlas_bench(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="JSON lines to write.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Cases, at most.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of everything drawn.")] = 0,
    split: Annotated[str, typer.Option("--split", help="Of the subjects: tune or test.")] = "test",
    facts: Annotated[
        Path | None,
        typer.Option("--facts", metavar="DIR", help="Your facts.tsv, templates.yaml, aliases.tsv."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a set of edits and questions from atlas' facts, to compare ways of editing on.

    Each case gives a fact a new object of the right type. Its probes: the
    question, phrasings held out of training, aliases of the subject, the
    reversed relation, one and two hops, yes or no, the other language where
    the table has it, and neighbours that must not change. Subjects and
    objects are of one split and were never trained on. No probe depends on a
    fact that another case edits, so that all can be in force at once. The
    table gives about 1,000 cases for test and 240 for tune. A text about
    subjects that no case edits is written next to FILE.

    Choose options of backends on tune cases only; report figures of test
    cases.

    Examples:
        errata atlas-bench --out bench.jsonl

        errata atlas-bench --out tune.jsonl --split tune --n 200 --seed 1 --json
    """
    from errata.cache.errors import ErrataError
    from errata.cache.storage.atomic import write_atomically
    from errata.compare.inputs.atlas_bench import build, summary
    from errata.compare.inputs.atlas_text import held_out_text
    from errata.compare.inputs.data import held_out_text_path
    from errata.compare.inputs.files import write_cases
    from errata.facts import FactSource

    if split not in ("tune", "test"):
        raise ErrataError(
            f"expected --split tune or test, found {split!r}; gates and reasoners were trained on "
            "the train subjects"
        )
    source = FactSource.load(facts)
    with working("making the cases"):
        cases = build(source, split, n, seed)  # type: ignore[arg-type]  # checked above
    write_cases(cases, out)
    counts = {"out": str(out), "split": split, "seed": seed, **summary(cases)}
    text = held_out_text(source, cases, seed)
    if text:
        write_atomically(held_out_text_path(out), text.encode())
        counts["text"] = str(held_out_text_path(out))
    if as_json:
        print_json(counts)
        return
    for kind, count in _lines(counts):
        print_line(f"{kind:28s} {count:6,d}")
    print_line(f"{out}: {len(cases):,} cases of {split} subjects, seed {seed}")
    if text:
        print_line(f"{counts['text']}: held-out text, which `errata compare` takes for perplexity")


def _lines(counts: dict[str, Any]) -> list[tuple[str, int]]:
    preferred = [(f"preference: {kind}", count) for kind, count in counts["preferences"].items()]
    return [*counts["probes"].items(), *preferred]
