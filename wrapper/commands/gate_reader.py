"""``errata gate train-reader``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from errata.commands.options import AsJson
from errata.commands.output import print_json, print_line, reports_errors


@reports_errors
def train_reader(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the gate to write it to.")
    ],
    parallel: Annotated[Path, typer.Option(help="One question in several languages a line.")],
    pairs: Annotated[
        Path | None, typer.Option(help="Labelled pairs: source, a, b, same; none unless given.")
    ] = None,
    encodings: Annotated[
        Path, typer.Option(metavar="FILE", help="Encodings, kept so that a run goes on.")
    ] = Path("runs/encodings.sqlite3"),
    encoder: Annotated[
        str | None, typer.Option(help="A multilingual sentence-transformers model, by path or id.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train what a gate reads other languages than English with.

    A small network over the encodings of a multilingual encoder, minutes once
    its texts are encoded (some 20 ms each). Templates of errata's own in five
    languages come on top of the files, which are JSON lines, or these gzipped.
    With another --encoder, its thresholds are settled by it, too.

    Example:
        errata gate train-reader --out gate/ --parallel questions_in_languages.jsonl.gz
        --pairs chinese_pairs.jsonl.gz
    """
    from errata.cache.encoder import Encoder
    from errata.encoder import SentenceEncoder
    from errata.gates.data.encodings import StoredEncoder
    from errata.gates.training.reader import ReaderConfig, ReaderData
    from errata.gates.training.reader import train_reader as train
    from errata.multilingual import MultilingualEncoder

    chosen: Encoder = MultilingualEncoder() if encoder is None else SentenceEncoder(encoder)
    encodings.parent.mkdir(parents=True, exist_ok=True)

    def say(what: str) -> None:
        print_line(what, stderr=True)

    stored = StoredEncoder(chosen, encodings, say)
    reader = train(stored, ReaderData(parallel, pairs), ReaderConfig(seed=seed), say)
    reader.save(out)
    if as_json:
        print_json({"out": str(out), "threshold": reader.threshold, "card": reader.card})
        return
    print_line(f"{out}: trained, threshold {reader.threshold:.3f}")
    for sort, found in reader.card["tune"].items():
        print_line(f"  {sort}: {found['found']:.1%} found, {found['false']:.1%} false, tune pairs")
