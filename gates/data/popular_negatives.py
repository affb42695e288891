"""Negatives with popular subjects: the edit's question about Spain, where it is about France."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

from errata.facts import load_facts
from errata.gates.data.questions import Item, LabelledQuery, share_name

MAX_POPULAR = 10
"""The best known subjects of a kind; the facts table lists them first."""


def famous_neighbours(item: Item, rng: random.Random, count: int = 2) -> Iterator[LabelledQuery]:
    """Yield the item's question about famous subjects of any split, in its held-out forms."""
    others = [
        name for name in _famous(item.kind, item.topic.name) if not share_name(name, item.subject)
    ]
    forms = item.topic.held_out or item.topic.forms
    for name in rng.sample(others, min(count, len(others))):
        yield LabelledQuery(item.render(rng.choice(forms), name), "none", "other subject, famous")


@cache
def _famous(kind: str, relation: str) -> tuple[str, ...]:
    """Return the subjects of a kind that come first in the table and have the relation."""
    rows = [row for row in load_facts() if row.kind == kind and row.relation == relation]
    return tuple(dict.fromkeys(row.subject for row in rows))[:MAX_POPULAR]
