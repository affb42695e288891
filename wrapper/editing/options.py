"""Options and attributes under their names of version 0.1: accepted, with a warning."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

C = TypeVar("C")


def current_names(options: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Return options under their present names; an old name warns.

    :param options: by name, old or new.
    :param renamed: old names and the new ones.
    :raises TypeError: an option is given under both names.
    """
    found = dict(options)
    for old, new in renamed.items():
        if old not in found:
            continue
        if new in found:
            raise TypeError(
                f"expected {new!r} alone, found its old name {old!r}, too; drop {old!r}"
            )
        warn_renamed(old, new)
        found[new] = found.pop(old)
    return found


def accepts_old_names(renamed: Mapping[str, str]) -> Callable[[type[C]], type[C]]:
    """Decorate a dataclass to accept fields under their old names, with a warning.

    :param renamed: old names and the new ones.
    """

    def decorate(config: type[C]) -> type[C]:
        init: Callable[..., None] = config.__init__

        @functools.wraps(init)
        def renaming(self: C, *values: Any, **options: Any) -> None:
            init(self, *values, **current_names(options, renamed))

        setattr(config, "__init__", renaming)  # noqa: B010
        return config

    return decorate


def warn_renamed(old: str, new: str) -> None:
    """Warn, at the line of the caller outside of errata, that a name was changed."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _inside(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(
        f"{old!r} is {new!r} since version 0.2; the old name goes with 0.3",
        DeprecationWarning,
        stacklevel=level,
    )


def _inside(module: str) -> bool:
    return module.partition(".")[0] in ("errata", "contextlib", "dataclasses")


def old_attribute(old: str, new: str) -> property:
    """Return a property that reads an attribute under its old name, with a warning."""

    def read(record: object) -> object:
        warn_renamed(f"{type(record).__name__}.{old}", f"{type(record).__name__}.{new}")
        return getattr(record, new)

    return property(read)
