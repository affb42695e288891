"""The protocol of a format of data."""

from __future__ import annotations

from typing import Protocol

from errata.compare.inputs.cases import Case
from errata.compare.inputs.loaders.records import Source


class Format(Protocol):
    """A format of files: a module with one class, and a line in ``errata.compare.inputs.files``.

    Contract: ``cases`` raises only :class:`~errata.cache.errors.ErrataError`, which names file
    and index or line; ids are unique within a file; order is the file's.
    """

    name: str
    """The value of ``format`` in the settings."""

    def fits(self, source: Source) -> bool:
        """Return whether a source is of this format, by its first record."""

    def cases(self, source: Source) -> list[Case]:
        """Return the source's cases."""
