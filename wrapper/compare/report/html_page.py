"""The report as one self-contained HTML page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from errata.compare.report.headline import headline
from errata.compare.report.markdown import answer_text, protocol_lines, question_texts
from errata.compare.report.summary import Summary
from errata.compare.report.tables import tables

_DETAIL = re.compile(r"(\[[^\]]*\]|\(n [\d,]+\)|\bn \d+$)")


def html_page(summary: Summary, charts: Mapping[str, str]) -> str:
    """Return the report as HTML; the page loads nothing.

    :param summary: the run.
    :param charts: SVG by title.
    """
    template = _environment().get_template("report.html.jinja")
    return template.render(
        summary=summary, charts=charts, tables=tables, headline=headline(summary),
        backends=list(dict.fromkeys(n for row in summary.disagreements for n in row["answers"])),
        protocol=protocol_lines(summary),
        about=json.dumps(dict(summary.about), indent=1, ensure_ascii=False),
    )  # fmt: skip


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("errata.compare.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    found.filters |= {
        "details": _details, "answer_text": answer_text, "question_texts": question_texts,
    }  # fmt: skip
    return found


def _details(cell: str) -> list[tuple[str, bool]]:
    """Return a cell's parts, each with whether it is an interval or an n, not to be broken."""
    parts = [(part, at % 2 == 1) for at, part in enumerate(_DETAIL.split(cell))]
    return [(part, detail) for part, detail in parts if part]
