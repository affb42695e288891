"""Formal and lexical conditions, which rules decide: ``tables/rule_conditions.yaml``.

Each comes with texts of which it holds and texts of which it does not.
"""

from __future__ import annotations

from collections.abc import Iterator

from errata.gates.data.examples import Example
from errata.gates.data.yaml_tables import load_table
from errata.gates.features import Scope


def certain_examples() -> Iterator[Example]:
    """Yield pairs of a text and a whole condition; kinds ``formal`` and ``lexical``."""
    for kind, rows in load_table("rule_conditions").items():
        for row in rows:
            scope = Scope(row["condition"])
            for text in row["holds"]:
                yield Example(text, scope, "paraphrase", kind)
            for text in row["fails"]:
                yield Example(text, scope, "none", kind)
