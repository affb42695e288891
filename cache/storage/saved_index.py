"""The vector index kept between runs, in a file named after the hash of its contents."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.errors import IndexMismatchError
from errata.cache.index.base import VectorIndex
from errata.cache.index.search import SearchIndexes
from errata.cache.index.terms import CharacterIndex, WordIndex
from errata.cache.records import Edit, Vector
from errata.cache.storage.transaction import owners_of

_LOG = logging.getLogger(__name__)


class SavedIndex:
    """A file ``index-….faiss``; its name is a hash of encoder and texts.

    :param folder: the cache's folder.
    :param fingerprint: the encoder's.
    :param texts: the texts in the index.
    """

    def __init__(self, folder: Path, fingerprint: str, texts: Iterable[str]) -> None:
        held = sorted(texts)
        digest = hashlib.sha256(json.dumps([fingerprint, held]).encode()).hexdigest()
        self.file = folder / f"index-{digest[:24]}.faiss"
        self._count = len(held)

    def load_into(self, index: VectorIndex) -> bool:
        """Load the file into an empty index; return whether there was a valid one."""
        if not self.file.exists():
            return False
        try:
            index.load(self.file)
        except IndexMismatchError as error:
            _LOG.warning("%s; it is built again", error)
            with contextlib.suppress(OSError):
                self.file.unlink()
            return False
        return len(index) == self._count

    def save(self, index: VectorIndex) -> None:
        """Write the index; delete the files of other texts."""
        if not self.file.exists():
            index.save(self.file)
        for other in self.file.parent.glob("index-*.faiss*"):
            if not other.name.startswith(self.file.name):
                other.unlink(missing_ok=True)


def indexes_over(
    edits: Iterable[Edit],
    vectors: Mapping[str, Vector],
    new_index: Callable[[int], VectorIndex],
    encoder: Encoder,
    folder: Path | None,
) -> SearchIndexes:
    """Return the indexes over edits; that of their vectors is read where it was saved.

    :param edits: the edits.
    :param vectors: float32 [d] by text.
    :param new_index: the factory of an empty vector index of a width.
    :param encoder: of the vectors.
    :param folder: where the index may have been saved; None: nowhere.
    """
    owners = owners_of(edits)
    characters, words = CharacterIndex(), WordIndex()
    characters.add(owners)
    words.add(owners)
    index = _index_over(list(owners), vectors, new_index, encoder, folder)
    return SearchIndexes(index, characters, words, owners, vectors)


def _index_over(
    texts: Sequence[str],
    vectors: Mapping[str, Vector],
    new_index: Callable[[int], VectorIndex],
    encoder: Encoder,
    folder: Path | None,
) -> VectorIndex:
    index = new_index(encoder.dimension)
    if folder is not None:
        if SavedIndex(folder, encoder.fingerprint, texts).load_into(index):
            return index
        index = new_index(encoder.dimension)
    if texts:  # at once: an index that grows is built again and again
        index.add(texts, np.stack([vectors[text] for text in texts]))
    return index
