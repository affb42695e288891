"""Splits by hash, the same on every machine and in every run."""

from __future__ import annotations

import hashlib
from pathlib import Path

TEST_TENTHS = 5
"""Tenths of a file's questions or subjects that only tests see, where a file is split in halves."""


def hash_tenth(text: str) -> int:
    """Return sha256 of the text modulo 10, by which questions are split."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 10


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, which cards and reports name it by."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
