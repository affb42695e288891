"""What a backend in use says about itself."""

from __future__ import annotations

from dataclasses import dataclass

from errata.cache.records import Edit
from errata.deprecation import old_attribute
from errata.editing.changes import WriteReport
from errata.editing.verification import NotTaken


@dataclass(frozen=True, slots=True)
class ActiveBackend:
    """The backend in use.

    :param backend: its name.
    :param edits: the edits that it makes. Those of an editor are in the weights, and the base
        model's ``generate`` answers; those of a pipeline are decided by its gate.
    :param unsupported: requested edits that it cannot make: the cache answers.
    :param writes: rounding of the weights written, one report a change.
    :param seconds: wall time of planning and writing.
    :param cpu_seconds: CPU time of the same, all threads together.
    :param not_taken: of an editor's edits those that do not hold: the edited model, asked the
        edit's question, answers otherwise.
    """

    backend: str
    edits: tuple[Edit, ...] = ()
    unsupported: tuple[Edit, ...] = ()
    writes: tuple[WriteReport, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    not_taken: tuple[NotTaken, ...] = ()

    left = old_attribute("left", "unsupported")

    @property
    def held(self) -> tuple[Edit, ...]:
        """The edits that hold: all but those in ``not_taken``."""
        missed = {each.edit.id for each in self.not_taken}
        return tuple(edit for edit in self.edits if edit.id not in missed)
