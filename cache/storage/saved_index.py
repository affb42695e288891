"""The index kept between runs: derived, and named after what it was built of."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path

from errata.cache.errors import IndexMismatchError
from errata.cache.index.base import VectorIndex
from errata.cache.records import Edit
from errata.cache.state import searched

_LOG = logging.getLogger(__name__)


class SavedIndex:
    """A file ``index-….faiss`` whose name tells encoder, ids and scopes, so that none is stale.

    :param folder: the cache's folder.
    :param fingerprint: the encoder's.
    :param edits: what the index holds; regex patches are passed over.
    """

    def __init__(self, folder: Path, fingerprint: str, edits: Iterable[Edit]) -> None:
        held = sorted((edit.id, edit.scope) for edit in edits if searched(edit))
        digest = hashlib.sha256(json.dumps([fingerprint, held]).encode()).hexdigest()
        self.file = folder / f"index-{digest[:24]}.faiss"
        self._count = len(held)

    def load_into(self, index: VectorIndex) -> bool:
        """Fill an empty index if a sound file is there; tell whether it was."""
        if not self.file.exists():
            return False
        try:
            index.load(self.file)
        except IndexMismatchError as error:
            _LOG.warning("%s; it is built anew", error)
            with contextlib.suppress(OSError):
                self.file.unlink()
            return False
        return len(index) == self._count

    def save(self, index: VectorIndex) -> None:
        """Write the index, and delete those of other edits."""
        if not self.file.exists():
            index.save(self.file)
        for other in self.file.parent.glob("index-*.faiss*"):
            if not other.name.startswith(self.file.name):
                other.unlink(missing_ok=True)
