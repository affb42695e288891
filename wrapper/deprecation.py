"""Names of version 0.1: modules, attributes and options still work under them, and warn.

``moved.tsv`` holds one line a module (old, new) or a name in a module (``old:name``, ``new:name``).
An old module becomes a stand-in whose attributes are those of the new one, so that no class exists
twice. The aliases go with version 0.3.
"""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

C = TypeVar("C")
F = TypeVar("F", bound=Callable[..., Any])


@functools.cache
def moved() -> Mapping[str, str]:
    """Return where each old module or name is now."""
    lines = Path(__file__).with_name("moved.tsv").read_text("utf-8").splitlines()
    pairs = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return dict(pairs)


def forward(module: str) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that finds what used to be in it.

    :param module: an old module, or a package that took an old module's name.
    """

    def find(name: str) -> Any:
        old = f"{module}:{name}"
        new = moved().get(old)
        if new is None and module in moved():
            new = f"{moved()[module]}:{name}"
        if new is None or name.startswith("__"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        where, _, attribute = new.partition(":")
        found = getattr(importlib.import_module(where), attribute)
        warnings.warn(
            f"{module}.{name} is {where}.{attribute} since version 0.2; the old name goes with 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        return found

    return find


class _Loader(importlib.abc.Loader):
    """Loads an old module as a stand-in for the new one."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Return the stand-in."""
        return types.ModuleType(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Have it find its attributes in the new module."""
        setattr(module, "__getattr__", forward(module.__name__))  # noqa: B010


class MovedFinder(importlib.abc.MetaPathFinder):
    """Finds modules of version 0.1; asked last, so present modules cost nothing."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of an old module, None of any other."""
        if not fullname.startswith("errata.") or fullname not in moved():
            return None
        return importlib.machinery.ModuleSpec(fullname, _Loader(), is_package=True)


def install() -> None:
    """Make old module names importable; harmless when called again."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedFinder())


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


def renamed_options(**renamed: str) -> Callable[[F], F]:
    """Return a decorator that takes keyword arguments by their old names, with a warning.

    :param renamed: the present name by the old one.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*values: Any, **options: Any) -> Any:
            return function(*values, **current_names(options, renamed))

        return call  # type: ignore[return-value]

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
