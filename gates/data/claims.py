"""Claims of conditions: a feeling, a wish, an event ("the user is angry"); ``tables/claims.yaml``.

Related claims form a group, which is in one split as a whole; they are each other's hard negatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from errata.gates.data.yaml_tables import load_table


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim and texts that make it.

    :param names: its wordings in a condition.
    :param sentences: whole texts of which it holds.
    """

    names: tuple[str, ...]
    sentences: tuple[str, ...]


@cache
def claim_groups() -> tuple[tuple[Claim, ...], ...]:
    """Return the claims, related ones together."""
    return tuple(
        tuple(Claim(tuple(one["names"]), tuple(one["sentences"])) for one in group)
        for group in load_table("claims")["claims"]
    )
