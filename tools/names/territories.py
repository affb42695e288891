"""Names of countries and territories out of Unicode's CLDR: Cabo Verde is Cape Verde."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errata.cache.text.normalize import Words, plain_words

SHORT = 3
"""Letters of a code, which is no name."""
_BRACKETS = re.compile(r"\s*\((.*)\)$")


def territory_names(names: Path, core: Path) -> Iterator[tuple[str, ...]]:
    """Yield the names of each territory in English and in its official languages.

    :param names: the package cldr-localenames-full, unpacked.
    :param core: the package cldr-core, unpacked.
    """
    info = _json(core / "supplemental" / "territoryInfo.json")["supplemental"]["territoryInfo"]
    english = _names_in(names, "en")
    for code in sorted(english):
        found = list(english[code])
        for language, facts in sorted(info.get(code, {}).get("languagePopulation", {}).items()):
            if facts.get("_officialStatus") in ("official", "de_facto_official"):
                found += _names_in(names, language.replace("_", "-")).get(code, [])[:1]
        distinct: dict[Words, str] = {}
        for name in found:
            distinct.setdefault(plain_words(name), name)
        # Names in other scripts are not split into words; short ones are codes.
        kept = [n for words, n in distinct.items() if "".join(words).isascii() and len(n) > SHORT]
        if len(kept) > 1:
            yield tuple(kept)


def _names_in(names: Path, language: str) -> dict[str, list[str]]:
    """Return the names of territories in a language by their code, the usual name first."""
    path = names / "main" / language / "territories.json"
    if not path.is_file():
        return {}
    (locale,) = _json(path)["main"].values()
    found: dict[str, list[str]] = {}
    for key, name in locale["localeDisplayNames"]["territories"].items():
        code, _, kind = key.partition("-alt-")
        if len(code) == 2 and code.isalpha() and kind in ("", "short", "variant"):
            found.setdefault(code, []).extend(_as_in_questions(name, usual=not kind))
    return found


def _as_in_questions(name: str, usual: bool) -> list[str]:
    """Return a display name as questions have it: "Myanmar (Burma)" gives two names."""
    if " - " in name or "," in name:  # Congo - Kinshasa
        return []
    plain = name.replace("&", "and").replace(" SAR China", "")
    brackets = _BRACKETS.search(plain)
    if brackets is None:
        return [plain]
    return [_BRACKETS.sub("", plain), brackets[1]] if usual else []


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
