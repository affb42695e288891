"""Options under the names of version 0.1."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def renamed_options(**renamed: str) -> Callable[[Function], Function]:
    """Return a decorator that takes keyword arguments by their old names, with a warning.

    :param renamed: the present name by the old one.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            for old in renamed.keys() & options.keys():
                warnings.warn(
                    f"the option {old} is named {renamed[old]} since version 0.2",
                    DeprecationWarning,
                    stacklevel=2,
                )
                options[renamed[old]] = options.pop(old)
            return function(*args, **options)

        return call  # type: ignore[return-value]

    return decorate
