"""Spaces between texts, which Chinese and Japanese do without."""

from __future__ import annotations

import re
import unicodedata


def needs_space(before: str, after: str) -> bool:
    """Return whether a space belongs between a text and its continuation.

    None does next to a wide character (Chinese, Japanese, …), or after an empty text.
    """
    return bool(before) and not (_wide(before[-1]) or _wide(after[:1] or " "))


def word_pattern(text: str) -> str:
    """Return a pattern that finds a text at word boundaries; next to wide characters, anywhere."""
    before = r"(?<!\w)" if needs_space(" ", text) else ""
    after = r"(?!\w)" if needs_space(text, " ") else ""
    return f"{before}{re.escape(text)}{after}"


def _wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in ("W", "F")
