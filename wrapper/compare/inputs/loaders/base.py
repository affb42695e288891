"""What every format of data is to the comparison."""

from __future__ import annotations

from typing import Protocol

from errata.compare.inputs.cases import Case
from errata.compare.inputs.loaders.records import Source


class Format(Protocol):
    """One format of files: one module with one class, and a line in ``errata.compare.inputs.files``.

    Contract: ``cases`` raises only :class:`~errata.cache.errors.ErrataError`, which names file
    and index or line; ids are unique within a file; order is the file's.
    """

    name: str
    """As given to ``--format``."""

    def fits(self, source: Source) -> bool:
        """Tell by its first record whether a source is of this format."""

    def cases(self, source: Source) -> list[Case]:
        """Return the source's cases."""
