"""The document of an ablation, such as ``results/ablation.md``, from the records of its runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from errata.cache.storage.atomic import write_atomically
from errata.compare.report.summary import Block, Summary
from errata.compare.report.tables import ablation_table
from errata.compare.run.backend_names import NO_RESOLVERS, WITHOUT

_INTRODUCTION = """\
# What each resolver is worth

`errata compare --ablate` decides the same questions by the cache with all its resolvers, without
each one of them, and without any. Differences are paired: the same cases, 95% intervals by
resampling them; where no case differs, the interval is what Wilson's leaves to n cases. *Fired*:
of questions that ask the same as an edit's, those on which that edit fires. *False hits*: of
questions that ask something else, those on which any edit fires.
"""


def write_ablation(summaries: Sequence[Summary], path: Path) -> None:
    """Write the document, and every figure as JSON beside it.

    :param summaries: of the runs, each an ablation.
    :param path: such as ``results/ablation.md``.
    """
    write_atomically(path, document(summaries).encode())
    values = [_figures(summary) for summary in summaries]
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path.with_suffix(".json"), text.encode())


def document(summaries: Sequence[Summary]) -> str:
    """Return the document as Markdown."""
    parts = [_INTRODUCTION.rstrip()]
    for summary in summaries:
        parts += _run(summary)
    return "\n\n".join(parts) + "\n"


def _run(summary: Summary) -> Iterator[str]:
    protocol: Mapping[str, Any] = summary.about["protocol"]
    files = {kind: file for kind, file in protocol["files"].items() if file}
    split = f", {summary.split} split" if summary.split else ""
    yield f"## {protocol['model']} on {files['data']['name']}{split}"
    yield "\n".join(f"- {line}" for line in _protocol(protocol, files))
    for block in summary.blocks:
        table = ablation_table(block)
        if table is not None:
            yield table.markdown()
            yield _verdict(block)


def _protocol(protocol: Mapping[str, Any], files: Mapping[str, Any]) -> Iterator[str]:
    keys = {
        "data": files["data"]["name"], "split": protocol.get("split"),
        "model": Path(str(protocol["model"])).name, "gate": protocol.get("gate"),
        "n": protocol["n"], "open_questions": files.get("open", {}).get("name"),
        "n_open_questions": protocol["open_n"],
    }  # fmt: skip
    settings = ", ".join(f"{key}: {value}" for key, value in keys.items() if value is not None)
    yield f"`errata compare --ablate --config FILE --out DIR`, where FILE has `{{{settings}}}`"
    for kind, file in files.items():
        yield f"{kind}: {file['name']}, SHA-256 {file['sha256']}"
    parts = protocol["parts"]
    yield f"errata {parts.get('errata')}, encoder {parts.get('encoder')}, {parts.get('device')}"


def _verdict(block: Block) -> str:
    """Return in words which differences are beyond their intervals."""
    sentences = []
    for name in (name for name in block.results if name.startswith(WITHOUT)):
        what = "all of them" if name == NO_RESOLVERS else name.removeprefix(WITHOUT)
        beyond = [
            f"{each.measure} ({100 * each.difference.mean:+.1f})"
            for each in block.ablations
            if each.backend == name
            and each.measure != "a decision"
            and not each.difference.low <= 0.0 <= each.difference.high
        ]
        found = ", ".join(beyond) or "nothing"
        sentences.append(f"Without {what}, beyond its interval: {found}.")
    return " ".join(sentences)


def _figures(summary: Summary) -> dict[str, Any]:
    """Return the protocol, the estimates and the differences of a run."""
    values = summary.to_json()
    blocks = [
        {key: block[key] for key in ("mode", "size", "results", "ablations")}
        for block in values["blocks"]
    ]
    return {"about": values["about"], "blocks": blocks}
