"""The report on reasoners of a chat model: ``results/reasoners_smollm2.md``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from errata.intervals import Rate
from errata.reasoners.evaluation.chat_examples import ROWS
from errata.reasoners.evaluation.open_ended import MAX_NEW_TOKENS

Results = Mapping[str, Mapping[str, Rate]]
"""Rates of each row, by column."""


def table(results: Results) -> str:
    """Return a Markdown table: a row a kind of question, a column a reasoner, n and intervals."""
    lines = [
        "| right edit given | " + " | ".join(results) + " |",
        "|---" * (len(results) + 1) + "|",
    ]
    for row in ROWS:
        cells = [found.get(row) for found in results.values()]
        if any(cells):
            lines.append(f"| {row} | " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


def _cell(cell: Rate | None) -> str:
    if cell is None:
        return "–"
    return f"{cell.share:.1%} [{100 * cell.low:.0f}, {100 * cell.high:.0f}] n={cell.n}"


_DOCUMENT = """\
# Reasoners of {model}, measured

Made by `errata reasoner eval --document results/{name}{options}`; do not edit by hand.

Base model: {model} ({machine}), fingerprint {fingerprint}. The right edit is given (no gate
decides whether it fires), the answer is generated freely and greedily, at most {tokens} tokens.
Subjects, objects, questions and intents are those of the test split, phrasings are held out of
training where a relation has some. Seed {seed}; 95% Wilson intervals in brackets, in per cent.

{table}

What is measured:

- *own question*, *other phrasing*: the new object is named, the old one is not. *By people*: pairs
  of real questions that ask the same, with an invented name as the edit's answer.
- *yes or no* is right if the true form begins with yes, and the false form (with the old object)
  with no.
- *one hop*: only questions whose second step the base answers without any edit.
- *reversed*: the subject is named.
- *say that*: the content of the patch is said, in the first person.
- *an instruction followed* (language, length, form, a word to use or to avoid), of those that the
  base follows where the instruction stands in the question.
- *an edit that does not matter* is right if the answer is the base's own, word for word.
- Columns: a reasoner alone, and *verified* (its answers held against the edit, asked again,
  overruled); *unedited, verified* is overruling alone: the base's answer without the edit in its
  prompt, held against the edit. `verbatim` says the stored answer; `prompted` has the edit in its
  prompt; `ike` has demonstrations too (Zheng et al. 2023); `adapter` is trained to read edits.
{mentions}{digests}"""

_MENTIONS = """
## Open-ended requests

Answers to requests that name the subject of a fact and ask nothing of it ("Tell me about …"), at
most {tokens} tokens, in which the old object stands, by `EditableModel(mentions=…)`:

| mentions | the old object is named |
|---|---|
{rows}
"""


def document(
    results: Results,
    *,
    model: str,
    machine: str,
    fingerprint: str,
    options: str,
    seed: int,
    tokens: int,
    data: Sequence[Path] = (),
    name: str = "reasoners_smollm2.md",
    mentions: Mapping[str, Rate] | None = None,
) -> str:
    """Return the results as a Markdown page.

    :param results: rates of each row, by column.
    :param model: the base model's name.
    :param machine: device and dtype.
    :param fingerprint: of the base model.
    :param options: of the command that made the page.
    :param seed: of the draw.
    :param tokens: of an answer at most.
    :param data: files that examples were drawn from.
    :param name: of the page.
    :param mentions: how often open-ended answers name the old object, by the option's value.
    """
    lines = [f"- {path.name}: SHA-256 {digest}" for path, digest in digests(data).items()]
    listed = "\nFiles of data:\n\n" + "\n".join(lines) + "\n" if lines else ""
    rows = "\n".join(f"| {option} | {_cell(found)} |" for option, found in (mentions or {}).items())
    named = _MENTIONS.format(rows=rows, tokens=MAX_NEW_TOKENS) if rows else ""
    return _DOCUMENT.format(
        table=table(results), model=model, machine=machine, fingerprint=fingerprint[:12],
        options=options, seed=seed, tokens=tokens, digests=listed, name=name,
        mentions=named,
    )  # fmt: skip


def digests(paths: Sequence[Path]) -> dict[Path, str]:
    """Return the SHA-256 of each file, as hex digits."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def to_json(results: Results) -> dict[str, Any]:
    """Return results as JSON values."""
    return {
        column: {row: asdict(found) for row, found in rows.items()}
        for column, rows in results.items()
    }
