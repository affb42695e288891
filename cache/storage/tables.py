"""Word tables that come with a package, as YAML files."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any


@cache
def read_table(package: str, name: str) -> dict[str, Any]:
    """Return the mapping of a YAML file in a package, read once; callers must not change it.

    Read as YAML 1.2, in which ``no`` and ``on`` are words; the C reader would make them booleans.

    :param package: such as ``errata.gates.data``.
    :param name: of the file, relative to the package.
    """
    from ruamel.yaml import YAML

    text = resources.files(package).joinpath(name).read_text(encoding="utf-8")
    table: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return table
