"""Facts of Wikidata relations from files: T-REx triples (Elsahar et al. 2018), ParaRel patterns."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from errata.cache.errors import ErrataError
from errata.facts import FactRow, FactSource
from errata.facts.table import Split
from errata.facts.templates import parse_relations
from errata.reasoners.data.rows import read_rows

TEMPLATES = "relation_templates.yaml"


def with_wikidata(source: FactSource, facts: Path, patterns: Path | None = None) -> FactSource:
    """Return a facts table with the facts of a file added.

    A subject of the table keeps its split; the others are split by hash: 70% train, 4% tune, 26%
    test. Relations without templates and repeated pairs of subject and relation are left out.

    :param source: the table.
    :param facts: JSON lines of ``relation`` (a Wikidata id), ``subject`` and ``object``.
    :param patterns: JSON lines of ``relation`` and ``pattern``, a statement with ``[X]`` and
        ``[Y]``; those that end in ``[Y].`` are added to the relation's statements.
    :raises ErrataError: a file is missing or of another shape; names the line.
    """
    text = resources.files(__package__).joinpath(TEMPLATES).read_text(encoding="utf-8")
    relations, ids = dict(parse_relations(text, TEMPLATES)), _ids(text)
    for known, found in _statements(patterns, ids).items():
        every = dict.fromkeys((*relations[known].statements, *found))
        relations[known] = replace(relations[known], statements=tuple(every))
    splits = {fact.subject: fact.split for fact in source.facts}
    rows: dict[tuple[str, str], FactRow] = {}
    for row in read_rows(facts, ("relation", "subject", "object")):
        name, subject, obj = ids.get(row["relation"]), row["subject"], row["object"]
        if name is not None and subject not in obj and obj not in subject:
            split = splits.get(subject) or split_by_hash(subject)
            kind = relations[name].subject
            rows.setdefault((subject, name), FactRow(subject, kind, name, obj, obj, split))
    if not rows:
        raise ErrataError(
            f"{facts}: expected facts of relations in {TEMPLATES}, found none; name a file of "
            "T-REx facts"
        )
    merged = {**source.relations, **relations}
    return FactSource((*source.facts, *rows.values()), merged, source.aliases)


def split_by_hash(text: str) -> Split:
    """Return the split of a name or a question of a file: 70% train, 4% tune, 26% test."""
    bucket = int(hashlib.sha256(f"reasoner/{text}".encode()).hexdigest(), 16) % 100
    return "train" if bucket < 70 else "tune" if bucket < 74 else "test"


def _ids(text: str) -> Mapping[str, str]:
    """Return the names of relations by their Wikidata ids."""
    from ruamel.yaml import YAML

    data: dict[str, dict[str, Any]] = YAML(typ="safe", pure=True).load(text)
    return {body["wikidata"]: name for name, body in data.items()}


def _statements(patterns: Path | None, ids: Mapping[str, str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for row in () if patterns is None else read_rows(patterns, ("relation", "pattern")):
        text = " ".join(row["pattern"].replace(" .", ".").split())
        if row["relation"] in ids and "{" not in text and text.endswith("[Y]."):
            template = text.replace("[X]", "{s}").replace("[Y]", "{o}")
            if template.count("{s}") == 1 and template.count("{o}") == 1:
                found[ids[row["relation"]]].append(template)
    return found
