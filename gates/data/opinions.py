"""Aspects and traits of reviews, for conditions such as "the food is delicious".

Such a condition is an aspect (food) and one pole of a trait; both are in ``tables/opinions.yaml``.
Their groups are in one split as a whole, so that a held-out condition has neither its aspect nor
its opinion words in training.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from errata.gates.data.yaml_tables import load_table


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun phrase without its article.

    :param text: the noun.
    :param plural: whether it takes "were".
    """

    text: str
    plural: bool


@dataclass(frozen=True, slots=True)
class Aspect:
    """Something a review is about.

    :param sort: ``food``, ``person``, …: decides which traits it can have.
    :param name: its name in a condition.
    :param nouns: its names in a text.
    """

    sort: str
    name: Noun
    nouns: tuple[Noun, ...]


@dataclass(frozen=True, slots=True)
class Trait:
    """A property of an aspect, and its opposite.

    :param sorts: of the aspects that can have it; all sorts where it means only good or bad.
    :param evaluative: whether it implies that the thing is good or bad.
    :param poles: for each of the two, its adjectives and its sentences about ``{n}``.
    """

    sorts: frozenset[str]
    evaluative: bool
    poles: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

    @property
    def general(self) -> bool:
        """Whether it means only good or bad."""
        return len(self.sorts) > 3


@cache
def aspect_groups() -> tuple[tuple[Aspect, ...], ...]:
    """Return the aspects by the sort of review that has them."""
    return tuple(
        tuple(make_aspect(one["sort"], one["name"], one["nouns"]) for one in group)
        for group in load_table("opinions")["aspects"]
    )


@cache
def trait_groups() -> tuple[tuple[Trait, ...], ...]:
    """Return the traits in groups, each with some for every aspect."""
    return tuple(
        tuple(
            make_trait(one["sorts"], one["poles"], evaluative=one.get("evaluative", False))
            for one in group
        )
        for group in load_table("opinions")["traits"]
    )


def make_aspect(sort: str, name: str, nouns: Iterable[str]) -> Aspect:
    """Return an aspect.

    :param name: with its article; plurals end in a star.
    :param nouns: without articles; plurals end in a star.
    """
    return Aspect(sort, _noun(name.removeprefix("the ")), tuple(map(_noun, nouns)))


def _noun(text: str) -> Noun:
    return Noun(text.rstrip("*"), text.endswith("*"))


def make_trait(
    sorts: Iterable[str], poles: Iterable[Iterable[str]], *, evaluative: bool = False
) -> Trait:
    """Return a trait.

    :param poles: of each of the two, adjectives and sentences about ``{n}``.
    """
    words = [tuple(pole) for pole in poles]
    return Trait(
        frozenset(sorts),
        evaluative,
        tuple(
            (
                tuple(word for word in pole if "{n}" not in word),
                tuple(word for word in pole if "{n}" in word),
            )
            for pole in words
        ),
    )
