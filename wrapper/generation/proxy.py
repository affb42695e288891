"""A proxy for the base model: attributes that errata does not define are the base's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ModelError

if TYPE_CHECKING:
    from errata.generation.base_model import GenerativeModel

_FLUENT = frozenset(
    "to eval train half float double bfloat16 cuda cpu type requires_grad_ compile".split()
)


class BaseProxy:
    """Forwards every attribute that it does not define to the base model.

    ``forward()``, calling it, and logits are the base's, uncorrected. ``to``, ``eval``, ``half``
    and the like act on the base and return the proxy. ``isinstance`` sees the base's class, too,
    since code around `transformers` checks for it.
    """

    base: GenerativeModel

    @property
    def __class__(self) -> type:
        """The base's class; ``type()`` still returns the proxy's."""
        base = self.__dict__.get("base")
        return type(self) if base is None else type(base)

    @__class__.setter
    def __class__(self, value: type) -> None:
        raise TypeError("the class of an EditableModel cannot be changed")

    def __reduce_ex__(self, protocol: object) -> str:
        """Refuse to be copied or pickled: its locks, database and threads cannot be.

        :raises ModelError: always; says what to do instead.
        """
        raise ModelError(
            "expected a base model to copy or pickle, found an EditableModel, whose database, "
            "locks and threads cannot be; copy model.base, wrap the copy and give it model.edits, "
            "or write a folder with save_pretrained and load it with from_pretrained"
        )

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run the base model's forward pass, uncorrected."""
        return self.base(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        """Return the base's attribute."""
        base = self.__dict__.get("base")
        if base is None:
            raise AttributeError(name)
        value = getattr(base, name)
        return self._fluent(value) if name in _FLUENT else value

    def __setattr__(self, name: str, value: Any) -> None:
        """Set the base's attribute if the base has one of that name and the proxy has none."""
        base = self.__dict__.get("base")
        defined = name in self.__dict__ or hasattr(type(self), name)
        if base is None or defined or name.startswith("_") or not hasattr(base, name):
            object.__setattr__(self, name, value)
        else:
            setattr(base, name, value)

    def _fluent(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def returning_self(*arguments: Any, **options: Any) -> Any:
            method(*arguments, **options)
            return self

        return returning_self
