"""The ``edits=`` argument: ``True``, ``False``, ``{"tags": [...]}`` or ``{"ids": [...]}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from errata.cache.errors import ErrataError
from errata.cache.records import Edit

Selection = bool | Mapping[str, Sequence[str]]
_KEYS = ("tags", "ids")


def selector(selection: Selection) -> Callable[[Edit], bool]:
    """Return the predicate of a selection: edits with any of the tags or ids.

    :param selection: True for all, or a mapping of ``tags`` and ``ids`` to lists.
    :raises ErrataError: anything else.
    """
    if isinstance(selection, bool):
        return lambda edit: selection
    if not isinstance(selection, Mapping) or not selection or set(selection) - set(_KEYS):
        raise ErrataError(
            'expected edits=True, False, {"tags": [...]} or {"ids": [...]}, '
            f"found {selection!r}"
        )
    if any(isinstance(value, str) for value in selection.values()):
        raise ErrataError(f"expected lists of texts in edits=, found {dict(selection)!r}")
    tags, ids = set(selection.get("tags", ())), set(selection.get("ids", ()))
    return lambda edit: edit.id in ids or bool(tags & set(edit.tags))
