"""The one exception tree of errata.

::

    ErrataError
    ├── PatchError            a patch, or a file under patches/, is wrong (carries file:line)
    │   └── PatchFolderError  a folder is refused: holds every PatchError found in it
    ├── EditError             an edit cannot be made, found or retracted
    │   ├── UnsupportedEdit   this backend or reasoner cannot make this kind of edit
    │   └── UnknownEdit       no edit of that id is in force
    ├── StoreError            the cache on disk is damaged, foreign or from a newer errata
    │   └── IndexMismatchError  vectors of another encoder, another width, or a duplicate id
    ├── ModelError            a model folder, a shipped model or gate cannot be loaded
    ├── GenerationError       an option of `generate` that does not work on corrected rows
    ├── MissingExtra          an optional package is not installed; names the extra
    └── BackendBusy           a backend in another thread is changing the model

Every message says what was expected, what was found, and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from errata.cache.records import SourceLocation


MESSAGE_LIMIT = 2000
"""Characters of a message about a patch: a file may hold a key or a pattern of a megabyte."""


class ErrataError(Exception):
    """The base class of errata's errors."""


class PatchError(ErrataError):
    """A patch is wrong. Of a message that is too long the middle is left out.

    :param message: what is wrong and how to fix it.
    :param where: the file and line of the patch, when it came from a file.
    :param at: the keys and list positions that lead to the problem inside the entry.
    :param against: the same of what it contradicts; ``{against}`` in the message is its place.
    """

    def __init__(
        self,
        message: str,
        where: SourceLocation | None = None,
        at: tuple[str | int, ...] = (),
        against: tuple[str | int, ...] = (),
    ) -> None:
        self.message = message = _shortened(message)
        self.where = where
        self.at = at
        self.against = against
        super().__init__(f"{where}: {message}" if where is not None else message)


class PatchFolderError(PatchError):
    """Several problems at once: of a folder, of one file or of one entry.

    :param problems: the problems, in file and line order; of very many the first ones.
    :param unlisted: how many more there are.
    """

    def __init__(self, problems: Sequence[PatchError], unlisted: int = 0) -> None:
        self.problems = tuple(problems)
        self.unlisted = unlisted
        lines = [str(problem) for problem in self.problems]
        if unlisted:
            lines.append(f"and {unlisted:,} more problems: mend these first")
        super().__init__("\n".join(lines))


class EditError(ErrataError):
    """An edit cannot be made, found or retracted."""


class UnsupportedEdit(EditError):
    """A backend or reasoner cannot make this edit; the message names the edit's id.

    :param message: why not, and what to do instead.
    :param edit_id: the edit.
    """

    def __init__(self, message: str, edit_id: str = "") -> None:
        self.edit_id = edit_id
        super().__init__(message)


class UnknownEdit(EditError, KeyError):
    """No edit of that id is in force."""

    def __str__(self) -> str:
        """Return the plain message (KeyError would show its repr)."""
        return str(self.args[0]) if self.args else ""


class StoreError(ErrataError):
    """The cache on disk is damaged, foreign, or written by a newer errata."""


class IndexMismatchError(StoreError):
    """Vectors that do not belong together: another encoder, another width, a duplicate id."""


class ModelError(ErrataError):
    """A model folder, a shipped model or a gate cannot be loaded."""


class GenerationError(ErrataError, ValueError):
    """An option of ``generate`` does not work on rows whose answer is corrected."""


class MissingExtra(ErrataError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class BackendBusy(ErrataError):
    """The model is being changed by a backend in another thread."""


def _shortened(message: str) -> str:
    """Return a message without its middle, if it is too long: what to do stands at the end."""
    if len(message) <= MESSAGE_LIMIT:
        return message
    half = MESSAGE_LIMIT // 2
    return f"{message[:half]} … {message[-half:]}"
