"""A vector index of another package: a table, searched row by row."""

import numpy as np

from errata.cache.errors import IndexMismatchError
from errata.cache.index.base import SearchResult, checked_vectors


class TableIndex:
    def __init__(self, dimension):
        self.dimension, self.rows = dimension, {}

    def __len__(self):
        return len(self.rows)

    def add(self, ids, vectors):
        checked = checked_vectors(vectors, self.dimension, len(ids))
        if len(set(ids)) < len(ids) or not self.rows.keys().isdisjoint(ids):
            raise IndexMismatchError(f"expected new ids, found some in the index already: {ids}")
        self.rows |= zip(ids, checked, strict=True)

    def remove(self, ids):
        return sum(self.rows.pop(key, None) is not None for key in set(ids))

    def search(self, vectors, k):
        found = []
        for vector in checked_vectors(vectors, self.dimension):
            scores = [(key, np.float32(row @ vector)) for key, row in self.rows.items()]
            found.append(sorted(scores, key=lambda one: -one[1])[: max(0, k)])
        return SearchResult(
            tuple(tuple(key for key, _ in some) for some in found),
            tuple(np.array([score for _, score in some], np.float32) for some in found),
        )

    def copy(self):
        other = TableIndex(self.dimension)
        other.rows = dict(self.rows)
        return other

    def save(self, path):
        rows = np.zeros((0, self.dimension), np.float32)
        vectors = np.stack(list(self.rows.values())) if self.rows else rows
        with path.open("wb") as file:
            np.savez(file, ids=np.array(list(self.rows), dtype=str), vectors=vectors)

    def load(self, path):
        try:
            with np.load(path, allow_pickle=False) as stored:
                ids, vectors = stored["ids"].tolist(), stored["vectors"]
        except (OSError, ValueError, KeyError) as error:
            raise IndexMismatchError(f"{path}: expected an index, found: {error}") from None
        checked = checked_vectors(vectors, self.dimension, len(ids))
        self.rows = dict(zip(ids, checked, strict=True))
