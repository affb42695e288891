"""Edits of a pipeline, with the interface of a change stack."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from errata.cache.records import Edit
from errata.editing.changes import WriteReport
from errata.pipelines.base import Pipeline


class PipelineEdits:
    """The edits of a pipeline; the counterpart of a change stack, without changes of weights.

    :param pipeline: the pipeline.
    """

    writes: tuple[WriteReport, ...] = ()

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.edits: tuple[Edit, ...] = ()

    def supports(self, edit: Edit) -> bool:
        """Return whether the pipeline can make an edit."""
        return self.pipeline.supports(edit)

    def add(self, edits: Sequence[Edit]) -> None:
        """Add edits."""
        self.edits = (*self.edits, *edits)

    def remove(self, ids: Collection[str]) -> None:
        """Remove edits by id."""
        self.edits = tuple(edit for edit in self.edits if edit.id not in ids)

    def clear(self) -> None:
        """Remove all edits."""
        self.edits = ()

    def suspend(self) -> None:
        """Do nothing: an inactive pipeline is not consulted."""

    def resume(self) -> None:
        """Do nothing."""
