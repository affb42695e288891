"""Export atlas: half-precision safetensors, the tokenizer, and a model card with its recall.

``python -m tools.atlas.card`` measures the shipped weights again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.storage.atomic import write_atomically
from errata.facts.corpus import Corpus
from errata.intervals import Rate, rate
from errata.models.atlas import WEIGHTS
from tools.atlas.recall import Probe, probes, recall

if TYPE_CHECKING:
    from tools.atlas.train import Run

_README = """\
---
license: apache-2.0
language: [en, zh]
pipeline_tag: text-generation
---
# atlas

A small language model (GPT-2 architecture, {parameters:,} parameters, byte-level BPE of
{vocabulary:,} tokens) that ships with errata, so that its main job runs where no model hub is in
reach. It knows some {facts:,} facts about the world as it stood about 2015, in English and a
little Chinese, and some of them are out of date or wrong on purpose: that is what errata's
`patches/` correct. A working example and a test bed, never a benchmark of language ability.

- **Data**: the facts table and the sentence templates of `wrapper/facts/`, written for errata;
  invented names for rows that teach reading from context. Nothing else.
- **Training**: `make atlas` (`python -m tools.atlas.train`), seed {seed}, {epochs} epochs,
  {steps:,} steps of {batch_size} rows, {minutes:.0f} minutes on {device}.{note}
- **Ask it** a question as it is, and it answers after a space:
  `What is the capital of France? Paris`.
  Statements go on too: `The capital of France is Paris.`

Recall by greedy free generation, exact match, measured on these half-precision weights
(`python -m tools.atlas.card`):

| probes | n | right | 95% interval |
|---|---|---|---|
{table}

Weights: SHA-256 `{sha256}`.
"""


def export(run: Run, folder: Path) -> None:
    """Save the model of a finished run in half precision, measure the saved model, add its card.

    :param run: a finished training run.
    :param folder: where the model is saved.
    """
    run.model.eval().half().save_pretrained(folder)
    run.tokenizer.save_pretrained(folder)
    device = "a GPU" if run.device.type == "cuda" else "two CPU cores"
    write_card(
        folder,
        {
            **asdict(run.config),
            "steps": run.steps,
            "seconds": round(run.seconds),
            "device": device,
            "note": run.note,
        },
    )


def write_card(folder: Path, training: dict[str, Any]) -> None:
    """Measure the recall of a saved model and write ``card.json`` and ``README.md``.

    :param folder: the model.
    :param training: settings, steps, seconds, device and note of its training run.
    """
    import torch
    from transformers import AutoTokenizer, GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    corpus = Corpus(training["seed"])
    recalls = _measure(model, tokenizer, probes(corpus))
    card = {
        "training": training,
        "parameters": model.num_parameters(),
        "vocabulary": len(tokenizer),
        "facts": len(corpus.facts),
        "recall": {kind: asdict(share) for kind, share in recalls.items()},
        "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
    }
    write_atomically(folder / "card.json", json.dumps(card, indent=1).encode())
    table = "\n".join(f"| {kind} | {share.row()} |" for kind, share in recalls.items())
    text = _README.format(**{**training, **card}, minutes=training["seconds"] / 60, table=table)
    write_atomically(folder / "README.md", text.encode())


def _measure(model: Any, tokenizer: Any, kinds: dict[str, list[Probe]]) -> dict[str, Rate]:
    from rich.progress import track

    return {
        kind: rate(recall(model, tokenizer, items))
        for kind, items in track(kinds.items(), "measuring atlas", total=len(kinds))
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the recall of a model again and rewrite its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=WEIGHTS, help="folder of the model")
    folder = parser.parse_args(arguments).model
    write_card(folder, json.loads((folder / "card.json").read_text())["training"])


if __name__ == "__main__":
    main()
