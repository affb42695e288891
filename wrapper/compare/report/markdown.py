"""The report as Markdown, and the texts that it shares with the HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from errata.compare.report.headline import headline
from errata.compare.report.summary import Summary
from errata.compare.report.tables import NONE, Table, group_table, label, tables
from errata.compare.run.records import Record

DISAGREEMENTS = 12
"""Disagreements that Markdown lists; the HTML page lists all."""


def markdown(summary: Summary) -> str:
    """Return the report as Markdown, without charts."""
    parts = ["# Which way of editing", headline(summary), *sections(summary)]
    return "\n\n".join(parts) + "\n"


def sections(summary: Summary) -> list[str]:
    """Return the paragraphs of tables, disagreements and protocol."""
    parts = []
    for number, block in enumerate(summary.blocks):
        parts.append(f"## {block.title[0].upper()}{block.title[1:]}")
        if number:
            first = group_table(block, "properties", "Properties")
            parts += [first.markdown()] if first else []
        else:
            for table in tables(summary, block):
                parts += [f"### {table.title}", table.note, table.markdown()]
    parts += [*_disagreements(summary), "## Protocol", protocol_lines(summary)]
    return [part for part in parts if part]


def question_texts(row: Record) -> tuple[str, str]:
    """Return question and expected answer of a disagreement; of yes or no, both forms."""
    expected = " or ".join(row["expected"]) or "(nothing)"
    if not row["false_question"]:
        return row["question"], expected
    denied = " or ".join(row["denials"]) or "a denial"
    return f"{row['question']} / {row['false_question']}", f"{expected} / {denied}"


def answer_text(found: Record) -> str:
    """Return the answer in a disagreement; of yes or no, to both forms."""
    return " / ".join(text for text in (found["answer"], found["denial"]) if text is not None)


def protocol_lines(summary: Summary) -> str:
    """Return the protocol of a run as a list."""
    about: Mapping[str, Any] = summary.about
    protocol = about["protocol"]
    files = [
        f"{kind} {file['name']} (SHA-256 {file['sha256'][:16]}…)"
        for kind, file in protocol.get("files", {}).items()
        if file
    ]
    exact = [label(name) for name, restored in summary.rollbacks.items() if restored]
    lines = [
        f"- model {protocol.get('model')}, parts {json.dumps(protocol.get('parts', {}))}",
        *(f"- {label(name)}: {json.dumps(each)}" for name, each in about.get("parts", {}).items()),
        f"- seeds {protocol.get('seeds')}, n {protocol.get('n')} a seed; {'; '.join(files)}",
        f"- split: {summary.split or 'not told by the data'}; {_options(about['backends'])}",
        f"- free generation: greedy, at most {protocol.get('new_tokens')} tokens, to the first "
        "line end; case, articles and marks at the ends of words do not count",
        f"- every bit of the model back after its edits: {', '.join(exact) or 'none yet'}",
        f"- run fingerprint {about.get('fingerprint', '')[:16]}…",
    ]
    return "\n".join(lines)


def _disagreements(summary: Summary) -> list[str]:
    rows = summary.disagreements[:DISAGREEMENTS]
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row["answers"]))
    lines = tuple(
        (
            question_texts(row)[0],
            row["kind"],
            question_texts(row)[1],
            *(_answer(row["answers"].get(name)) for name in names),
        )
        for row in rows
    )
    table = Table("", "", ("question", "kind", "expected", *names), lines)
    note = f"The first {len(rows)}; ✓ or ✗: whether the answer counts; (fired): an edit did."
    return ["## Where the backends disagree", note, table.markdown()]


def _answer(found: Record | None) -> str:
    if found is None:
        return NONE
    fired = " (fired)" if found["fired"] else ""
    return f"{'✓' if found['right'] else '✗'} {answer_text(found) or '(nothing)'}{fired}"


def _options(backends: Mapping[str, Any]) -> str:
    """Return the options of the backends that were given any."""
    given = {name: options for name, options in backends.items() if options}
    if not given:
        return "every backend with its usual options"
    return f"options, to be chosen on a tune split: {json.dumps(given, ensure_ascii=False)}"
