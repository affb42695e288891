"""Standing in for the base model: what errata does not change is the base's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from errata.generation.base_model import GenerativeModel

_FLUENT = frozenset(
    "to eval train half float double bfloat16 cuda cpu type requires_grad_ compile".split()
)


class BaseProxy:
    """Passes on to the base model every attribute that it does not have itself.

    ``forward()``, calling it, and logits are the base's, uncorrected. ``to``, ``eval``, ``half``
    and the like act on the base and return the proxy. To ``isinstance`` it is the base's class
    too, as code around `transformers` asks for that.
    """

    base: GenerativeModel

    @property
    def __class__(self) -> type:
        """The base's class, to those who ask the instance."""
        base = self.__dict__.get("base")
        return type(self) if base is None else type(base)

    @__class__.setter
    def __class__(self, value: type) -> None:
        raise TypeError("the class of an EditableModel cannot be changed")

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
        """Set the base's attribute where the name is the base's and not the proxy's own."""
        base = self.__dict__.get("base")
        own = name in self.__dict__ or hasattr(type(self), name)
        if base is None or own or name.startswith("_") or not hasattr(base, name):
            object.__setattr__(self, name, value)
        else:
            setattr(base, name, value)

    def _fluent(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def acting(*arguments: Any, **options: Any) -> Any:
            method(*arguments, **options)
            return self

        return acting
