"""The same asked of somebody everybody knows: Spain where the edit is about France."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

from errata.facts import load_facts
from errata.gates.data.questions import Asking, Item, one_name

FAMOUS = 10
"""The best known subjects of a kind; the facts table lists them first."""


def famous_neighbours(item: Item, rng: random.Random, count: int = 2) -> Iterator[Asking]:
    """Yield the item's question about famous subjects of any split, in its held-out forms."""
    others = [
        name for name in _famous(item.kind, item.topic.name) if not one_name(name, item.subject)
    ]
    forms = item.topic.held_out or item.topic.forms
    for name in rng.sample(others, min(count, len(others))):
        yield Asking(item.say(rng.choice(forms), name), "none", "other subject, famous")


@cache
def _famous(kind: str, relation: str) -> tuple[str, ...]:
    """Return the subjects of a kind that come first in the table and have the relation."""
    rows = [row for row in load_facts() if row.kind == kind and row.relation == relation]
    return tuple(dict.fromkeys(row.subject for row in rows))[:FAMOUS]
