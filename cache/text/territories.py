"""Names of countries and territories, out of Unicode's CLDR: Cabo Verde is Cape Verde."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errata.cache.text.normalize import Words, plain_words

SHORT = 3
"""Letters of a code."""
_BRACKETS = re.compile(r"\s*\((.*)\)$")


def territory_names(names: Path, core: Path) -> Iterator[tuple[str, ...]]:
    """Yield what each territory is called in English, and in its official languages.

    :param names: the package cldr-localenames-full, unpacked.
    :param core: the package cldr-core, unpacked.
    """
    info = _json(core / "supplemental" / "territoryInfo.json")["supplemental"]["territoryInfo"]
    english = _names_in(names, "en")
    for code in sorted(english):
        found = list(english[code])
        for language, how in sorted(info.get(code, {}).get("languagePopulation", {}).items()):
            if how.get("_officialStatus") in ("official", "de_facto_official"):
                found += _names_in(names, language.replace("_", "-")).get(code, [])[:1]
        plain: dict[Words, str] = {}
        for name in found:
            plain.setdefault(plain_words(name), name)
        # other scripts are not read as words; what is short is a code
        kept = [n for words, n in plain.items() if "".join(words).isascii() and len(n) > SHORT]
        if len(kept) > 1:
            yield tuple(kept)


def _names_in(names: Path, language: str) -> dict[str, list[str]]:
    """Return what territories are called in a language, by their code, the usual name first."""
    path = names / "main" / language / "territories.json"
    if not path.is_file():
        return {}
    (locale,) = _json(path)["main"].values()
    found: dict[str, list[str]] = {}
    for key, name in locale["localeDisplayNames"]["territories"].items():
        code, _, kind = key.partition("-alt-")
        if len(code) == 2 and code.isalpha() and kind in ("", "short", "variant"):
            found.setdefault(code, []).extend(_as_asked(name, usual=not kind))
    return found


def _as_asked(name: str, usual: bool) -> list[str]:
    """Return a name as it stands in a question: Myanmar (Burma) are two."""
    if " - " in name or "," in name:  # Congo - Kinshasa
        return []
    said = name.replace("&", "and").replace(" SAR China", "")
    within = _BRACKETS.search(said)
    if within is None:
        return [said]
    return [_BRACKETS.sub("", said), within[1]] if usual else []


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
