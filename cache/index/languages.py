"""Candidates across languages, by the vectors of a multilingual encoder; made at need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from errata.cache.encoder import EmbeddingCache, Encoder, encode_in_parts, multilingual_of
from errata.cache.index.base import FlatIndex
from errata.cache.records import Edit, Vector
from errata.cache.storage.base import Encodings
from errata.cache.text.language import is_english


class MultilingualVectors:
    """Vectors of edits' texts by a multilingual encoder, encoded when first asked for.

    :param encoder: the encoder; what it encodes stays in it.
    :param store: where vectors are kept between runs; None: nowhere.
    """

    def __init__(self, encoder: EmbeddingCache, store: Encodings | None = None) -> None:
        self.encoder = encoder
        self._store = store

    @classmethod
    def of(cls, encoder: Encoder, store: Encodings | None) -> MultilingualVectors | None:
        """Return the vectors of a routed encoder's second one; None for any other encoder.

        :param store: where they are kept between runs; None: nowhere.
        """
        found = multilingual_of(encoder)
        return None if found is None else cls(found, store)

    def prune(self, texts: Sequence[str]) -> None:
        """Delete the stored vectors of other texts, where these are many."""
        if self._store is not None:
            self._store.prune(texts)

    def of_edits(self, texts: Sequence[str]) -> Vector:
        """Return the vectors of edits' texts, float32 [n, d]."""
        if self._store is not None and (missing := self.encoder.missing(texts)):
            self.encoder.put(self._store.read(missing))
            for part, made in encode_in_parts(self.encoder, self.encoder.missing(missing)):
                self._store.write(dict(zip(part, made, strict=True)))
        return self.encoder.encode(texts)

    def of_query(self, text: str) -> Vector:
        """Return the vectors of a query's windows, float32 [w, d]."""
        return self.encoder.encode(self.encoder.windows(text))


class LanguageIndex:
    """The edits of a view by the language of their question or condition, and a search over them.

    :param vectors: of a multilingual encoder.
    :param edits: those in force.
    :param owners: the ids of the edits that each text belongs to.
    """

    def __init__(
        self,
        vectors: MultilingualVectors,
        edits: Sequence[Edit],
        owners: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.vectors = vectors
        self._owners = owners
        self.foreign = frozenset(
            edit.id for edit in edits if edit.kind != "regex" and not is_english(edit.scope)
        )
        self._indexes: dict[bool, FlatIndex] = {}

    def nearest(
        self, text: str, k: int, allowed: Callable[[str], bool], *, foreign_only: bool
    ) -> list[str]:
        """Return the ids of the k edits with a text nearest to a query, nearest first.

        :param text: the query.
        :param allowed: whether the edit of an id may be found.
        :param foreign_only: only edits that are not in English; no other text is encoded then.
        """
        index = self._index(foreign_only)
        if not len(index):
            return []
        best: dict[str, float] = {}
        result = index.search(self.vectors.of_query(text), len(index))
        for texts, scores in zip(result.ids, result.scores, strict=True):
            found = 0
            for one, score in zip(texts, scores.tolist(), strict=True):
                for key in self._owners.get(one, ()):
                    if allowed(key) and (key in self.foreign or not foreign_only):
                        found += key not in best
                        best[key] = max(score, best.get(key, -1.0))
                if found >= k:
                    break
        return sorted(best, key=lambda key: (-best[key], key))[:k]

    def _index(self, foreign_only: bool) -> FlatIndex:
        """Return the index over the texts of the foreign edits, or of all."""
        found = self._indexes.get(foreign_only)
        if found is None:
            wanted = [
                text
                for text, keys in self._owners.items()
                if not foreign_only or any(key in self.foreign for key in keys)
            ]
            rows = self.vectors.of_edits(wanted)
            found = FlatIndex(rows.shape[1])
            found.add(wanted, rows)
            self._indexes[foreign_only] = found
        return found
