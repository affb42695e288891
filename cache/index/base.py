"""The protocol of a vector index, its search result, and the exact NumPy index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import IndexMismatchError
from errata.cache.records import Vector
from errata.cache.storage.atomic import write_atomically


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """The ids found for m vectors; rows may differ in length and are not padded.

    :param ids: for each vector, the ids found, nearest first.
    :param scores: for each vector, their inner products, float32 [k'], descending.
    """

    ids: tuple[tuple[str, ...], ...]
    scores: tuple[NDArray[np.float32], ...]

    def __len__(self) -> int:
        """Return m, the number of vectors searched."""
        return len(self.ids)


@runtime_checkable
class VectorIndex(Protocol):
    """Finds the nearest vectors by inner product; of unit vectors, the cosine.

    Contract: higher is closer; agrees with :class:`FlatIndex`, or meets a stated recall; k above
    the number of vectors returns all; a copy is independent. Not safe to change in two threads at
    once; safe to search while a copy is changed.
    """

    def add(self, ids: Sequence[str], vectors: Vector) -> None:
        """Add vectors, float32 [n, d].

        :raises IndexMismatchError: if an id is there already or twice in ``ids``, the width is not
            that of the index, or a number is not finite; then nothing is added.
        """

    def remove(self, ids: Iterable[str]) -> int:
        """Remove vectors; unknown ids are skipped; return how many were removed."""

    def search(self, vectors: Vector, k: int) -> SearchResult:
        """Return for each of the vectors, float32 [m, d], its k nearest.

        :raises IndexMismatchError: if the width is not that of the index.
        """

    def __len__(self) -> int:
        """Return the number of vectors."""

    def copy(self) -> VectorIndex:
        """Return an index that changes independently of this one."""

    def save(self, path: Path) -> None:
        """Write the index to a file, its ids to a JSON file next to it."""

    def load(self, path: Path) -> None:
        """Load what :meth:`save` wrote.

        :raises IndexMismatchError: if it is missing, damaged or of another width; then the index
            stays as it is.
        """


class FlatIndex:
    """Exact search in NumPy, the reference for the other indexes.

    :param dimension: width d of the vectors.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._ids: list[str] = []
        self._vectors: Vector = np.zeros((0, dimension), dtype=np.float32)

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self._ids)

    def __contains__(self, key: object) -> bool:
        """Return whether an id is in the index."""
        return key in self._ids

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, in the order they were added."""
        return tuple(self._ids)

    @property
    def vectors(self) -> Vector:
        """The vectors in the same order, float32 [n, d]; never written to once made."""
        return self._vectors

    def add(self, ids: Sequence[str], vectors: Vector) -> None:
        """Add vectors; see :meth:`VectorIndex.add`."""
        checked = checked_vectors(vectors, self.dimension, len(ids))
        refuse_duplicates(ids, set(self._ids))
        if len(ids):
            self._vectors = np.concatenate([self._vectors, checked])
            self._ids = [*self._ids, *ids]

    def remove(self, ids: Iterable[str]) -> int:
        """Remove vectors; see :meth:`VectorIndex.remove`."""
        gone = set(ids)
        keep = [row for row, key in enumerate(self._ids) if key not in gone]
        count = len(self._ids) - len(keep)
        if count:
            self._vectors = self._vectors[keep]
            self._ids = [self._ids[row] for row in keep]
        return count

    def search(self, vectors: Vector, k: int) -> SearchResult:
        """Return the k nearest of each; see :meth:`VectorIndex.search`."""
        queries = checked_vectors(vectors, self.dimension)
        count = max(0, min(k, len(self._ids)))
        scores = queries @ self._vectors.T
        # A partition first: sorting everything for a few nearest is most of the time otherwise.
        rows = np.argpartition(-scores, count - 1, axis=1)[:, :count] if count else None
        ids, kept = [], []
        for query in range(len(queries)):
            near = rows[query] if rows is not None else np.zeros(0, dtype=np.intp)
            near = near[np.argsort(-scores[query, near], kind="stable")]
            ids.append(tuple(self._ids[row] for row in near))
            kept.append(scores[query, near])
        return SearchResult(tuple(ids), tuple(kept))

    def copy(self) -> FlatIndex:
        """Return an independent index; vectors are shared, since they are never written to."""
        other = FlatIndex(self.dimension)
        other._ids, other._vectors = self._ids, self._vectors
        return other

    def save(self, path: Path) -> None:
        """Write the vectors to a file, the ids to a JSON file next to it."""
        write_index(path, self._vectors.tobytes(), {"ids": self._ids, "dimension": self.dimension})

    def load(self, path: Path) -> None:
        """Load what :meth:`save` wrote; see :meth:`VectorIndex.load`."""
        data, metadata = read_index(path, self.dimension)
        vectors = np.frombuffer(data, dtype=np.float32)
        if vectors.size != len(metadata["ids"]) * self.dimension:
            count = len(metadata["ids"])
            raise IndexMismatchError(f"{path}: {vectors.size} numbers for {count} ids")
        self._ids = list(metadata["ids"])
        self._vectors = vectors.reshape(-1, self.dimension).copy()


def checked_vectors(vectors: Vector, dimension: int, count: int | None = None) -> Vector:
    """Return the vectors as contiguous float32 [n, d].

    :param vectors: any array.
    :param dimension: the width d expected.
    :param count: the number n expected; any unless given.
    :raises IndexMismatchError: if shape or numbers are wrong.
    """
    checked = np.ascontiguousarray(vectors, dtype=np.float32)
    if checked.ndim != 2 or checked.shape[1] != dimension:
        raise IndexMismatchError(
            f"expected vectors of width {dimension}, found shape {checked.shape}: they come from "
            "another encoder; build the index again (errata reindex)"
        )
    if count is not None and len(checked) != count:
        raise IndexMismatchError(f"expected {count} vectors, one an id, found {len(checked)}")
    if not np.isfinite(checked).all():
        raise IndexMismatchError("a vector holds NaN or infinity: the encoder is broken")
    return checked


def refuse_duplicates(ids: Sequence[str], present: set[str]) -> None:
    """Check ids before they are added.

    :raises IndexMismatchError: naming the first id that is there already, or twice in ``ids``.
    """
    seen: set[str] = set()
    for key in ids:
        if key in present or key in seen:
            raise IndexMismatchError(
                f"the id {key!r} is in the index already: remove it first, an id has one vector"
            )
        seen.add(key)


def write_index(path: Path, data: bytes, metadata: dict[str, Any]) -> None:
    """Write an index file, and its metadata to a JSON file next to it.

    The JSON comes last and holds the checksum, so that reading detects a kill in between.
    """
    write_atomically(path, data)
    described = {**metadata, "sha256": hashlib.sha256(data).hexdigest()}
    write_atomically(_metadata_path(path), json.dumps(described).encode())


def read_index(path: Path, dimension: int) -> tuple[bytes, dict[str, Any]]:
    """Return what :func:`write_index` wrote.

    :raises IndexMismatchError: if it is missing, damaged or of another width.
    """
    advice = "build the index again (errata reindex)"
    try:
        metadata = json.loads(_metadata_path(path).read_bytes())
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise IndexMismatchError(f"{path}: cannot be read ({error}): {advice}") from None
    if not isinstance(metadata, dict) or metadata.get("sha256") != hashlib.sha256(data).hexdigest():
        raise IndexMismatchError(f"{path}: damaged, the checksum differs: {advice}")
    if metadata.get("dimension") != dimension:
        raise IndexMismatchError(
            f"{path}: expected width {dimension}, found {metadata.get('dimension')}: {advice}"
        )
    if not isinstance(metadata.get("ids"), list):
        raise IndexMismatchError(f"{path}: holds no ids: {advice}")
    return data, metadata


def _metadata_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")
