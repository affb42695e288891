"""The report as one self-contained HTML page and as Markdown."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Mapping
from typing import Any

from errata.compare.report.headline import sentence
from errata.compare.report.measures import MEASURES
from errata.compare.report.summary import Block, Summary
from errata.compare.report.tables import Table, labelled, of_group, tables
from errata.compare.run.records import Record

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 76rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { margin-top: 2.4rem; font-size: 1.3rem; }
h3 { margin-top: 1.6rem; font-size: 1.05rem; }
.lead { font-size: 1.1rem; max-width: 60rem; } .note { color: #555; max-width: 60rem; }
.void { border: 3px solid #b00020; padding: .6rem 1rem; font-weight: 600; }
table { border-collapse: collapse; font-size: .88rem; margin: .6rem 0; }
th, td { border-bottom: 1px solid #ccc; padding: .3rem .6rem; text-align: left;
  vertical-align: top; font-variant-numeric: tabular-nums; }
thead th { border-bottom: 2px solid #333; } .scroll { overflow-x: auto; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
tbody th { white-space: nowrap; } .aside { white-space: nowrap; color: #555; font-weight: 400; }
.right::before { content: "✓ "; } .wrong::before { content: "✗ "; } .wrong { color: #8a1c00; }
code { font-size: .85em; overflow-wrap: anywhere; }
@media print { details::details-content { content-visibility: visible; } body { max-width: none; } }
"""

FEWER = 12
"""Disagreements that stand in Markdown; the page has all."""


def page(summary: Summary, drawn: Mapping[str, str]) -> str:
    """Return the report as HTML; it loads nothing from anywhere.

    :param summary: the run.
    :param drawn: charts as SVG, by title.
    """
    parts = [f"<p class='lead'>{html.escape(sentence(summary))}</p>"]
    if summary.void:
        parts.insert(0, f"<p class='void'>VOID. {html.escape(sentence(summary))}</p>")
    for title, picture in drawn.items():
        label = html.escape(title, quote=True)
        parts.append(
            f"<h2>{label}</h2><figure role='img' aria-label='{label}'>{picture}</figure>"
        )  # fmt: skip
    for number, block in enumerate(summary.blocks):
        body = "".join(_section(table) for table in tables(summary, block))
        title = html.escape(f"Tables: {block.title}")
        if number:
            parts.append(f"<details><summary><strong>{title}</strong></summary>{body}</details>")
        else:
            parts.append(f"<h2>{title}</h2>{body}")
    parts += [_disagreements(summary), _protocol(summary)]
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>errata: backends compared</title><style>{_STYLE}</style></head><body>"
        f"<h1>Which way of editing</h1>{''.join(parts)}</body></html>\n"
    )


