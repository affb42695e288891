"""An inverted file of 8-bit vectors (FAISS: IVF with SQ8), which grows without being built again.

Each vector is in the list of its nearest centroid; a search reads the nearest lists (Sivic and
Zisserman 2003; Jégou et al. 2011). When there are several times as many vectors as the centroids
were trained on, more centroids are trained and the codes are dealt out to them; codes never change.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from errata.cache.index.inverted_file_config import Codes, InvertedFileConfig, Lists, Rows
from errata.cache.records import Vector


class InvertedFile:
    """Vectors by the position of the edit that they belong to; safe under threads.

    :param dimension: width d of the vectors.
    :param config: how they are dealt out and searched.
    """

    def __init__(self, dimension: int, config: InvertedFileConfig | None = None) -> None:
        self.dimension = dimension
        self.config = config or InvertedFileConfig()
        self._index: Any = None
        self._trained_on = 0
        self._lock = threading.Lock()  # FAISS reads no list while it grows

    @property
    def lists(self) -> int:
        """The number of lists."""
        return int(self._index.nlist)

    def __len__(self) -> int:
        """Return the number of vectors."""
        return 0 if self._index is None else int(self._index.ntotal)

    @property
    def outgrown(self) -> bool:
        """Whether the centroids were trained on far fewer vectors, or there are none yet."""
        few = self._index is None or self._index.nlist < self.config.most_lists
        return few and len(self) >= self.config.growth * self._trained_on

    def train(self, vectors: Vector) -> None:
        """Train the centroids of an empty index, float32 [n, d], and the range of the codes."""
        self._index = self._empty(vectors, len(vectors))
        self._index.sq.train(np.ascontiguousarray(vectors, dtype=np.float32))
        self._index.is_trained = True

    def encode(self, vectors: Vector) -> tuple[Lists, Codes]:
        """Return the list of each vector, int16 [n], and its code, uint8 [n, d]."""
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        with self._lock:
            _, lists = self._index.quantizer.search(rows, 1)
            codes = self._index.sq.compute_codes(rows)
        return lists[:, 0].astype(np.int16), codes

    def add(self, batches: Iterable[tuple[Rows, Lists, Codes]], sizes: NDArray[Any] | None) -> None:
        """Add encoded vectors.

        :param batches: position, list and code of each.
        :param sizes: vectors of each list in all batches, where there are many: room is made once.
        """
        with self._lock:
            lists = self._index.invlists
            filled = np.array([lists.list_size(at) for at in range(self._index.nlist)])
            if sizes is not None:
                for at in np.flatnonzero(sizes).tolist():
                    lists.resize(at, int(filled[at] + sizes[at]))
            for positions, numbers, codes in batches:
                order = np.argsort(numbers, kind="stable")
                ids, codes = positions[order], np.ascontiguousarray(codes[order])
                found, starts, counts = np.unique(
                    numbers[order], return_index=True, return_counts=True
                )
                for at, start, count in zip(
                    found.tolist(), starts.tolist(), counts.tolist(), strict=True
                ):
                    own = faiss.swig_ptr(ids[start:]), faiss.swig_ptr(codes[start:])
                    if sizes is None:
                        lists.add_entries(at, count, *own)
                    else:
                        lists.update_entries(at, int(filled[at]), count, *own)
                        filled[at] += count
                self._index.ntotal += len(ids)

    def search(self, vectors: Vector, k: int, only: Rows | None = None) -> list[list[int]]:
        """Return for each vector, float32 [m, d], the positions of the k nearest, nearest first.

        A position that has several vectors may come several times.

        :param only: the positions that may be found; all unless given.
        """
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        wanted = -(-self.config.codes_read * self.lists // max(1, len(self)))
        probes = min(self.lists, max(self.config.probes, wanted)) if only is None else self.lists
        options: Any = faiss.SearchParametersIVF()
        options.nprobe = probes
        chosen = None if only is None else faiss.IDSelectorBatch(only)
        if chosen is not None:  # FAISS holds a pointer only: the name keeps it
            options.sel = chosen
        with self._lock:
            _, rows = self._index.search(queries, min(k, max(1, len(self))), params=options)
        return [[row for row in near if row >= 0] for near in rows.tolist()]

    def retrained(self, batches: Iterable[tuple[Rows, Lists, Codes]]) -> InvertedFile:
        """Return an empty index with more centroids, trained on a sample of this one's codes.

        :param batches: every batch added so far.
        """
        count = len(self)
        wanted = self._lists_for(count) * self.config.samples
        chance = np.random.default_rng(0)
        parts = []
        for _, _, codes in batches:
            take = min(len(codes), int(np.ceil(wanted * len(codes) / max(1, count))))
            parts.append(self._decoded(codes[np.sort(chance.permutation(len(codes))[:take])]))
        other = InvertedFile(self.dimension, self.config)
        other._index = other._empty(np.concatenate(parts), count)
        ranges = faiss.vector_to_array(self._index.sq.trained)
        faiss.copy_array_to_vector(ranges, other._index.sq.trained)
        other._index.is_trained = True
        return other

    def dealt(self, codes: Codes) -> Lists:
        """Return the list of each code, int16 [n]; codes are those of another index, retrained."""
        _, lists = self._index.quantizer.search(self._decoded(codes), 1)
        return np.asarray(lists[:, 0].astype(np.int16))

    def serialized(self) -> tuple[bytes, int]:
        """Return centroids and ranges, and the number of vectors they were trained on."""
        empty = faiss.clone_index(self._index.quantizer)
        centroids = empty.reconstruct_n(0, empty.ntotal)
        ranges = faiss.vector_to_array(self._index.sq.trained)
        return np.concatenate([ranges, centroids.ravel()]).astype(np.float32).tobytes(), (
            self._trained_on
        )

    def restore(self, data: bytes, trained_on: int) -> None:
        """Restore what :meth:`serialized` returned into an empty index."""
        numbers = np.frombuffer(data, dtype=np.float32)
        ranges, centroids = numbers[: 2 * self.dimension], numbers[2 * self.dimension :]
        quantizer = faiss.IndexFlatIP(self.dimension)
        quantizer.add(np.ascontiguousarray(centroids.reshape(-1, self.dimension)))
        self._index = self._over(quantizer)
        faiss.copy_array_to_vector(np.ascontiguousarray(ranges), self._index.sq.trained)
        self._index.is_trained = True
        self._trained_on = trained_on

    def _decoded(self, codes: Codes) -> Vector:
        return np.asarray(self._index.sq.decode(np.ascontiguousarray(codes)))

    def _lists_for(self, count: int) -> int:
        wanted = self.config.lists_by_root * np.sqrt(max(1, count))
        return int(min(self.config.most_lists, 2 ** round(np.log2(max(4.0, wanted)))))

    def _empty(self, vectors: Vector, count: int) -> Any:
        """Return an index of centroids trained on vectors, for ``count`` of them in all."""
        lists = min(self._lists_for(count), max(1, len(vectors)))
        wanted = lists * self.config.samples
        if len(vectors) > wanted:
            some = np.random.default_rng(0).permutation(len(vectors))[:wanted]
            vectors = vectors[np.sort(some)]
        means = faiss.Kmeans(
            self.dimension, lists, niter=self.config.iterations, spherical=True,
            min_points_per_centroid=1, max_points_per_centroid=self.config.samples, seed=0,
        )  # fmt: skip
        means.train(np.ascontiguousarray(vectors, dtype=np.float32))
        quantizer = faiss.IndexFlatIP(self.dimension)
        quantizer.add(np.ascontiguousarray(means.centroids, dtype=np.float32))
        self._trained_on = count
        return self._over(quantizer)

    def _over(self, quantizer: Any) -> Any:
        index = faiss.IndexIVFScalarQuantizer(
            quantizer, self.dimension, quantizer.ntotal, faiss.ScalarQuantizer.QT_8bit,
            faiss.METRIC_INNER_PRODUCT, False,
        )  # fmt: skip
        return index
