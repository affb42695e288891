"""Opposites, things and topics of WordNet, for conditions about anything: ``lexicon/*.txt``.

A gate that reads "the food is bland" has to know opposites of all sorts, more than one can list by
hand. Words of conditions that are tuned and tested on are not among them. ``python -m
tools.wordnet`` makes the files.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from importlib import resources

from errata.gates.data.opinions import Aspect, Trait, make_aspect, make_trait
from errata.gates.data.topics import Topic

SORTS = {"06": "thing", "13": "food", "18": "person", "15": "place", "10": "text", "04": "service"}
"""Sorts of aspects, by the number of WordNet's files of nouns."""


@cache
def traits() -> tuple[Trait, ...]:
    """Return the opposites, a line each: ``sorts|one pole|the other``."""
    rows = [line.split("|") for line in _lines("traits")]
    return tuple(make_trait(sorts.split(), (pole.split(";") for pole in poles))
                 for sorts, *poles in rows)  # fmt: skip


@cache
def aspects() -> tuple[Aspect, ...]:
    """Return things with kinds of them, a line each: ``sort:the name|noun;noun``."""
    found = []
    for line in _lines("aspects"):
        head, nouns = line.split("|")
        sort, name = head.split(":")
        found.append(make_aspect(sort, name, nouns.split(";")))
    return tuple(found)


@cache
def topics() -> tuple[tuple[Topic, ...], ...]:
    """Return topics and what falls under them, those of one kind together."""
    groups: dict[str, list[Topic]] = defaultdict(list)
    for line in _lines("topics"):
        kind, name, nouns = line.split("|")
        groups[kind].append(Topic((name,), tuple(map(_with_article, nouns.split(";"))), ()))
    return tuple(map(tuple, groups.values()))


def _lines(name: str) -> list[str]:
    path = resources.files("errata.gates.data").joinpath("lexicon", f"{name}.txt")
    return path.read_text(encoding="utf-8").splitlines()


def _with_article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
