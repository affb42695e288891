"""The word tables of ``tables/*.yaml``, which the training data is made from."""

from __future__ import annotations

from typing import Any

from errata.cache.storage.tables import read_table


def load_table(name: str) -> dict[str, Any]:
    """Return a table, read once; callers must not change it.

    :param name: of the file, without ``.yaml``.
    """
    return read_table("errata.gates.data", f"tables/{name}.yaml")
