"""errata's own format: JSON lines, one case a line, written and read without loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, Literal, cast

from errata.cache.errors import ErrataError, PatchError
from errata.cache.patches.kinds import dump_edit, parse_edit
from errata.cache.records import Fact, SourceLocation
from errata.compare.inputs.cases import PROPERTY_OF, Case, Preference, Probe
from errata.compare.inputs.loaders.records import Record, Source

_PREFERENCES = ("rewrite", "paraphrase", "neighbour")


class ErrataLines:
    """Reads what :func:`dump` writes, such as the file of ``errata atlas-bench``.

    The keys are the fields of :class:`~errata.compare.inputs.cases.Case`; those with their default
    may be left out. Edits are written as in a file under ``patches/``.
    """

    name = "errata"

    def fits(self, source: Source) -> bool:
        """Return whether the first record has edits and probes."""
        return source.first is not None and source.first.has("edits", "probes")

    def cases(self, source: Source) -> list[Case]:
        """Return one case a record.

        :raises ErrataError: a record is malformed.
        """
        return [_case(record, str(source.path)) for record in source.records]


def dump(case: Case) -> dict[str, Any]:
    """Return a case as a JSON object, without keys at their default."""
    return {
        **_non_defaults(case),
        "edits": [dump_edit(edit) for edit in case.edits],
        "probes": [_non_defaults(probe) for probe in case.probes],
        "preferences": [_non_defaults(preference) for preference in case.preferences],
    }


def _non_defaults(value: Case | Probe | Preference) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults."""
    values = {field.name: getattr(value, field.name) for field in fields(value)}
    return {f.name: values[f.name] for f in fields(value) if values[f.name] != f.default}


def _case(record: Record, path: str) -> Case:
    keys = [field.name for field in fields(Case)]
    unknown = sorted(set(record.body) - set(keys))
    if unknown:
        raise record.wrong(f"the keys {', '.join(keys)}", ", ".join(unknown))
    where = SourceLocation(path, record.line) if record.line else None
    edits = tuple(_edit(each, where) for each in record.each("edits"))
    if not edits:
        raise record.wrong("one fact or more under 'edits'", [])
    return Case(
        id=_exact(record, "id"),
        edits=edits,
        probes=tuple(_probe(each) for each in record.each("probes")),
        preferences=tuple(_preference(each) for each in record.each("preferences")),
        old=_exact(record, "old", ""),
        group=_exact(record, "group", ""),
        split=_exact(record, "split", ""),
        generation=_list(record, "generation"),
    )


def _edit(record: Record, where: SourceLocation | None) -> Fact:
    try:
        edit = parse_edit(record.body)
    except PatchError as error:
        raise ErrataError(f"{record.where}: expected a fact as in a patch file: {error}") from error
    if not isinstance(edit, Fact):
        raise record.wrong("a fact (question and answer)", f"a {edit.kind} patch")
    return replace(edit, location=where)


def _probe(record: Record) -> Probe:
    kind = _one_of(record, tuple(PROPERTY_OF))
    false_prompt = _exact(record, "false_prompt") if record.has("false_prompt") else None
    return Probe(
        kind=kind,
        prompt=_exact(record, "prompt"),
        answers=_list(record, "answers"),
        false_prompt=false_prompt,
        denials=_list(record, "denials"),
        known=tuple(_pairs(record)),
        gold=_exact(record, "gold", ""),
    )


def _preference(record: Record) -> Preference:
    kind = cast(Literal["rewrite", "paraphrase", "neighbour"], _one_of(record, _PREFERENCES))
    return Preference(kind, _exact(record, "prompt"), _exact(record, "new"), _exact(record, "old"))


def _pairs(record: Record) -> Iterator[tuple[str, str]]:
    for pair in record.body.get("known", ()):
        texts = isinstance(pair, list) and all(isinstance(text, str) for text in pair)
        if not texts or len(pair) != 2:
            raise record.wrong("pairs of a question and its answer under 'known'", pair)
        yield pair[0], pair[1]


def _one_of(record: Record, names: tuple[str, ...]) -> str:
    kind = record.body.get("kind")
    if kind not in names:
        raise record.wrong(f"one of {', '.join(names)} under 'kind'", kind)
    return str(kind)


def _exact(record: Record, key: str, default: str | None = None) -> str:
    """Return a text with its outer spaces."""
    value = record.body.get(key, default)
    if not isinstance(value, str):
        raise record.wrong(f"a text under {key!r}", value)
    return value


def _list(record: Record, key: str) -> tuple[str, ...]:
    value = record.body.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise record.wrong(f"a list of texts under {key!r}", value)
    return tuple(value)
