"""Settings of an editor: those of its file of rows for a model, and what a caller changes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from errata.cache.records import Edit
from errata.editors.shared.config import check_settings
from errata.editors.shared.examples import trainable
from errata.editors.shared.value_config import config_for
from errata.module_paths import ModulePaths, module_paths_of

if TYPE_CHECKING:
    from errata.generation.base_model import GenerativeModel
    from errata.module_paths import Part

C = TypeVar("C")
S = TypeVar("S", bound="ConfiguredEditor[Any]")


class ConfiguredEditor(Generic[C]):
    """An editor of facts whose settings are a frozen dataclass, one row of a file a model.

    :param config: all settings; by default those for the model.
    :param module_paths: for a model that is not in the table of :mod:`errata.module_paths`.
    :param options: single settings.
    :raises errata.cache.errors.EditError: there is no such setting.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[Any]]
    part: ClassVar[Part] = "answer"

    def __init__(
        self,
        *,
        config: C | None = None,
        module_paths: ModulePaths | None = None,
        **options: Any,
    ) -> None:
        self.config, self.module_paths = config, module_paths
        self._options = self._checked(options)

    def changed(self: S, **options: Any) -> S:
        """Return the same editor with other settings.

        :raises errata.cache.errors.EditError: there is no such setting.
        """
        other = copy.copy(self)
        other._options = {**self._options, **self._checked(options)}
        return other

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit is a question with an answer to be learned."""
        return trainable(edit)

    def config_for(self, model: GenerativeModel) -> C:
        """Return the settings that will be used on a model; a guess for the layer is logged."""
        base = self.config
        if base is None:
            base = config_for(self.name, self.config_class, model, self._paths(model))
        return replace(base, **self._options)  # type: ignore[type-var]

    def _paths(self, model: GenerativeModel) -> ModulePaths:
        return module_paths_of(model, self.part, self.module_paths)

    def _checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        check_settings(self.name, options, {field.name for field in fields(self.config_class)})
        return dict(options)
