"""The protocol of a sentence encoder, and a cache of its vectors; never imports torch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import IndexMismatchError
from errata.cache.index.base import checked_vectors
from errata.cache.records import Query, Vector


class TextEncoder(Protocol):
    """The part of an encoder that comparing texts needs."""

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, d], rows of length 1."""

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text, or its sentence windows where it exceeds the maximum length."""


ENCODED_AT_ONCE = 2048
"""Texts of one call of the encoder, when there are many: after each, progress is reported."""

encoding_progress: ContextVar[Callable[[int, int], object] | None] = ContextVar(
    "encoding_progress", default=None
)
"""Called with the number of texts encoded so far and of all; None: nobody watches."""


@runtime_checkable
class Encoder(Protocol):
    """Encodes texts as unit vectors.

    Contract: a text's vector is equal up to 1e-5 alone or in any batch.
    """

    @property
    def dimension(self) -> int:
        """Width d of the vectors."""

    @property
    def fingerprint(self) -> str:
        """Identity of the encoder; vectors of different fingerprints are never compared."""

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, d], rows of length 1."""

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the share of unknown tokens of each text, float64 [n]."""

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text, or its sentence windows where it exceeds the maximum length."""


def encode_query(encoder: Encoder, text: str) -> Query:
    """Return one text, encoded.

    :param encoder: the encoder of the cache to search.
    :param text: the question.
    """
    return encode_queries(encoder, [text])[0]


def encode_queries(encoder: Encoder, texts: Sequence[str]) -> list[Query]:
    """Return texts, encoded: all windows of all texts in one call of the encoder.

    :param encoder: the encoder of the cache to search.
    :param texts: the questions.
    """
    if not texts:
        return []
    windows = [encoder.windows(text) or (text,) for text in texts]
    vectors = encode_checked(encoder, [window for each in windows for window in each])
    unknown = encoder.unknown_share(texts)
    queries = []
    start = 0
    for text, pieces, share in zip(texts, windows, unknown, strict=True):
        rows = vectors[start : start + len(pieces)]
        queries.append(Query(text, pieces, rows, float(share)))
        start += len(pieces)
    return queries


def encode_in_parts(
    encoder: Encoder, texts: Sequence[str]
) -> Iterator[tuple[Sequence[str], Vector]]:
    """Yield texts with their vectors, float32 [n, d], some thousand at a time.

    :param encoder: any encoder; its exceptions pass through.
    :param texts: the texts to encode.
    :raises IndexMismatchError: if shape or numbers are wrong.
    """
    report = encoding_progress.get()
    for start in range(0, len(texts), ENCODED_AT_ONCE):
        part = texts[start : start + ENCODED_AT_ONCE]
        yield part, encode_checked(encoder, part)
        if report is not None:
            report(start + len(part), len(texts))


def encode_checked(encoder: Encoder, texts: Sequence[str]) -> Vector:
    """Return the encoder's vectors, float32 [n, d], after checking shape and numbers.

    :param encoder: any encoder; its exceptions pass through.
    :param texts: the texts to encode.
    :raises IndexMismatchError: if shape or numbers are wrong.
    """
    vectors = checked_vectors(encoder.encode(texts), encoder.dimension)
    if len(vectors) != len(texts):
        raise IndexMismatchError(
            f"encoder {encoder.fingerprint} returned {len(vectors)} vectors for {len(texts)} texts"
        )
    return vectors


class EmbeddingCache:
    """An encoder that keeps the embeddings of recent texts. Safe under threads.

    :param encoder: encodes the other texts.
    :param size: texts kept at most; None keeps all.
    """

    def __init__(self, encoder: Encoder, size: int | None = 20_000) -> None:
        self.encoder = encoder
        self._size = size
        self._rows: OrderedDict[str, NDArray[Any]] = OrderedDict()
        self._unknown: OrderedDict[str, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self.windows = encoder.windows  # quick: nothing is kept

    @property
    def dimension(self) -> int:
        """Width d of the vectors."""
        return self.encoder.dimension

    @property
    def fingerprint(self) -> str:
        """Identity of the encoder."""
        return self.encoder.fingerprint

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, d], unit rows."""
        if not texts:
            return np.zeros((0, self.encoder.dimension), dtype=np.float32)
        found = self._look_up(texts, self._rows, self.encoder.encode)
        return np.stack([found[text] for text in texts])

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return, for each text, the share of its tokens the encoder does not know, [n]."""
        found = self._look_up(texts, self._unknown, self.encoder.unknown_share)
        return np.array([found[text] for text in texts], dtype=np.float64)

    def put(self, rows: Mapping[str, Vector]) -> None:
        """Keep embeddings, float32 [d] by text, made by the same encoder before."""
        with self._lock:
            self._rows.update(rows)
            while self._size is not None and len(self._rows) > self._size:
                self._rows.popitem(last=False)

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Return the texts whose embeddings are not kept, each once."""
        with self._lock:
            return [text for text in dict.fromkeys(texts) if text not in self._rows]

    def _look_up(
        self,
        texts: Sequence[str],
        cache: OrderedDict[str, NDArray[Any]],
        compute: Callable[[Sequence[str]], NDArray[Any]],
    ) -> dict[str, NDArray[Any]]:
        """Return a row for each text, computed and cached where it is new."""
        with self._lock:
            known = {text: cache[text] for text in texts if text in cache}
            for text in known:
                cache.move_to_end(text)
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            # copies: a row of the batch would keep the whole batch
            new = {text: row.copy() for text, row in zip(missing, compute(missing), strict=True)}
            known |= new
            with self._lock:
                cache.update(new)
                while self._size is not None and len(cache) > self._size:
                    cache.popitem(last=False)
        return known


class RoutedEncoder:
    """An encoder of English texts, and another one for pairs that are not both in English.

    To all that compares texts in English it is the first one: vectors, fingerprint, windows and
    shares of unknown tokens are that one's. A pair of texts is compared by the second where either
    is in another language.

    :param encoder: of English texts.
    :param multilingual: of texts in any language.
    :param size: texts kept with their multilingual embeddings (0.3 GB).
    """

    def __init__(self, encoder: Encoder, multilingual: Encoder, size: int = 200_000) -> None:
        self.encoder = encoder
        self.multilingual = EmbeddingCache(multilingual, size)
        # those of the encoder of English itself
        self.encode, self.windows = encoder.encode, encoder.windows
        self.unknown_share = encoder.unknown_share

    @property
    def dimension(self) -> int:
        """Width d of the vectors."""
        return self.encoder.dimension

    @property
    def fingerprint(self) -> str:
        """Identity of the encoder of English."""
        return self.encoder.fingerprint


def multilingual_of(encoder: object) -> EmbeddingCache | None:
    """Return the multilingual encoder of a routed one, unwrapped from caches; else None."""
    while isinstance(encoder, EmbeddingCache):
        encoder = encoder.encoder
    return encoder.multilingual if isinstance(encoder, RoutedEncoder) else None
