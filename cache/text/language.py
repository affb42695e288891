"""The language of a text by its script, else by py3langid; in doubt, it is English."""

from __future__ import annotations

import math
import threading
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_LATIN = ("ca", "cs", "da", "de", "en", "es", "fi", "fr", "hr", "hu", "id", "it", "nl", "no", "pl",
          "pt", "ro", "sk", "sv", "tr", "vi")  # fmt: skip
"""Languages in Latin letters that texts are compared with, as ISO 639-1 codes. Latin is not among
them: English words of its stock ("define ataraxy") would be taken for it."""

_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class EnglishConfig:
    """When a text is not English.

    :param min_log_odds: natural log-odds of the likeliest other language against English from which
        a text in Latin letters is not English. Of 83,843 English messages one is at 4 or more
        ("where did giovanni pierluigi da palestrina live?"), of 400 questions in German, French,
        Spanish and Italian 87%, 95%, 97% and 93%; the others are taken for English.
    :param max_other_letters: share of letters of another script from which a text is not English;
        below, it is English with a foreign name in it.
    """

    min_log_odds: float = 4.0
    max_other_letters: float = 0.2


def is_english(text: str, config: EnglishConfig | None = None) -> bool:
    """Return whether a text is in English; one without letters is.

    :param config: when it is not.
    """
    return language_code(text, config) == "en"


@lru_cache(maxsize=200_000)
def language_code(text: str, config: EnglishConfig | None = None) -> str:
    """Return ``en``, the ISO 639-1 code of another language in Latin letters, or a script's name.

    :param config: when a text is not English.
    """
    config = config or EnglishConfig()
    if not text.isascii():
        scripts = Counter(_script(letter) for letter in text if letter.isalpha())
        letters, latin = scripts.total(), scripts.pop("LATIN", 0)
        if letters - latin > config.max_other_letters * letters:
            return scripts.most_common(1)[0][0]
    ranked = language_chances(text, _LATIN)
    english, best = max(ranked["en"], 1e-300), max(ranked, key=lambda code: ranked[code])
    return best if math.log(ranked[best] / english) >= config.min_log_odds else "en"


def language_chances(text: str, codes: tuple[str, ...]) -> dict[str, float]:
    """Return the probability of each language, by py3langid's naive Bayes classifier.

    :param codes: the languages that a text may be in, as ISO 639-1 codes.
    """
    with _LOCK:  # it is not said to be safe under threads
        return dict(_identifier(codes).rank(text))


def script_of(letter: str) -> str:
    """Return the first word of a letter's Unicode name, such as LATIN or CJK."""
    return unicodedata.name(letter, "").partition(" ")[0]


def _script(letter: str) -> str:
    """Return a letter's script, one for Chinese and Japanese."""
    name = script_of(letter)
    return "CJK" if name in ("HIRAGANA", "KATAKANA") else name


@cache
def _identifier(codes: tuple[str, ...]) -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    made = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    made.set_languages(list(codes))
    return made
