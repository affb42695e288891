"""The edits of a segment at one moment, and the search over them."""

from __future__ import annotations

import heapq
import json
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, overload

import numpy as np

from errata.cache.index.search import encoded_texts, searched_texts
from errata.cache.index.terms import bare_words, bigrams, words_of
from errata.cache.patches.kinds import parse_edit
from errata.cache.records import Edit, Fact, PatchTests, Query, Vector
from errata.cache.storage.segment_file import Entry, key_of
from errata.cache.text.name_keys import names_in_text, parts_in_text
from errata.cache.text.normalize import normalize_query, rough_key, word_ngrams

if TYPE_CHECKING:
    from errata.cache.segment import Segment

_READ_AT_ONCE = 1000


class Record:
    """An edit that was read; its parts are made when they are asked for.

    :param entry: the edit as the file holds it.
    """

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.position, self.id, self.body = entry.position, entry.id, entry.body
        self.words = entry.words

    @cached_property
    def edit(self) -> Edit:
        """The edit."""
        return edit_of(self.id, self.body)

    @cached_property
    def vectors(self) -> Mapping[str, Vector]:
        """The encodings of its texts, float32 [d] by text."""
        rows = self._entry.vectors.astype(np.float32)
        return dict(zip(encoded_texts(self.edit), rows, strict=False))


_KEYS = frozenset("id question answer subject aliases source author tags priority tests".split())


