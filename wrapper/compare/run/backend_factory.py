"""Backends by name, around one base model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from errata.compare.run.backend_names import (
    EDITORS,
    IF,
    NONE,
    PIPELINES,
    RANDOM,
    REGEX,
    SHUFFLED,
    VERBATIM,
    is_cache,
    resolvers_of,
)
from errata.compare.run.backends import ComparedBackend, EditorBackend, PipelineBackend
from errata.compare.run.controls import NoEdit, RandomUpdate, ShuffledAnswers
from errata.compare.run.patch_backends import PatchBackend, language_patches, replacements
from errata.compare.run.training_time import TrainingSeconds, training_seconds
from errata.model import EditableModel
from errata.registry import make, names

if TYPE_CHECKING:
    from errata.cache.records import Edit


class BackendFactory:
    """Creates backends around one base model.

    :param model: with the gate, the reasoner and the encoder of the cache; without edits.
    :param background: edits that every cache holds besides those evaluated.
    """

    def __init__(self, model: EditableModel, background: Sequence[Edit] = ()) -> None:
        self.model, self.background = model, tuple(background)
        self._models: dict[str, EditableModel] = {}
        self._training: dict[str, TrainingSeconds] = {}
        self._pipelines: dict[str, Any] = {}

    def create(self, name: str, options: Mapping[str, Any]) -> ComparedBackend:
        """Return the backend of a name.

        :param name: see :mod:`errata.compare.run.backend_names`.
        :param options: for its constructor.
        :raises ErrataError: no such backend, or unknown options.
        """
        if name.startswith(SHUFFLED):
            return ShuffledAnswers(name, self.create(name.removeprefix(SHUFFLED), options))
        if name == NONE:
            return NoEdit(self.model)
        if name.startswith(RANDOM):
            editor = make(EDITORS, name.removeprefix(RANDOM), **options)
            return EditorBackend(name, self.model, RandomUpdate(editor))
        if is_cache(name) or name in names(PIPELINES):
            model = self._pipeline_model(name, options)
            if name in (IF, REGEX):
                rewrite = language_patches if name == IF else replacements
                trained = self._training[name] if name == IF else {}  # a replacement needs no gate
                return PatchBackend(name, model, trained, rewrite)
            return PipelineBackend(name, model, self._training[name])
        return EditorBackend(name, self.model, make(EDITORS, name, **options))

    def pipeline(self, name: str) -> Any | None:
        """Return the pipeline (with ``gate`` and ``reasoner``) of a backend; None for an editor.

        :param name: of a backend that was created, perhaps with shuffled answers.
        """
        return self._pipelines.get(name.removeprefix(SHUFFLED))

    def close(self) -> None:
        """Close the caches."""
        for model in self._models.values():
            model.close()

    def _pipeline_model(self, name: str, options: Mapping[str, Any]) -> EditableModel:
        """Return a model with a separate cache; base model, gate and encoder are shared."""
        if name not in self._models:
            shared, resolvers = self.model, resolvers_of(name)
            model = EditableModel(
                shared.base, shared.tokenizer, gate=shared.gate, encoder=shared.encoder,
                reasoner="verbatim" if name == VERBATIM else shared.reasoner,
                resolvers=shared.pipeline.resolvers if resolvers is None else resolvers,
            )  # fmt: skip
            model.cache.set_files(self.background)
            pipeline: Any = model
            if not is_cache(name):
                parts = (shared.base, shared.tokenizer, shared.encoder)
                pipeline = make(PIPELINES, name, *parts, **options)
                model.use(pipeline)
            self._models[name], self._pipelines[name] = model, pipeline
            self._training[name] = training_seconds(pipeline.gate, pipeline.reasoner)
        return self._models[name]
