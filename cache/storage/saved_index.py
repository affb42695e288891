"""The vector index kept between runs, in a file named after the hash of its contents."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path

from errata.cache.errors import IndexMismatchError
from errata.cache.index.base import VectorIndex

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
