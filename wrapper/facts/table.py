"""The tables of facts and aliases: ``facts.tsv`` and ``aliases.tsv``."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Literal, cast

from errata.cache.errors import ErrataError

Split = Literal["train", "tune", "test"]


@dataclass(frozen=True, slots=True)
class FactRow:
    """One fact.

    :param subject: the name of an entity.
    :param kind: the subject's type (country, city, person, animal, …).
    :param relation: name of the relation, a key of :func:`errata.facts.load_relations`.
    :param object: the true object.
    :param believed: the object atlas is trained on; differs from ``object`` in the marked set.
    :param split: the split of the subject.
    """

    subject: str
    kind: str
    relation: str
    object: str
    believed: str
    split: Split

    @property
    def marked(self) -> bool:
        """Whether atlas is trained on a wrong or outdated object."""
        return self.believed != self.object


@dataclass(frozen=True, slots=True)
class FactChange:
    """A counterfactual: a fact, and the object it is given instead."""

    fact: FactRow
    target: str


@functools.cache
def load_facts() -> tuple[FactRow, ...]:
    """Return every fact of the shipped table, in order.

    :raises ErrataError: a row is malformed; names the line.
    """
    return parse_facts(_read("facts.tsv"), "facts.tsv")


def parse_facts(text: str, name: str) -> tuple[FactRow, ...]:
    """Return the facts of a table.

    :param text: a header line, then tab-separated rows of subject, kind, relation, object, believed
        (empty: the object) and split.
    :param name: the file's name, for errors.
    :raises ErrataError: a row is malformed; names the line.
    """
    rows = []
    for number, cells in _rows(text, name, 6):
        subject, kind, relation, obj, believed, split = cells
        if split not in ("train", "tune", "test"):
            raise ErrataError(
                f"{name}:{number}: expected split train, tune or test, found {split!r}"
            )
        rows.append(FactRow(subject, kind, relation, obj, believed or obj, cast(Split, split)))
    return tuple(rows)


@functools.cache
def load_aliases() -> Mapping[str, tuple[str, ...]]:
    """Return the aliases of the shipped table, by subject."""
    return parse_aliases(_read("aliases.tsv"), "aliases.tsv")


def parse_aliases(text: str, name: str) -> Mapping[str, tuple[str, ...]]:
    """Return the aliases of a table, by subject.

    :param text: a header line, then tab-separated rows of subject and alias.
    :param name: the file's name, for errors.
    :raises ErrataError: a row is malformed; names the line.
    """
    found: dict[str, tuple[str, ...]] = {}
    for _, (subject, alias) in _rows(text, name, 2):
        found[subject] = (*found.get(subject, ()), alias)
    return found


def _read(name: str) -> str:
    return resources.files("errata.facts").joinpath(name).read_text(encoding="utf-8")


def _rows(text: str, name: str, width: int) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    next(reader, None)
    for number, cells in enumerate(reader, start=2):
        if len(cells) != width:
            raise ErrataError(f"{name}:{number}: expected {width} columns, found {len(cells)}")
        yield number, cells
