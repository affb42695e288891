"""The FAISS index: exact for few vectors, an HNSW graph for many. The only file importing faiss.

The FAISS structure is never changed once built: threads search it without a lock, and copies share
it. Additions go into a tail that is searched exactly; removals leave a tombstone (HNSW cannot
remove). A tail of a fifth of the index is added to a clone; with a fifth of tombstones the index is
rebuilt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import faiss
import numpy as np

from errata.cache.errors import IndexMismatchError
from errata.cache.index.base import (
    FlatIndex,
    SearchResult,
    checked_vectors,
    read_index,
    refuse_duplicates,
    write_index,
)
from errata.cache.records import Vector

_LEAST_TAIL = 256
_HNSW_NEIGHBOURS = 32
_EF_CONSTRUCTION = 100
_LEAST_EF_SEARCH = 128


class FaissIndex:
    """Nearest vectors by inner product.

    Exact below ``hnsw_from`` vectors; from there on, recall at 10 is at least 0.95.

    :param dimension: width d of the vectors.
    :param hnsw_from: number of vectors from which the graph is used.
    :param least_tail: additions or removals before the FAISS structure is changed.
    """

    def __init__(
        self, dimension: int, *, hnsw_from: int = 50_000, least_tail: int = _LEAST_TAIL
    ) -> None:
        self.dimension = dimension
        self.hnsw_from = hnsw_from
        self.least_tail = least_tail
        self._main: Any = None
        self._main_ids: tuple[str, ...] = ()
        self._row: Mapping[str, int] = MappingProxyType({})
        self._dead: frozenset[int] = frozenset()
        self._tail = FlatIndex(dimension)

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self._main_ids) - len(self._dead) + len(self._tail)

    def __contains__(self, key: object) -> bool:
        """Return whether an id is in the index."""
        return str(key) in self._present([str(key)])

    @property
    def is_graph(self) -> bool:
        """Whether the vectors, the tail apart, are in an HNSW graph."""
        return isinstance(self._main, faiss.IndexHNSW)

    def copy(self) -> FaissIndex:
        """Return an independent index; the FAISS structure is shared."""
        other = FaissIndex(self.dimension, hnsw_from=self.hnsw_from, least_tail=self.least_tail)
        other._main, other._main_ids, other._row = self._main, self._main_ids, self._row
        other._dead, other._tail = self._dead, self._tail.copy()
        return other

    def add(self, ids: Sequence[str], vectors: Vector) -> None:
        """Add vectors; see :meth:`errata.cache.index.base.VectorIndex.add`."""
        checked = checked_vectors(vectors, self.dimension, len(ids))
        refuse_duplicates(ids, self._present(ids))
        self._tail.add(ids, checked)
        self._compact()

    def remove(self, ids: Iterable[str]) -> int:
        """Remove vectors; see :meth:`errata.cache.index.base.VectorIndex.remove`."""
        gone = set(ids)
        rows = {self._row[key] for key in gone if key in self._row} - self._dead
        self._dead = self._dead | rows
        count = len(rows) + self._tail.remove(gone)
        self._compact()
        return count

    def search(self, vectors: Vector, k: int) -> SearchResult:
        """Return the k nearest of each; see :meth:`errata.cache.index.base.VectorIndex.search`."""
        queries = checked_vectors(vectors, self.dimension)
        wanted = max(0, min(k, len(self)))
        tail = self._tail.search(queries, wanted)
        if self._main is None or not wanted or not len(queries):
            return tail
        main = self._search_main(queries, wanted)
        ids, scores = [], []
        for row, found in enumerate(main):
            both = [*found, *zip(tail.ids[row], map(float, tail.scores[row]), strict=True)]
            both.sort(key=lambda pair: -pair[1])
            ids.append(tuple(key for key, _ in both[:wanted]))
            scores.append(np.array([score for _, score in both[:wanted]], dtype=np.float32))
        return SearchResult(tuple(ids), tuple(scores))

    def save(self, path: Path) -> None:
        """Write the FAISS index to a file, its ids to a JSON file next to it."""
        compact = self.copy()
        if compact._dead or len(compact._tail):
            compact._rebuild()
        data = b"" if compact._main is None else faiss.serialize_index(compact._main).tobytes()
        metadata = {"ids": list(compact._main_ids), "dimension": self.dimension}
        write_index(path, data, metadata)

    def load(self, path: Path) -> None:
        """Load what :meth:`save` wrote; see ``VectorIndex.load``."""
        data, metadata = read_index(path, self.dimension)
        ids = tuple(metadata["ids"])
        main = None
        if data:
            try:
                main = faiss.deserialize_index(np.frombuffer(data, dtype=np.uint8))
            except RuntimeError as error:
                raise IndexMismatchError(f"{path}: FAISS cannot read it ({error})") from None
        if (0 if main is None else main.ntotal) != len(ids):
            raise IndexMismatchError(f"{path}: holds other vectors than its {len(ids)} ids")
        self._set_main(main, ids)

    def _present(self, ids: Iterable[str]) -> set[str]:
        tail, rows, dead = set(self._tail.ids), self._row, self._dead
        return {key for key in ids if key in tail or (key in rows and rows[key] not in dead)}

    def _search_main(self, queries: Vector, wanted: int) -> list[list[tuple[str, float]]]:
        fetch = min(len(self._main_ids), wanted + min(len(self._dead), wanted))
        alive = min(wanted, len(self._main_ids) - len(self._dead))
        while True:
            options: Any = None
            if isinstance(self._main, faiss.IndexHNSW):
                efforts: Any = faiss  # whose own types lack this class
                options = efforts.SearchParametersHNSW(efSearch=max(_LEAST_EF_SEARCH, 2 * fetch))
            scores, rows = self._main.search(queries, fetch, params=options)
            found = [
                [
                    (self._main_ids[row], float(score))
                    for row, score in zip(near, score_row, strict=True)
                    if row >= 0 and row not in self._dead
                ]
                for near, score_row in zip(rows.tolist(), scores.tolist(), strict=True)
            ]
            if fetch >= len(self._main_ids) or min(len(each) for each in found) >= alive:
                return [each[:wanted] for each in found]
            # Most of the nearest are tombstones: fetch more, up to everything.
            fetch = min(len(self._main_ids), fetch * 4)

    def _compact(self) -> None:
        size = len(self._main_ids)
        if len(self._dead) > max(self.least_tail, size // 5) or (size and len(self._dead) == size):
            self._rebuild()
        elif len(self._tail) > max(self.least_tail, size // 5):
            if self._graph_for(size + len(self._tail)) != self.is_graph or self._main is None:
                self._rebuild()
            else:
                main = faiss.clone_index(self._main)
                main.add(self._tail.vectors)
                self._set_main(main, self._main_ids + self._tail.ids, self._dead)

    def _graph_for(self, size: int) -> bool:
        return size >= self.hnsw_from

    def _rebuild(self) -> None:
        alive = [row for row in range(len(self._main_ids)) if row not in self._dead]
        parts = [self._tail.vectors]
        if alive:
            kept = self._main.reconstruct_n(0, len(self._main_ids))[alive]
            parts.insert(0, np.ascontiguousarray(kept, dtype=np.float32))
        vectors = np.concatenate(parts)
        ids = tuple(self._main_ids[row] for row in alive) + self._tail.ids
        if not ids:
            self._set_main(None, ())
            return
        main: Any
        if self._graph_for(len(ids)):
            main = faiss.IndexHNSWFlat(self.dimension, _HNSW_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
            main.hnsw.efConstruction = _EF_CONSTRUCTION
        else:
            main = faiss.IndexFlatIP(self.dimension)
        main.add(vectors)
        self._set_main(main, ids)

    def _set_main(
        self, main: Any, ids: tuple[str, ...], dead: frozenset[int] = frozenset()
    ) -> None:
        # An id removed and added again has two rows: the last one is in use.
        self._main, self._main_ids, self._dead = main, ids, dead
        self._row = MappingProxyType({key: row for row, key in enumerate(ids)})
        self._tail = FlatIndex(self.dimension)
