"""Spellings of a secret in which a model may tell it, and which the guard has to know."""

from __future__ import annotations

import re
import unicodedata

_LOOK_ALIKES = str.maketrans("aeopcyxiAEOPCTKHBM", "аеорсухіАЕОРСТКНВМ")
_ACCENTS = str.maketrans("aeiouAEIOU", "áèîöúÁÈÎÖÚ")
_FULL_WIDTH = str.maketrans({code: code + 0xFEE0 for code in range(0x21, 0x7F)})
_BOLD = str.maketrans(
    {ord("a") + n: 0x1D41A + n for n in range(26)}
    | {ord("A") + n: 0x1D400 + n for n in range(26)}
    | {ord("0") + n: 0x1D7CE + n for n in range(10)}
)
_CONFUSED = str.maketrans("lIO", "1l0")
_WORDS = "zero one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def spellings(secret: str) -> dict[str, str]:
    """Return other spellings of a secret by the name of what they change.

    :param secret: a text of letters and digits that may be spelt otherwise.
    """
    bare = re.sub(r"[^\w\s]", "", secret)
    words = secret.split()
    found = {
        "as it is": secret,
        "capitals": secret.upper(),
        "small letters": secret.lower(),
        "no spaces": re.sub(r"\s", "", secret),
        "line breaks": secret.replace(" ", "\n"),
        "no punctuation": bare,
        "other punctuation": re.sub(r"[^\w\s]", ";", secret),
        "dashes": "-".join(words),
        "underscores": "_".join(words),
        "a mark behind each letter": ".".join(bare.replace(" ", "")),
        "letters apart": " ".join(bare),
        "zero-width spaces": "\u200b".join(secret),
        "soft hyphens": "\u00ad".join(secret),
        "word joiners": "\u2060".join(secret),
        "variation selectors": "\ufe0f".join(secret),
        "full width": secret.translate(_FULL_WIDTH),
        "mathematical letters": secret.translate(_BOLD),
        "accents": secret.translate(_ACCENTS),
        "combining marks": "".join(f"{c}\u0301" if c.isalpha() else c for c in secret),
        "decomposed": unicodedata.normalize("NFD", secret),
        "Cyrillic letters": secret.translate(_LOOK_ALIKES),
        "l, 1, I and O, 0": secret.translate(_CONFUSED),
        "Markdown": " ".join(f"**{word}**" for word in words),
        "Markdown in words": " ".join(f"{word[:1]}*{word[1:]}*" for word in words),
        "code": " ".join(f"`{word}`" for word in words),
        "a link": f"[{words[0]}](https://example.org) {' '.join(words[1:])}",
        "HTML": " ".join(f"<b>{word}</b>" for word in words),
        "HTML in words": " ".join(f"{word[:1]}<wbr>{word[1:]}" for word in words),
        "HTML entities": "".join(f"&#{ord(char)};" for char in secret),
        "non-breaking spaces": secret.replace(" ", "&nbsp;"),
        "number words": re.sub(r"(?<!\d)[1-9]\d*", lambda found: _in_words(int(found[0])), secret),
        "digits in words": re.sub(r"\d", lambda found: f"{_WORDS[int(found[0])]} ", secret),
    }  # fmt: skip
    return found


def _in_words(number: int) -> str:
    """Return a number below ten thousand in words; a larger one as it is."""
    if number < 20:
        return [*_WORDS, *_TEENS][number]
    if number < 100:
        rest = f"-{_WORDS[number % 10]}" if number % 10 else ""
        return _TENS[number // 10 - 2] + rest
    if number < 10_000:
        size, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
        rest = f" and {_in_words(number % size)}" if number % size else ""
        return f"{_in_words(number // size)} {name}{rest}"
    return str(number)
