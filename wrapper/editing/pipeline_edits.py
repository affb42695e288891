"""Edits that a pipeline answers for, behind the interface of a change stack."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from errata.cache.records import Edit
from errata.editing.changes import Write
from errata.pipelines.base import Pipeline


class PipelineEdits:
    """The edits that a pipeline answers for: a change stack with nothing to change.

    :param pipeline: the pipeline.
    """

    writes: tuple[Write, ...] = ()

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.edits: tuple[Edit, ...] = ()

    def takes(self, edit: Edit) -> bool:
        """Tell whether the pipeline can make an edit."""
        return self.pipeline.supports(edit)

    def add(self, edits: Sequence[Edit]) -> None:
        """Have the pipeline answer for edits."""
        self.edits = (*self.edits, *edits)

    def remove(self, ids: Collection[str]) -> None:
        """Have it answer for them no more."""
        self.edits = tuple(edit for edit in self.edits if edit.id not in ids)

    def clear(self) -> None:
        """Have it answer for nothing."""
        self.edits = ()

    def put_aside(self) -> None:
        """Do nothing: only the innermost use is asked."""

    def put_back(self) -> None:
        """Do nothing."""
