"""A facts table with its sentence templates and aliases: the shipped one, or one of your own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from errata.cache.errors import ErrataError
from errata.facts.table import FactRow, Split, load_aliases, load_facts, parse_aliases, parse_facts
from errata.facts.templates import Relation, load_relations, parse_relations


@dataclass(frozen=True, slots=True)
class FactSource:
    """Facts, their relations, and aliases of their subjects.

    :param facts: in the order of the table.
    :param relations: by name.
    :param aliases: by subject; not every subject has some.
    """

    facts: tuple[FactRow, ...]
    relations: Mapping[str, Relation]
    aliases: Mapping[str, tuple[str, ...]]

    @classmethod
    def load(cls, folder: str | Path | None = None) -> FactSource:
        """Return the facts table of a folder, or the one that ships with errata.

        :param folder: holds ``facts.tsv``, ``templates.yaml`` and, optionally, ``aliases.tsv``, in
            the formats of ``wrapper/facts/``; None loads the shipped table.
        :raises ErrataError: a file is missing or malformed; names file and line.
        """
        if folder is None:
            return cls(load_facts(), load_relations(), load_aliases())
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
        aliases = parse_aliases(texts.get("aliases.tsv", ""), f"{folder}/aliases.tsv")
        return cls(facts, relations, aliases)

    @property
    def digest(self) -> str:
        """SHA-256 of facts, relations and aliases, as hex digits."""
        parts = (
            [asdict(fact) for fact in self.facts],
            {name: asdict(relation) for name, relation in self.relations.items()},
            dict(self.aliases),
        )
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def object_splits(self) -> Mapping[str, Split]:
        """Return the split of every object: that of the subject of its name, else by hash.

        The hash gives 50% train, 10% tune and 40% test.
        """
        subjects = {fact.subject: fact.split for fact in self.facts}
        objects = {fact.believed for fact in self.facts}
        return {name: subjects.get(name) or _split_by_hash(name) for name in objects}


def _split_by_hash(name: str) -> Split:
    bucket = int(hashlib.sha256(f"object/{name}".encode()).hexdigest(), 16) % 10
    return "train" if bucket < 5 else "tune" if bucket == 5 else "test"