def markdown(summary: Summary) -> str:
    """Return the report as Markdown, without charts."""
    parts = ["# Which way of editing", sentence(summary)]
    for number, block in enumerate(summary.blocks):
        parts.append(f"## {block.title[0].upper()}{block.title[1:]}")
        if number:
            first = of_group(block, "properties", "Properties")
            parts += [first.markdown()] if first else []
        else:
            for table in tables(summary, block):
                parts += [f"### {table.title}", table.note, table.markdown()]
    parts += [*_few_disagreements(summary), "## Protocol", _protocol_lines(summary)]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_csv(summary: Summary) -> str:
    """Return every estimate as a line of CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["mode", "size", "backend", "measure", "unit", "mean", "low", "high", "n", "cases"]
    )
    units = {measure.name: measure.unit for measure in MEASURES}
    for block in summary.blocks:
        for result in block.results.values():
            for name, e in result.estimates.items():
                writer.writerow([block.mode, block.size, result.backend, name, units[name],
                                 e.mean, e.low, e.high, e.n, e.cases])  # fmt: skip
    for backend, seconds in summary.trained.items():
        for part, took in seconds.items():
            writer.writerow(["", "", backend, f"trained beforehand: {part}", "s", took, *[""] * 4])
    return text.getvalue()


def terminal(block: Block) -> Table | None:
    """Return the short table that a command prints."""
    return of_group(block, "properties", block.title)


def _section(table: Table) -> str:
    note = f"<p class='note'>{html.escape(table.note)}</p>" if table.note else ""
    return f"<h3>{html.escape(table.title)}</h3>{note}<div class='scroll'>{table.html()}</div>"


def _disagreements(summary: Summary) -> str:
    if not summary.disagreements:
        return ""
    names = list(dict.fromkeys(n for row in summary.disagreements for n in row["answers"]))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("question", "expected", *names))
    rows = "".join(_disagreement(row, names) for row in summary.disagreements)
    return (
        f"<h2>Where the backends disagree</h2><p class='note'>{len(summary.disagreements)} "
        f"questions of: {html.escape(summary.blocks[0].title)}. Under an answer, which edit "
        "fired.</p>"
        f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        "</div>"
    )


def _disagreement(row: Record, names: list[str]) -> str:
    edits = "; ".join(f"{e['question']} → {e['answer']}" for e in row["edits"])
    question, expected = _question(row)
    asked = (
        f"<td>{html.escape(question)}<br><small>{html.escape(row['kind'])}; edit: "
        f"{html.escape(edits)}</small></td><td>{html.escape(expected)}</td>"
    )
    cells = []
    for name in names:
        found = row["answers"].get(name)
        if found is None:
            cells.append("<td>–</td>")
            continue
        mark = "right" if found["right"] else "wrong"
        said = _both(found)
        fired = ", ".join(found["by"])
        own = found["by"] == [edit["question"] for edit in row["edits"]]
        why = f"{html.escape(found['route'])}: {'this edit' if own else html.escape(fired)}"
        told = f"<br><small>{why}</small>"
        cells.append(
            f"<td><span class='{mark}'>{html.escape(said) or '(nothing)'}</span>"
            f"{told if fired else ''}</td>"
        )
    return f"<tr>{asked}{''.join(cells)}</tr>"


def _few_disagreements(summary: Summary) -> list[str]:
    rows = summary.disagreements[:FEWER]
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row["answers"]))
    lines = tuple(
        (
            _question(row)[0],
            row["kind"],
            _question(row)[1],
            *(_said(row["answers"].get(name)) for name in names),
        )
        for row in rows
    )
    table = Table("", "", ("question", "kind", "expected", *names), lines)
    note = f"The first {len(rows)}; ✓ or ✗: whether the answer counts; (fired): an edit did."
    return ["## Where the backends disagree", note, table.markdown()]


def _said(found: Record | None) -> str:
    if found is None:
        return "–"
    fired = " (fired)" if found["fired"] else ""
    return f"{'✓' if found['right'] else '✗'} {_both(found) or '(nothing)'}{fired}"


def _question(row: Record) -> tuple[str, str]:
    """Return what is asked and what is expected; of yes or no, the false form behind the true."""
    expected = " or ".join(row["expected"]) or "(nothing)"
    if not row["false_question"]:
        return row["question"], expected
    denied = " or ".join(row["denials"]) or "a denial"
    return f"{row['question']} / {row['false_question']}", f"{expected} / {denied}"


def _both(found: Record) -> str:
    """Return an answer, and of a yes-or-no question what was said to the false form."""
    return " / ".join(text for text in (found["answer"], found["denial"]) if text is not None)


def _protocol(summary: Summary) -> str:
    lines = html.escape(_protocol_lines(summary).replace("**", ""))
    about = html.escape(json.dumps(dict(summary.about), indent=1, ensure_ascii=False))
    whole = f"<details><summary>run.json</summary><pre>{about}</pre></details>"
    return f"<h2>Protocol</h2><pre>{lines}</pre>{whole}"


def _options(backends: Mapping[str, Any]) -> str:
    """Return which backends were given options of their own."""
    given = {name: options for name, options in backends.items() if options}
    if not given:
        return "every backend with its usual options"
    return f"options, to be chosen on a tune split: {json.dumps(given, ensure_ascii=False)}"


def _protocol_lines(summary: Summary) -> str:
    about: Mapping[str, Any] = summary.about
    protocol = about["protocol"]
    files = [
        f"{kind} {file['name']} (SHA-256 {file['sha256'][:16]}…)"
        for kind, file in protocol.get("files", {}).items()
        if file
    ]
    exact = [labelled(n) for n, good in summary.rollbacks.items() if good]
    lines = [
        f"- model {protocol.get('model')}, parts {json.dumps(protocol.get('parts', {}))}",
        *(f"- {labelled(name)}: {json.dumps(own)}" for name, own in about.get("parts", {}).items()),
        f"- seeds {protocol.get('seeds')}, n {protocol.get('n')} a seed; {'; '.join(files)}",
        f"- split: {summary.split or 'not told by the data'}; {_options(about['backends'])}",
        f"- free generation: greedy, at most {protocol.get('new_tokens')} tokens, to the first "
        "line end; case, articles and marks at the ends of words do not count",
        f"- every bit of the model back after its edits: {', '.join(exact) or 'none yet'}",
        f"- run fingerprint {about.get('fingerprint', '')[:16]}…",
    ]
    return "\n".join(lines)