def edit_of(key: str, body: str) -> Edit:
    """Return an edit of the file; it was checked when it was written.

    :param key: its id.
    :param body: its entry as JSON.
    """
    entry = json.loads(body)
    if not entry.keys() <= _KEYS:
        return parse_edit(entry)
    tests = entry.get("tests", {})
    return Fact(
        id=key,
        question=entry["question"],
        answer=entry["answer"],
        subject=entry.get("subject"),
        aliases=tuple(entry.get("aliases", ())),
        source=entry.get("source"),
        author=entry.get("author"),
        tags=tuple(entry.get("tags", ())),
        priority=entry.get("priority", 0),
        tests=PatchTests(
            tuple(tests.get("fires", ())),
            tuple(tests.get("silent", ())),
            tuple(tests.get("expect", {}).items()),
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class SegmentView:
    """The edits of a segment at one moment.

    :param segment: the segment.
    :param limit: the last position that belongs to it.
    :param out: positions that do not: retracted, or in memory.
    :param count: the number of edits.
    :param apart: those of ``out`` that the file says; the others were read back into memory.
    :param aside: ids of the edits in memory that stay there.
    """

    segment: Segment
    limit: int
    out: frozenset[int]
    count: int
    apart: frozenset[int] = frozenset()
    aside: frozenset[str] = field(default_factory=frozenset)

    def __len__(self) -> int:
        """Return the number of edits."""
        return self.count

    def without(self, records: Collection[Record]) -> SegmentView:
        """Return the view without edits that are read into memory."""
        out = self.out.union(record.position for record in records)
        aside = self.aside.union(record.id for record in records)
        return replace(self, out=out, count=self.count - len(records), aside=aside)

    def ids(self) -> Iterator[str]:
        """Yield the ids, in the order the edits were made."""
        return (key for key, _ in self._read())

    def edits(self) -> Iterator[Edit]:
        """Yield the edits, in the order they were made, read one after the other."""
        return (edit_of(key, body) for key, body in self._read())

    def get(self, key: str) -> Edit | None:
        """Return the edit of an id."""
        record = self.record(key)
        return None if record is None else record.edit

    def record(self, key: str) -> Record | None:
        """Return the record of an id."""
        known = self.segment.known(key)
        if known is not None:
            return known if self._visible([known.position]) else self._read_record(key)
        return self._read_record(key)

    def records_of(self, keys: Iterable[int], most: int = -1) -> list[Record]:
        """Return the records that are looked up by any of the keys, at most so many a key."""
        return list(self.at(self.segment.file.looked_up(keys, most)).values())

    def at(self, positions: Iterable[int]) -> dict[int, Record]:
        """Return the records at those of the positions that belong to the view."""
        return self.segment.records(self._visible(positions))

    def same(self, text: str) -> list[str]:
        """Return the ids of the edits with a text of the same letters and digits."""
        key = rough_key(text)
        found = self.records_of([key_of("text", key)])
        return [r.id for r in found if any(rough_key(t) == key for t in searched_texts(r.edit))]

    def vector(self, text: str) -> Vector | None:
        """Return the encoding of a text that an edit is searched by, float32 [d]."""
        for record in self.records_of([key_of("text", rough_key(text))]):
            if text in record.vectors:
                return record.vectors[text]
        return None

    def nearest(self, query: Query, k: int, allowed: Callable[[str], bool]) -> set[str]:
        """Return the ids of the k edits with a text nearest to each of a query's windows."""
        fetch, inverted, most = 2 * k, self.segment.inverted, self.segment.config.filtered
        while True:
            rows = inverted.search(query.vectors, fetch)
            records = self.at({row for near in rows for row in near})
            found = []
            for near in rows:
                keys = dict.fromkeys(records[row].id for row in near if row in records)
                found.append([key for key in keys if allowed(key)][:k])
            enough = all(len(each) >= k for each in found)
            if enough or fetch >= most or all(len(near) < fetch for near in rows):
                return {key for each in found for key in each}
            fetch *= 4

    def by_words(self, text: str, k: int) -> list[tuple[str, float]]:
        """Return the ids of the k edits that share the rarest words with a text, by BM25.

        Words that very many edits have are left out.
        """
        length = self.segment.config.length_share
        scored = []
        for record, shared in self._sharing(text, 2 * k):
            long = 1 - length + length * record.words / max(1.0, self.segment.terms_mean)
            saturation = self.segment.config.saturation
            scored.append((record.id, shared * (saturation + 1) / (1 + saturation * long)))
        return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:k]

    def by_characters(self, text: str, k: int) -> list[tuple[str, float]]:
        """Return the ids of the k edits most alike by bigrams among those that share words.

        A word in a script without spaces is indexed by its bigrams.
        """
        wanted = bigrams(normalize_query(text))
        scored = []
        for record, _ in self._sharing(text, 4 * k):
            sets = [bigrams(normalize_query(one)) for one in searched_texts(record.edit)]
            best = max(2 * len(wanted & one) / max(1, len(wanted) + len(one)) for one in sets)
            scored.append((record.id, best))
        return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:k]

    def by_answer(self, query: Query, k: int) -> list[str]:
        """Return the ids of k facts near a query among those whose answer it mentions."""
        keys = [key_of("answer", *words) for words in word_ngrams(bare_words(query.text))]
        file, most = self.segment.file, self.segment.config.per_answer
        found = self._visible(file.looked_up(keys, most))
        if len(found) > k:
            only = np.array(sorted(found), dtype=np.int64)
            near = self.segment.inverted.search(query.vectors, 4 * k, only)
            found = list(dict.fromkeys(row for each in near for row in each))[:k]
        return [record.id for record in self.at(found).values()]

    def named_in(self, text: str) -> list[Edit]:
        """Return the facts whose subject, another name of it or a part of one is in a text."""
        file = self.segment.file
        keys = [key_of("name", *name) for name in names_in_text(text)]
        keys += file.whole_names([key_of("part", *part) for part in parts_in_text(text)])
        return [one.edit for one in self.records_of(keys, self.segment.config.per_name)]

    def _sharing(self, text: str, k: int) -> list[tuple[Record, float]]:
        """Return the k records that share the rarest words with a text, and the words' weight."""
        file, most = self.segment.file, self.segment.config.per_term
        shared: defaultdict[int, float] = defaultdict(float)
        for term in words_of(text) - self.segment.common:
            rows = file.with_term(term, most + 1)
            if len(rows) <= most:
                weight = math.log1p((self.count - len(rows) + 0.5) / (len(rows) + 0.5))
                for row in rows:
                    shared[row] += weight
        best = heapq.nlargest(k, shared.items(), key=itemgetter(1))
        records = self.at(row for row, _ in best)
        return [(records[row], weight) for row, weight in best if row in records]

    def _read_record(self, key: str) -> Record | None:
        found = self.records_of([key_of("id", key)])
        return next((one for one in found if one.id == key), None)

    def _visible(self, positions: Iterable[int]) -> list[int]:
        return [at for at in positions if at <= self.limit and at not in self.out]

    def _read(self) -> Iterator[tuple[str, str]]:
        after = 0
        while rows := self.segment.file.bodies(after, self.limit, _READ_AT_ONCE):
            yield from ((key, body) for at, key, body in rows if at not in self.out)
            after = rows[-1][0]


