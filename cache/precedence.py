"""Which of several edits of one scope speaks: the later one, after ``priority`` and ``supersedes``.

Edits made by program are in the order of their commits, those of files in the order of path and
line. An edit made by program is later than the patches that were in the files when it was made,
and earlier than those that were added or changed there since.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from weakref import WeakKeyDictionary

from errata.cache.patches.kinds import dump_edit
from errata.cache.records import Edit, Fact, LanguagePatch, RegexPatch
from errata.cache.text.normalize import compare

Seen = Mapping[str, frozenset[str]]
"""Of each edit made by program, in the order of commits, the digests of the patches in files that
list one of its texts and that it was made over."""


EditPredicate = Callable[[Edit], bool]


def in_force(
    edits: Iterable[Edit], today: datetime.date, superseding: EditPredicate | None = None
) -> tuple[Edit, ...]:
    """Return the edits whose dates include the day and that no such edit supersedes, in order.

    :param edits: all edits.
    :param today: the day.
    :param superseding: which edits supersede others; all whose dates include the day unless given.
    """
    dated = [edit for edit in edits if edit.in_force(today)]
    superseded = {
        name
        for edit in dated
        if edit.supersedes and (superseding is None or superseding(edit))
        for name in edit.supersedes
    }
    return tuple(edit for edit in dated if edit.id not in superseded)


def same_scope(one: Edit, two: Edit) -> bool:
    """Return whether two edits govern the same queries, by their text."""
    if one.kind != two.kind:
        return False
    if isinstance(one, RegexPatch) and isinstance(two, RegexPatch):
        return (one.target, one.pattern) == (two.target, two.pattern)
    return compare(one.scope, two.scope) == "same"


def effect(edit: Edit) -> str:
    """Return what an edit does to a query in its scope: answer, consequence or replacement."""
    if isinstance(edit, Fact):
        return edit.answer
    if isinstance(edit, LanguagePatch):
        return edit.consequence
    if isinstance(edit, RegexPatch):
        return edit.replacement
    return repr(edit.content())


_DIGESTS: WeakKeyDictionary[Edit, str] = WeakKeyDictionary()
"""By edit, for as long as it lives."""


def digest(edit: Edit) -> str:
    """Return a hash of a patch as its file has it, all keys included."""
    found = _DIGESTS.get(edit)
    if found is None:
        body = json.dumps({**dump_edit(edit), "id": edit.id}, sort_keys=True)
        found = hashlib.sha256(body.encode(errors="surrogatepass")).hexdigest()[:16]
        _DIGESTS[edit] = found
    return found


def contested(
    edits: Iterable[Edit],
    spellings: Iterable[Sequence[str]],
    owners: Mapping[str, Sequence[str]],
) -> list[list[Edit]]:
    """Return the edits that have a listed text or a pattern in common, two or more together.

    :param edits: those that count.
    :param spellings: the texts by which edits are found, those of one spelling together.
    :param owners: the ids of the edits that each text belongs to.
    """
    by_id = {edit.id: edit for edit in edits}
    groups = [
        [key for text in texts for key in owners.get(text, ())]
        for texts in spellings
        if len(texts) > 1 or len(owners.get(texts[0], ())) > 1
    ]
    patterns: dict[tuple[str, str], list[str]] = {}
    for edit in by_id.values():
        if isinstance(edit, RegexPatch):
            patterns.setdefault((edit.target, edit.pattern), []).append(edit.id)
    several = (
        [by_id[key] for key in dict.fromkeys(ids) if key in by_id]
        for ids in (*groups, *patterns.values())
        if len(ids) > 1
    )
    return [group for group in several if len(group) > 1]


class Precedence:
    """The order among edits that have a listed text in common.

    :param seen: the edits made by program.
    :param filed: ids of the edits of files.
    :param edits: the edits of files at least, in their order.
    """

    def __init__(
        self, seen: Seen, filed: Collection[str], edits: Callable[[], Iterable[Edit]]
    ) -> None:
        self._seen, self._filed, self._edits = seen, filed, edits

    def is_filed(self, key: str) -> bool:
        """Return whether the edit of an id is in a file."""
        return key in self._filed

    def latest_first(self, edits: Iterable[Edit]) -> list[Edit]:
        """Return edits that have a listed text in common, the latest first."""
        several = list(edits)
        if len(several) < 2:
            return several
        commits = [edit.id for edit in several if edit.id in self._seen]

        def rank(edit: Edit) -> tuple[int, int]:
            made = (self._commits.get(edit.id, -1), -1)
            if edit.id not in self._filed:
                return made
            unseen = [self._commits[key] for key in commits if digest(edit) not in self._seen[key]]
            return max(made, (max(unseen, default=-1), self._position[edit.id]))

        return sorted(several, key=rank, reverse=True)

    @cached_property
    def _commits(self) -> Mapping[str, int]:
        return {key: order for order, key in enumerate(self._seen)}

    @cached_property
    def _position(self) -> Mapping[str, int]:
        return {edit.id: at for at, edit in enumerate(self._edits())}


def overruled(
    groups: Iterable[Sequence[Edit]], may_overrule: Callable[[Edit], bool]
) -> dict[str, Edit]:
    """Return the edits that another one of the same scope and another effect overrules.

    :param groups: edits that may have one scope, the latest first (:class:`Precedence`).
    :param may_overrule: which edits may; the others are left alone.
    :return: by id, the edit that speaks instead.
    """
    found: dict[str, Edit] = {}
    for group in groups:
        speaking: list[Edit] = []
        # sorted is stable: of equal priority the later comes first
        for edit in sorted(group, key=lambda one: -one.priority):
            if not may_overrule(edit):
                continue
            above = next((one for one in speaking if same_scope(one, edit)), None)
            if above is None:
                speaking.append(edit)
            elif effect(above) != effect(edit):
                found[edit.id] = above
    return found
