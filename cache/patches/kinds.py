"""The kinds of edits: from an entry of a patch file to a typed record, and back.

A kind is one class in one module and one line in ``_BUILT_IN``; other packages add theirs through
the entry point group ``errata.kinds``. The key of an entry identifies its kind: ``question``,
``if``, ``regex``.
"""

from __future__ import annotations

import functools
import importlib
import itertools
from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from errata.cache.errors import ErrataError, PatchError, UnsupportedEdit
from errata.cache.patches.schema import KEYS_SHOWN, did_you_mean
from errata.cache.records import Edit, SourceLocation

_BUILT_IN = {
    "fact": "errata.cache.patches.fact:FactKind",
    "language": "errata.cache.patches.language:LanguageKind",
    "regex": "errata.cache.patches.regex:RegexKind",
}


@runtime_checkable
class EditKind(Protocol):
    """One kind of edit.

    Contract: ``parse(dump(e)) == e``; only :class:`PatchError` escapes ``parse``, whatever the
    mapping; an edit's JSON form holds nothing but text, whole numbers, booleans and lists.
    """

    kind: str
    """The kind's name, as in ``Edit.kind``."""

    key: str
    """The key that only entries of this kind have."""

    keys: tuple[str, ...]
    """Every key an entry of this kind may have."""

    def parse(self, body: Mapping[str, Any], where: SourceLocation | None = None) -> Edit:
        """Return the edit an entry describes; raises only :class:`PatchError`."""

    def dump(self, edit: Edit) -> dict[str, Any]:
        """Return the entry that describes the edit, without keys that are not set."""

    def context(self, edit: Edit) -> str:
        """Return the edit as a sentence for a reasoner's context."""


@functools.cache
def kinds() -> Mapping[str, EditKind]:
    """Return the kinds by name, the built-in ones first.

    :raises ErrataError: if a plug-in takes a name or a key that another kind has.
    """
    found: dict[str, EditKind] = {}
    for target in _BUILT_IN.values():
        module, _, name = target.partition(":")
        _register(found, getattr(importlib.import_module(module), name)())
    for entry in sorted(entry_points(group="errata.kinds"), key=lambda entry: entry.name):
        _register(found, entry.load()())
    return MappingProxyType(found)


def parse_edit(body: object, where: SourceLocation | None = None) -> Edit:
    """Return the edit an entry describes; its keys identify its kind.

    :param body: a mapping of keys to texts, lists and mappings.
    :param where: the entry's place, for errors and for ``Edit.location``.
    :raises PatchError: the entry is wrong; nothing else is raised.
    """
    if not isinstance(body, Mapping):
        raise PatchError(
            "a patch is a mapping of keys such as question: and answer:, "
            f"found {type(body).__name__}",
            where,
        )
    matching = [kind for kind in kinds().values() if kind.key in body]
    if len(matching) == 1:
        return matching[0].parse(body, where)
    expected = ", ".join(f"{kind.key}:" for kind in kinds().values())
    if matching:
        found = " and ".join(f"{kind.key}:" for kind in matching)
        raise PatchError(
            f"found {found} in one entry: an entry is one patch, so split it in two", where
        )
    keys = [kind.key for kind in kinds().values()]
    some = list(itertools.islice(body, KEYS_SHOWN))
    close = [(str(key), hint) for key in some if (hint := did_you_mean(key, keys))]
    hint = close[0][1] if close else ""
    found = ", ".join(str(key)[:40] for key in some) or "no keys"
    found += f" and {len(body) - len(some):,} more" if len(body) > len(some) else ""
    raise PatchError(
        f"a patch has one of the keys {expected}, found {found}{hint}",
        where,
        (close[0][0],) if close else (),
    )


def dump_edit(edit: Edit) -> dict[str, Any]:
    """Return the entry that describes the edit.

    :raises UnsupportedEdit: if no kind of the edit's name is registered.
    """
    return _kind_of(edit).dump(edit)


def context(edit: Edit) -> str:
    """Return the edit as a sentence for a reasoner's context."""
    return _kind_of(edit).context(edit)


def check(edit: Edit) -> dict[str, Any]:
    """Check an edit made in Python by the rules of patch files; return its entry.

    :raises PatchError: if the edit is wrong.
    """
    body = dump_edit(edit)
    if _kind_of(edit).parse(body, edit.location) != edit:
        raise PatchError(
            f"edit {edit.id} does not survive being written down: fields must be text, tuples of "
            f"text, whole numbers and dates, found {edit!r}",
            edit.location,
        )
    return body


def _kind_of(edit: Edit) -> EditKind:
    if edit.kind not in kinds():
        raise UnsupportedEdit(
            f"edit {edit.id} is of kind {edit.kind!r}, known are {', '.join(kinds())}: install the "
            "package that brings the kind"
        )
    return kinds()[edit.kind]


def _register(found: dict[str, EditKind], kind: EditKind) -> None:
    if not isinstance(kind, EditKind):
        raise ErrataError(
            f"{kind!r} is no EditKind: it needs kind, key, keys, parse, dump, context"
        )
    for other in found.values():
        if kind.kind == other.kind or kind.key == other.key:
            raise ErrataError(
                f"two kinds are called {kind.kind!r} or have the key {kind.key!r}: "
                f"{type(other).__name__} and {type(kind).__name__}; uninstall or rename one"
            )
    found[kind.kind] = kind
