"""The language of a text: by its script where one language has it, else by py3langid."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from errata.cache.text.language import language_chances, script_of

_BY_SCRIPT = {
    "LATIN": {
        "en": "english", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german",
        "es": "spanish", "fi": "finnish", "fr": "french", "hr": "croatian", "hu": "hungarian",
        "id": "indonesian", "it": "italian", "la": "latin", "nl": "dutch", "no": "norwegian",
        "pl": "polish", "pt": "portuguese", "ro": "romanian", "sk": "slovak", "sv": "swedish",
        "tr": "turkish", "vi": "vietnamese",
    },
    "CYRILLIC": {"ru": "russian", "uk": "ukrainian"},
    "ARABIC": {"ar": "arabic", "fa": "persian", "ur": "urdu"},
    "ARMENIAN": {"hy": "armenian"}, "BENGALI": {"bn": "bengali"}, "CJK": {"zh": "chinese"},
    "DEVANAGARI": {"hi": "hindi"}, "GEORGIAN": {"ka": "georgian"}, "GREEK": {"el": "greek"},
    "HANGUL": {"ko": "korean"}, "HEBREW": {"he": "hebrew"}, "HIRAGANA": {"ja": "japanese"},
    "KATAKANA": {"ja": "japanese"}, "TAMIL": {"ta": "tamil"}, "THAI": {"th": "thai"},
}  # fmt: skip
"""Languages (ISO 639-1 code to name) by the first word of their letters' Unicode names, the one
with most speakers first."""

_CODES = tuple(code for names in _BY_SCRIPT.values() for code in names)

LANGUAGES = frozenset(name for names in _BY_SCRIPT.values() for name in names.values())
"""Names of the languages that are recognised, in lower case."""


@dataclass(frozen=True, slots=True)
class LanguageConfig:
    """When a language counts as recognised.

    :param min_confidence: probability under which it is unknown. At this one, of 235 phrases of one
        to eight words in 30 languages 224 are recognised, 6 taken for another language and 5
        unknown.
    :param first_language_bonus: for ties, to a script's first language: "Привет" is 0.48 Russian
        and 0.52 Ukrainian.
    :param max_excluded: probability of a language under which a text is not in it, if another one
        has ``min_excluding``. In between it is undecided: so are "ok thanks" and "refund". At these
        two, 1 of 600 English requests of at most four words (CLINC150, BANKING77, Bitext) counts
        as not English, 188 of 204 phrases in other languages do.
    :param min_excluding: probability from which another language excludes it.
    """

    min_confidence: float = 0.2
    first_language_bonus: float = 0.05
    max_excluded: float = 0.05
    min_excluding: float = 0.5


@lru_cache(maxsize=4096)
def language_of(text: str, config: LanguageConfig | None = None) -> str:
    """Return the language of a text in lower case, empty where it is unknown ("12 + 7", "ok").

    :param config: when it counts as recognised.
    """
    config = config or LanguageConfig()
    chances = _chances(text)
    if not chances:
        return ""
    first = next(iter(chances))
    best = max(
        chances, key=lambda name: chances[name] + config.first_language_bonus * (name == first)
    )
    return best if chances[best] >= config.min_confidence else ""


def is_in_language(text: str, language: str, config: LanguageConfig | None = None) -> bool | None:
    """Return whether a text is in a language; None: undecided, as short texts are.

    :param language: one of :data:`LANGUAGES`.
    :param config: when it counts as recognised.
    """
    config = config or LanguageConfig()
    if language_of(text, config) == language:
        return True
    chances = _chances(text)
    excluded = chances.get(language, 0.0) < config.max_excluded
    return (
        False if excluded and max(chances.values(), default=0.0) >= config.min_excluding else None
    )


@lru_cache(maxsize=4096)
def _chances(text: str) -> dict[str, float]:
    """Return the probability of each language of a text's script, its first language first."""
    scripts = Counter(script_of(letter) for letter in text if letter.isalpha())
    if not scripts:
        return {}
    # a Japanese text may be kanji for the most part
    if scripts["HIRAGANA"] + scripts["KATAKANA"] and scripts["LATIN"] < scripts.total() / 2:
        return {"japanese": 1.0}
    names = _BY_SCRIPT.get(scripts.most_common(1)[0][0], {})
    if len(names) < 2:
        return dict.fromkeys(names.values(), 1.0)
    ranked = {
        code: chance for code, chance in language_chances(text, _CODES).items() if code in names
    }
    total = sum(ranked.values())
    return {name: ranked.get(code, 0.0) / total for code, name in names.items()}
