"""Edits on disk that are read when they are candidates: what a cache of many has beside memory.

Into the segment go facts that nothing else depends on: without dates, ``supersedes``, ``rollout``
or ``forget``, and with no text in common with another edit. Which edit overrules which is so
decided among the few in memory; an edit that starts to depend on another one is read back there.
The positions of edits only grow, so that a view is a limit and the positions that it leaves out.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from errata.cache.index.inverted_file_config import Codes, Lists, Rows
from errata.cache.index.terms import answer_words
from errata.cache.records import Edit, Fact, Vector
from errata.cache.segment_config import SegmentConfig
from errata.cache.segment_view import Record, SegmentView, terms_of
from errata.cache.storage.segment_file import FORMAT, Entry, SegmentFile, Written, key_of
from errata.cache.text.aliases import subject_or_empty
from errata.cache.text.name_keys import name_keys, name_parts
from errata.cache.text.normalize import LONGEST, rough_key

if TYPE_CHECKING:
    from errata.cache.index.inverted_file import InvertedFile


@dataclass(frozen=True, slots=True, eq=False)
class Appended:
    """An edit to be appended; as :class:`Record`, with the texts by which it is searched first."""

    position: int
    edit: Edit
    body: str
    texts: Sequence[str]
    searched: int
    vectors: Mapping[str, Vector]


class Segment:
    """The edits on disk, and the index over their vectors; safe under threads.

    :param path: the file.
    :param fingerprint: the encoder's.
    :param dimension: width d of its vectors.
    :param config: how much is held in memory.
    :param read_only: whether the file must not be written to.
    """

    def __init__(
        self,
        path: Path,
        fingerprint: str,
        dimension: int,
        config: SegmentConfig,
        *,
        read_only: bool = False,
    ) -> None:
        self.config, self.fingerprint = config, fingerprint
        self.file = SegmentFile(path, dimension, read_only=read_only)
        self.inverted = self._empty()
        self.common: frozenset[str] = frozenset()
        self.terms_mean = 1.0
        self._meta: dict[str, str] = {}
        self._batch = 0
        self._records: OrderedDict[int, Record] = OrderedDict()
        self._by_id: dict[str, Record] = {}
        self._lock = threading.Lock()

    def load(self, token: str | None) -> SegmentView | None:
        """Return the edits in the file; None where there are none, or not those of the database.

        :param token: of the database, written when the file was.
        :raises sqlite3.Error: the file is damaged.
        """
        return self.refreshed(None) if self.is_of(token) else None

    def is_of(self, token: str | None) -> bool:
        """Return whether the file is that of the database, of this version and encoder."""
        meta = self.file.meta()
        return (
            token is not None
            and token in (meta.get("token"), meta.get("previous"))
            and meta.get("format") == FORMAT
            and meta.get("fingerprint") == self.fingerprint
        )

    def refreshed(self, view: SegmentView | None) -> SegmentView:
        """Return the view after what other processes appended, set apart or trained again."""
        meta = self.file.meta()
        if meta != self._meta:
            if view is None or meta.get("epoch") != self._meta.get("epoch"):
                inverted = self._empty()
                inverted.restore(self.file.centroids(), int(meta["trained_on"]))
                sizes = sum(
                    np.bincount(each, minlength=inverted.lists) for each in self.file.lists()
                )
                self._batch = self._fill(inverted, 0, np.asarray(sizes))
                self.inverted = inverted
            else:
                self._batch = self._fill(self.inverted, self._batch, None)
            self.common = frozenset(json.loads(meta["common"]))
            self.terms_mean = float(meta["terms_mean"])
            self._meta = meta
        apart, limit = self.file.apart(), int(meta["limit"])
        if view is None:
            return SegmentView(self, limit, apart, int(meta["count"]) - self._held(apart, limit))
        lifted = view.out - view.apart
        out = apart | lifted
        return replace(
            view, limit=limit, out=out, apart=apart,
            count=int(meta["count"]) - self._held(out, limit),
        )  # fmt: skip

    def append(
        self, edits: Sequence[Appended], view: SegmentView | None, limit: int, token: str,
        apart: Collection[int],
    ) -> SegmentView:  # fmt: skip
        """Append edits; return the view after it.

        :param edits: in the order of their positions.
        :param view: the one before; None: the file is new.
        :param limit: the last position of the database.
        :param token: what the database will be told that this file holds.
        :param apart: positions up to the limit that are in neither.
        """
        if view is None:
            self.file.discard()
            self._meta, self.inverted, self._batch = {}, self._empty(), 0
            terms = Counter(term for one in edits for term in terms_of(one.edit))
            self.common = frozenset(t for t, n in terms.items() if n > self.config.per_term)
        dimension = self.file.dimension
        rows = [_rows(one, dimension) for one in edits]
        searched = [r[: e.searched] for r, e in zip(rows, edits, strict=True) if e.searched]
        vectors = np.concatenate(searched) if searched else np.zeros((0, dimension), np.float32)
        if view is None:
            self.inverted.train(vectors)
        lists, codes = self.inverted.encode(vectors)
        counts = [one.searched for one in edits]
        positions = np.repeat(np.array([one.position for one in edits], dtype=np.int64), counts)
        entries = [self._entry(one, r) for one, r in zip(edits, rows, strict=True)]
        held = int(self._meta.get("count", "0"))
        mean = self.terms_mean * held + sum(len(one.terms) for one in entries)
        self.terms_mean = mean / max(1, held + len(entries))
        meta = self._described(limit, token, held + len(entries), with_centroids=view is None)
        self.file.write(Written(entries, positions, lists, codes, meta, apart))
        self.inverted.add([(positions, lists, codes)], None)
        self._meta, self._batch = self.file.meta(), self._batch + bool(len(positions))
        if self.inverted.outgrown:
            self._retrain()
        out, aside = (view.out, view.apart) if view else (frozenset[int](), frozenset[int]())
        count = len(edits) + (view.count if view else 0)
        return SegmentView(self, limit, out.union(apart), count, aside.union(apart))

    def records(self, positions: Iterable[int]) -> dict[int, Record]:
        """Return edits by position, the latest ones read from memory."""
        wanted = list(positions)
        with self._lock:
            found = {at: self._records[at] for at in wanted if at in self._records}
            for at in found:
                self._records.move_to_end(at)
        missing = [at for at in wanted if at not in found]
        read = {one.position: Record(one) for one in self.file.entries(missing)}
        with self._lock:
            self._records |= read
            self._by_id |= {one.id: one for one in read.values()}
            while len(self._records) > self.config.records:
                _, old = self._records.popitem(last=False)
                if self._by_id.get(old.id) is old:
                    del self._by_id[old.id]
        return found | read

    def known(self, key: str) -> Record | None:
        """Return a record that is in memory, by the edit's id."""
        return self._by_id.get(key)

    def _entry(self, one: Appended, rows: Vector) -> Entry:
        edit, texts = one.edit, one.texts[: one.searched]
        keys = {key_of("id", edit.id), *(key_of("text", rough_key(text)) for text in texts)}
        parts: tuple[tuple[int, int], ...] = ()
        if isinstance(edit, Fact):
            words = answer_words(edit.answer)
            if 0 < len(words) <= LONGEST:
                keys.add(key_of("answer", *words))
            names, parts = _name_keys(subject_or_empty(edit), edit.aliases)
            keys |= names
        terms = terms_of(edit) - self.common
        return Entry(
            one.position, edit.id, one.body, rows.astype(np.float16), tuple(keys), parts,
            len(terms), terms,
        )  # fmt: skip

    def _described(
        self, limit: int, token: str, count: int, *, with_centroids: bool
    ) -> dict[str, str | bytes]:
        meta: dict[str, str | bytes] = {
            "format": FORMAT, "fingerprint": self.fingerprint, "limit": str(limit),
            "token": token, "previous": self._meta.get("token", ""), "count": str(count),
            "common": json.dumps(sorted(self.common)), "terms_mean": str(self.terms_mean),
        }  # fmt: skip
        return meta | self._centroids(self.inverted) if with_centroids else meta

    def _centroids(self, inverted: InvertedFile) -> dict[str, str | bytes]:
        data, trained_on = inverted.serialized()
        epoch = int(self._meta.get("epoch", "0")) + 1
        return {"centroids": data, "trained_on": str(trained_on), "epoch": str(epoch)}

    def _retrain(self) -> None:
        """Deal the codes out to more centroids; searches go on in the old ones meanwhile."""
        batches = self.file.batches()
        inverted = self.inverted.retrained((p, li, c) for _, p, li, c in batches)
        dealt = [(batch, inverted.dealt(c)) for batch, _, _, c in self.file.batches()]
        self.file.deal(dealt, self._centroids(inverted))
        sizes = sum(np.bincount(each, minlength=inverted.lists) for _, each in dealt)
        self._fill(inverted, 0, np.asarray(sizes))
        self.inverted, self._meta = inverted, self.file.meta()

    def _fill(self, inverted: InvertedFile, after: int, sizes: Vector | None) -> int:
        """Add the batches of codes after a number; return the last one's."""
        last = after

        def batches() -> Iterator[tuple[Rows, Lists, Codes]]:
            nonlocal last
            for batch, positions, lists, codes in self.file.batches(after):
                yield positions, lists, codes
                last = batch

        inverted.add(batches(), sizes)
        return last

    def _held(self, out: frozenset[int], limit: int) -> int:
        """Return how many of the positions are edits in the file."""
        return self.file.count(position for position in out if position <= limit)

    def _empty(self) -> InvertedFile:
        # Imported late: FAISS is slow to import, and a small cache needs none of this.
        from errata.cache.index.inverted_file import InvertedFile

        return InvertedFile(self.file.dimension, self.config.inverted)


@lru_cache(maxsize=4096)
def _name_keys(
    written: str, aliases: tuple[str, ...]
) -> tuple[frozenset[int], tuple[tuple[int, int], ...]]:
    """Return the keys of a subject's names, and those of its parts, each with the whole name's."""
    names = frozenset(key_of("name", *name) for name in name_keys(written, aliases))
    parts = name_parts(written)
    return names, tuple((key_of("part", *part), key_of("name", *name)) for part, name in parts)


def _rows(one: Appended, dimension: int) -> Vector:
    if not one.texts:
        return np.zeros((0, dimension), dtype=np.float32)
    return np.stack([one.vectors[text] for text in one.texts])


DAMAGES = (sqlite3.Error, KeyError, ValueError)
"""What a damaged file raises; it is made again of the database."""
