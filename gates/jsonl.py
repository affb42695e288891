"""JSON lines with errors that name the file, the line and the mend."""

from __future__ import annotations

import difflib
import gzip
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from errata.cache.errors import ModelError


def json_lines(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``file:line`` and the object of each line that is not blank.

    :param path: JSON lines, gzipped or not.
    :raises ModelError: the file cannot be read, or a line is no JSON object.
    """
    opener = gzip.open if str(path).endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ModelError(
                        f"{path}:{number}: expected a JSON object, found {line[:60]!r}"
                    )
                yield f"{path}:{number}", row
    except json.JSONDecodeError as error:
        raise ModelError(f"{path}:{number}: expected one JSON object a line: {error}") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read as JSON lines: {error}") from error


def text_at(where: str, row: dict[str, Any], key: str) -> str:
    """Return the text under a key, without white space around it.

    :raises ModelError: it is missing, empty or no text.
    """
    text = row.get(key)
    if not isinstance(text, str) or not text.strip():
        found = f"found {text!r}" if key in row else f"found the keys {sorted(row)}"
        raise ModelError(
            f"{where}: expected a text under {key!r}, {found}; write one, or delete the line"
        )
    return text.strip()


def only_keys(where: str, row: dict[str, Any], keys: Collection[str]) -> None:
    """Refuse keys that are missing or unknown.

    :raises ModelError: names the first key that is wrong and what it may have been meant to be.
    """
    unknown = [key for key in row if key not in keys]
    missing = [key for key in keys if key not in row]
    if not unknown and not missing:
        return
    close = difflib.get_close_matches(unknown[0], missing or keys, n=1) if unknown else []
    if close:
        mend = f"rename {unknown[0]!r} to {close[0]!r}"
    elif missing:
        mend = f"add {missing[0]!r}, or delete the line"
    else:
        mend = f"delete the key {unknown[0]!r}"
    raise ModelError(
        f"{where}: expected the keys {', '.join(keys)}, found {', '.join(sorted(row))}; {mend}"
    )
