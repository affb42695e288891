"""Digests of files and of JSON values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from errata.cache.errors import ErrataError


def json_digest(value: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values; the order of keys does not count."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files and their names.

    :raises ErrataError: there is no such file.
    """
    digest = hashlib.sha256()
    try:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if path.is_dir():
                digest.update(f"{file.relative_to(path)}\0".encode())
            digest.update(file.read_bytes())
    except OSError as error:
        raise ErrataError(f"expected a file at {path}, found: {error}") from error
    return digest.hexdigest()