def terms_of(edit: Edit) -> frozenset[str]:
    """Return the words of the texts by which an edit is searched."""
    return frozenset(term for text in searched_texts(edit) for term in words_of(text))


class SegmentedEdits(Sequence[Edit]):
    """Edits in memory and on disk, read one after the other; a slice is a tuple.

    :param before: those in memory that come first.
    :param segment: those on disk.
    :param after: those in memory that come last.
    """

    def __init__(
        self, before: tuple[Edit, ...], segment: SegmentView, after: tuple[Edit, ...]
    ) -> None:
        self.before, self.segment, self.after = before, segment, after

    def __len__(self) -> int:
        """Return the number of edits."""
        return len(self.before) + len(self.segment) + len(self.after)

    def __iter__(self) -> Iterator[Edit]:
        """Yield every edit."""
        return chain(self.before, self.segment.edits(), self.after)

    @overload
    def __getitem__(self, at: int) -> Edit: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[Edit, ...]: ...

    def __getitem__(self, at: int | slice) -> Edit | tuple[Edit, ...]:
        """Return the edit at a place, or those of a slice; reads all before it."""
        if isinstance(at, slice):
            return tuple(self)[at]
        place = at + len(self) if at < 0 else at
        if not 0 <= place < len(self):
            raise IndexError(at)
        return next(islice(self, place, None))


class SegmentedById(Mapping[str, Edit]):
    """Edits in memory and on disk by id.

    :param held: those in memory.
    :param segment: those on disk.
    """

    def __init__(self, held: Mapping[str, Edit], segment: SegmentView) -> None:
        self._held, self._segment = held, segment

    def __len__(self) -> int:
        """Return the number of edits."""
        return len(self._held) + len(self._segment)

    def __iter__(self) -> Iterator[str]:
        """Yield every id."""
        return chain(self._held, self._segment.ids())

    def __contains__(self, key: object) -> bool:
        """Return whether there is an edit of that id."""
        return key in self._held or self._segment.record(str(key)) is not None

    def __getitem__(self, key: str) -> Edit:
        """Return the edit of that id."""
        found = self._held.get(key) or self._segment.get(key)
        if found is None:
            raise KeyError(key)
        return found


class SegmentedVectors(Mapping[str, Vector]):
    """Encodings in memory and on disk by text; iterating reads every edit.

    :param held: those in memory.
    :param segment: those on disk.
    """

    def __init__(self, held: Mapping[str, Vector], segment: SegmentView) -> None:
        self._held, self._segment = held, segment

    def __len__(self) -> int:
        """Return the number of texts; reads every edit."""
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[str]:
        """Yield every text."""
        there = (text for edit in self._segment.edits() for text in encoded_texts(edit))
        return chain(self._held, (text for text in there if text not in self._held))

    def __contains__(self, text: object) -> bool:
        """Return whether a text is encoded."""
        return text in self._held or self._segment.vector(str(text)) is not None

    def __getitem__(self, text: str) -> Vector:
        """Return the encoding of a text, float32 [d]."""
        found = self._held.get(text)
        if found is None:
            found = self._segment.vector(text)
        if found is None:
            raise KeyError(text)
        return found
