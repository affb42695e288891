"""Which language a text is in: by its script, else by its little words; no model is asked."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

_SCRIPTS = {
    "HANGUL": "korean", "GREEK": "greek", "HEBREW": "hebrew", "DEVANAGARI": "hindi",
    "THAI": "thai", "GEORGIAN": "georgian", "ARMENIAN": "armenian", "BENGALI": "bengali",
    "TAMIL": "tamil", "ARABIC": "arabic", "CYRILLIC": "russian", "CJK": "chinese",
    "HIRAGANA": "japanese", "KATAKANA": "japanese",
}  # fmt: skip
_TELLING = {"ukrainian": "іїєґ", "persian": "پچژگ", "urdu": "ٹڈڑے"}
_BASIS = {"ukrainian": "russian", "persian": "arabic", "urdu": "arabic"}
_WORDS = {
    "english": "the of and is are was what which who where when how why does do did you your it "
    "that this in to for with my me can not have has there i we they please tell name",
    "german": "der die das und ist sind war was wer wie wo wann warum welche welcher welches nicht "
    "ein eine einen dem den des mit von für auf ich du sie wir ihr mein dein bitte heißt hat zu im "
    "am kann wird",
    "french": "le la les et est sont était que qui quoi quel quelle quels quelles où quand comment "
    "pourquoi un une des du de au aux dans pour avec je tu il elle nous vous ne pas mon ma mes ce "
    "cette s'il c'est",
    "spanish": "el la los las y es son era qué que quién cuál cuáles cómo dónde cuándo cuánto por "
    "un una unos del al en para con yo tú usted nosotros no mi mis su este esta está",
    "italian": "il lo la gli le e è sono era che chi cosa quale quali come dove quando perché "
    "quanto un uno una di del della dei nel in per con io tu lei noi non mio mia questo questa si",
    "portuguese": "o a os as e é são era que quem qual quais como onde quando por quanto um uma do "
    "da dos das no na em para com eu você nós não meu minha este esta está",
    "dutch": "de het een en is zijn was wat wie hoe waar wanneer waarom welke niet van in op voor "
    "met ik jij u wij mijn jouw dit dat heeft kan er te",
    "swedish": "och är var vad vem hur när varför vilken vilket inte en ett den det av i på för "
    "med jag du vi min din som har kan att",
    "danish": "og er var hvad hvem hvordan hvor hvornår hvorfor hvilken ikke en et den det af i på "
    "for med jeg du vi min din som har kan at",
    "polish": "i jest są był co kto jak gdzie kiedy dlaczego który która jakie nie w na z do dla "
    "ja ty my mój twój to ten ta się czy",
    "turkish": "ve bir bu ne kim nasıl nerede neden hangi değil için ile ben sen biz mi mı var "
    "kaç nedir olan",
    "finnish": "ja on oli mikä kuka miten missä milloin miksi ei se tämä joka minä sinä me kanssa "
    "ovat mitä",
    "czech": "a je jsou byl co kdo jak kde kdy proč který která není v na s do pro já ty my můj "
    "tvůj to ten ta se",
    "latin": "et est sunt quid quis ubi quando cur non in cum ad ex sed ut hic haec hoc",
}  # fmt: skip
_STOPS = {language: frozenset(text.split()) for language, text in _WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")

LANGUAGES = frozenset({*_SCRIPTS.values(), *_TELLING, *_STOPS})
"""Languages that are told apart, in lower case."""


@lru_cache(maxsize=4096)
def language_of(text: str) -> str:
    """Return the language of a text in lower case, or nothing where it cannot be told."""
    scripts = Counter(_script(letter) for letter in text if letter.isalpha())
    if not scripts:
        return ""
    # a Japanese text may be kanji for the most part
    if scripts["HIRAGANA"] + scripts["KATAKANA"] and scripts["LATIN"] < scripts.total() / 2:
        return "japanese"
    script = scripts.most_common(1)[0][0]
    if script == "LATIN":
        return _by_words(text)
    found = _SCRIPTS.get(script, "")
    for language, letters in _TELLING.items():
        if _BASIS[language] == found and any(letter in text.lower() for letter in letters):
            return language
    return found


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


def _by_words(text: str) -> str:
    words = [word.casefold().replace("’", "'") for word in _WORD.findall(text)]
    scores = {language: sum(word in stops for word in words) for language, stops in _STOPS.items()}
    best = max(scores, key=lambda language: scores[language])
    ties = [language for language, score in scores.items() if score == scores[best]]
    return best if scores[best] and len(ties) == 1 else ""
