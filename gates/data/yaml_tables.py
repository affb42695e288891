"""The word tables of ``tables/*.yaml``, which the training data is made from."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any


@cache
def load_table(name: str) -> dict[str, Any]:
    """Return a table, read once; callers must not change it.

    :param name: of the file, without ``.yaml``.
    """
    from ruamel.yaml import YAML

    path = resources.files("errata.gates.data").joinpath("tables", f"{name}.yaml")
    table: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return table
