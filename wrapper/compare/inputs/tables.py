"""Tables of this package's data files."""

from __future__ import annotations

from importlib import resources
from typing import Any


def read_table(name: str) -> dict[str, Any]:
    """Return the mapping of a YAML file in this package.

    :param name: of the file.
    """
    from ruamel.yaml import YAML

    text = resources.files("errata.compare.inputs").joinpath(name).read_text(encoding="utf-8")
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return found
