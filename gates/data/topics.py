"""Topics for conditions such as "the user asks about refunds": ``tables/topics.yaml``.

A group is in one split as a whole, and the topics of a group are each other's hard negatives:
delivery times and damaged goods are nearer to each other than to the weather.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from errata.gates.data.yaml_tables import load_table


@dataclass(frozen=True, slots=True)
class Part:
    """A property that nearly any thing can be asked about.

    :param name: such as ``price``.
    :param sentences: ways to ask it of ``{x}``.
    """

    name: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and sentences about it.

    :param names: its names in a condition.
    :param nouns: noun phrases that stand for it in a question.
    :param sentences: whole sentences about it, most of which do not name it.
    """

    names: tuple[str, ...]
    nouns: tuple[str, ...]
    sentences: tuple[str, ...]


@cache
def topic_groups() -> tuple[tuple[Topic, ...], ...]:
    """Return the topics, related ones together."""
    return tuple(
        tuple(
            Topic(tuple(one["names"]), tuple(one["nouns"]), tuple(one["sentences"]))
            for one in group
        )
        for group in load_table("topics")["topics"]
    )


@cache
def part_groups() -> tuple[tuple[Part, ...], ...]:
    """Return the properties, in groups for the splits."""
    return tuple(
        tuple(Part(one["name"], tuple(one["sentences"])) for one in group)
        for group in load_table("topics")["parts"]
    )


@cache
def thing_groups() -> tuple[tuple[str, ...], ...]:
    """Return the things, in groups for the splits."""
    return tuple(map(tuple, load_table("topics")["things"]))
