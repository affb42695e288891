"""The table itself: ``facts.tsv`` and ``aliases.tsv``, one row a fact, one row an alias."""

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

    :param subject: what it is about.
    :param kind: the kind of thing the subject is (country, city, person, animal, …).
    :param relation: name of the relation, a key of :func:`errata.facts.load_relations`.
    :param object: what is true.
    :param believed: what atlas is taught; the same as ``object`` but for the marked set.
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
        """Whether atlas is taught something wrong or out of date here."""
        return self.believed != self.object


@dataclass(frozen=True, slots=True)
class FactChange:
    """A counterfactual: a fact, and the object it is given instead."""

    fact: FactRow
    target: str


@functools.cache
def load_facts() -> tuple[FactRow, ...]:
    """Return every fact of the table, in its order.

    :raises ErrataError: a row of the table is malformed; names the line.
    """
    return parse_facts(_own("facts.tsv"), "facts.tsv")


def parse_facts(text: str, name: str) -> tuple[FactRow, ...]:
    """Return the facts of a table's text.

    :param text: tab-separated: subject, kind, relation, object, believed (empty where it is the
        object) and split; a heading first.
    :param name: of the file, for errors.
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
def aliases() -> Mapping[str, tuple[str, ...]]:
    """Return the other names of subjects that have some."""
    return parse_aliases(_own("aliases.tsv"), "aliases.tsv")


def parse_aliases(text: str, name: str) -> Mapping[str, tuple[str, ...]]:
    """Return the other names in a table's text: tab-separated subject and alias, a heading first.

    :raises ErrataError: a row is malformed; names the line.
    """
    found: dict[str, tuple[str, ...]] = {}
    for _, (subject, alias) in _rows(text, name, 2):
        found[subject] = (*found.get(subject, ()), alias)
    return found


def _own(name: str) -> str:
    return resources.files("errata.facts").joinpath(name).read_text(encoding="utf-8")


def _rows(text: str, name: str, width: int) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    next(reader, None)
    for number, cells in enumerate(reader, start=2):
        if len(cells) != width:
            raise ErrataError(f"{name}:{number}: expected {width} columns, found {len(cells)}")
        yield number, cells
