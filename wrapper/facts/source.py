"""A facts table with its sentences: errata's own, or a team's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from errata.cache.errors import ErrataError
from errata.facts.table import FactRow, Split, aliases, load_facts, parse_aliases, parse_facts
from errata.facts.templates import Relation, load_relations, parse_relations


@dataclass(frozen=True, slots=True)
class FactSource:
    """Facts, the sentences of their relations, and other names of their subjects.

    :param facts: in the table's order.
    :param relations: by name.
    :param aliases: of some subjects.
    """

    facts: tuple[FactRow, ...]
    relations: Mapping[str, Relation]
    aliases: Mapping[str, tuple[str, ...]]

    @classmethod
    def own(cls) -> FactSource:
        """Return the table that errata carries."""
        return cls(load_facts(), load_relations(), aliases())

    @classmethod
    def read(cls, folder: str | Path) -> FactSource:
        """Return a team's table: ``facts.tsv``, ``templates.yaml`` and, if there, ``aliases.tsv``.

        They are written as errata's own in ``wrapper/facts/``.

        :raises ErrataError: a file is missing or malformed; names file and line.
        """
        texts = {}
        for name in ("facts.tsv", "templates.yaml", "aliases.tsv"):
            path = Path(folder) / name
            if path.is_file():
                texts[name] = path.read_text(encoding="utf-8")
            elif name != "aliases.tsv":
                raise ErrataError(
                    f"expected a facts table at {folder}, found no {name}; name a folder with "
                    "facts.tsv and templates.yaml"
                )
        facts = parse_facts(texts["facts.tsv"], f"{folder}/facts.tsv")
        relations = parse_relations(texts["templates.yaml"], f"{folder}/templates.yaml")
        for line, fact in enumerate(facts, start=2):
            if fact.relation not in relations:
                raise ErrataError(
                    f"{folder}/facts.tsv:{line}: expected a relation of templates.yaml, found "
                    f"{fact.relation!r}; describe it there"
                )
        known = parse_aliases(texts.get("aliases.tsv", ""), f"{folder}/aliases.tsv")
        return cls(facts, relations, known)

    @property
    def digest(self) -> str:
        """SHA-256 of facts, sentences and aliases, as hex digits."""
        parts = (
            [asdict(fact) for fact in self.facts],
            {name: asdict(relation) for name, relation in self.relations.items()},
            dict(self.aliases),
        )
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def object_splits(self) -> Mapping[str, Split]:
        """Return the split of every object: its own as a subject, else by hash (50, 10 and 40%)."""
        subjects = {fact.subject: fact.split for fact in self.facts}
        objects = {fact.believed for fact in self.facts}
        return {name: subjects.get(name) or _hashed(name) for name in objects}


def _hashed(name: str) -> Split:
    place = int(hashlib.sha256(f"object/{name}".encode()).hexdigest(), 16) % 10
    return "train" if place < 5 else "tune" if place == 5 else "test"
