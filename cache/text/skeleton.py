"""Texts reduced to their letters and digits, so that spellings of one text are equal.

The skeleton of a text is what Unicode's UTS 39 makes of it to compare look-alikes, without all
that is no letter or digit: case, white space, punctuation, marks on letters, full width,
characters that are not shown. "１２ Ｅlm-Strééт" and "12 elm street" have one skeleton.

The *full* skeleton also leaves out what HTML and Markdown put between letters, resolves HTML
entities and writes number words as digits: "<b>Twelve</b> Elm&nbsp;Street" is "12 Elm Street".
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

MARKUP_LENGTH = 200
"""Characters of a tag, a comment or a link's target at most; what is longer is read as text."""

_UNITS = "zero one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_NUMBERS = {word: number for number, word in enumerate([*_UNITS, *_TEENS])}
_NUMBERS |= {word: 10 * number for number, word in enumerate(_TENS, 2)}
_NUMBERS |= {"hundred": 100, "thousand": 1000}
_WORD = rf"(?:{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})"
_GAP = r"(?:[\s\-‐‑–]+(?:and\s+)?)"
_NUMBER = rf"(?<![^\W_]){_WORD}(?:{_GAP}{_WORD})*(?![^\W_])"
_TAG = rf"<!--.{{0,{MARKUP_LENGTH}}}?-->|<[a-zA-Z/!?][^<>]{{0,{MARKUP_LENGTH}}}>"
_ENTITY = r"&(?:\#\d{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,20});"
_LINK = rf"(?<=\])\([^()\s]{{0,{MARKUP_LENGTH}}}\)"
_FULL = re.compile(
    rf"(?P<skip>{_TAG}|{_LINK})|(?P<entity>{_ENTITY})|(?P<number>{_NUMBER})",
    re.IGNORECASE | re.DOTALL,
)
_OPEN_MARKUP = re.compile(
    rf"<(?:[a-zA-Z/!?][^<>]{{0,{MARKUP_LENGTH}}})?|&[#\w]{{0,21}}|\]\([^()\s]{{0,{MARKUP_LENGTH}}}"
)
_JOINS_NUMBERS = frozenset(" \t\n-‐‑–")


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The skeleton of a text.

    :param source: the text.
    :param letters: its letters and digits, folded.
    :param starts: for each of them the first character of the text that it comes from.
    :param ends: one past the last.
    """

    source: str
    letters: str
    starts: list[int]
    ends: list[int]

    def end(self, at: int) -> int:
        """Return one past the last character of a letter, with the marks on it.

        :param at: a position in ``letters``.
        """
        end = self.ends[at]
        while end < len(self.source) and _unseen(self.source[end]):
            end += 1
        return end

    def inside_token(self, at: int) -> bool:
        """Return whether a position is inside a word or number of the text.

        A point or comma between two digits belongs to a number. Scripts that are written without
        spaces have no inside.

        :param at: a position in ``letters``.
        """
        if not 0 < at < len(self.letters):
            return False
        before, behind = self.source[self.ends[at - 1] - 1], self.source[self.starts[at]]
        gap = self.source[self.ends[at - 1] : self.starts[at]]
        if gap and all(_unseen(char) for char in gap):
            gap = ""
        if gap in (".", ",") and before.isdigit() and behind.isdigit():
            return True
        return not gap and not (_unspaced(before) or _unspaced(behind))


def skeleton(text: str) -> Skeleton:
    """Return the skeleton of a text.

    :param text: any text.
    """
    return _collect(text, ((at, at + 1, char) for at, char in enumerate(text)), _fold)


def skeletons(text: str) -> Iterator[Skeleton]:
    """Yield every skeleton that a text may be read by: its own, and where it differs the full one.

    Where a capital looks like another Latin letter than its small form does (Greek nu: N and v),
    another one goes by the capitals.

    :param text: any text.
    """
    first = skeleton(text)
    yield first
    full = full_skeleton(text) if _FULL.search(text) else first
    if full is not first and full.letters != first.letters:
        yield full
    if not text.isascii():
        capitals = _collect(text, _pieces(text), _fold_capital)
        if capitals.letters != full.letters:
            yield capitals


def full_skeleton(text: str) -> Skeleton:
    """Return the skeleton of a text without markup, its number words as digits.

    :param text: any text.
    """
    return _collect(text, _pieces(text), _fold)


def open_end(text: str) -> int:
    """Return where the last word, number in words, tag or entity begins, which may go on.

    :param text: the beginning of a text.
    """
    end = len(text)
    for opening in ("<", "&", "]("):
        start = text.rfind(opening, max(0, len(text) - MARKUP_LENGTH - 2))
        if start >= 0 and _OPEN_MARKUP.fullmatch(text, start):
            end = min(end, start)
    if text.endswith("]"):
        end = min(end, len(text) - 1)
    start, last = _word_start(text, end), end
    while start < last or start == end:
        # a number in words may go on: "twenty" with "-one"
        last = start
        gap = start
        while gap and text[gap - 1] in _JOINS_NUMBERS:
            gap -= 1
        before = _word_start(text, gap)
        word = text[before:gap].casefold()
        if gap == start or not (word in _NUMBERS or word == "and"):
            break
        start = before
    return start


def _word_start(text: str, end: int) -> int:
    """Return where the word begins that ends before a character."""
    while end and (text[end - 1].isalnum() or _unseen(text[end - 1])):
        end -= 1
    return end


def _pieces(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and characters of each piece of a text as the full skeleton reads it."""
    at = 0
    for found in _FULL.finditer(text):
        start, end = found.span()
        yield from ((i, i + 1, text[i]) for i in range(at, start))
        if found["entity"]:
            yield start, end, html.unescape(found[0])
        elif found["number"]:
            yield start, end, _digits(found[0])
        at = end
    yield from ((i, i + 1, text[i]) for i in range(at, len(text)))


def _digits(words: str) -> str:
    """Return number words as digits: "twelve" is 12, "twenty-one" 21, "one two" 12."""
    numbers: list[int] = []
    joinable = False
    for word in re.findall(_WORD, words, re.IGNORECASE):
        value = _NUMBERS[word.casefold()]
        last = numbers[-1] if numbers else 0
        part = last % 1000
        if value == 100 and joinable and 0 < part < 100:
            numbers[-1] = last - part + part * 100
        elif value == 1000 and joinable and 0 < last < 1000:
            numbers[-1] = last * 1000
        elif value and joinable and last >= 20 and last % 10 ** len(str(value)) == 0:
            numbers[-1] = last + value
        else:
            numbers.append(value)
        joinable = value > 0
    return "".join(map(str, numbers))


def _collect(text: str, pieces: Iterator[tuple[int, int, str]], fold: _Fold) -> Skeleton:
    letters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, end, piece in pieces:
        for letter in "".join([fold[char] for char in piece]):
            letters.append(letter)
            starts.append(start)
            ends.append(end)
    return Skeleton(text, "".join(letters), starts, ends)


class _Fold(dict[str, str]):
    """The letters and digits that a character stands for, none of a mark or space; each made once.

    :param by_capital: go by what the character itself looks like, not by its small form.
    """

    def __init__(self, by_capital: bool) -> None:
        self._by_capital = by_capital

    def __missing__(self, char: str) -> str:
        decomposed = unicodedata.normalize("NFKD", char)
        if not self._by_capital:
            decomposed = unicodedata.normalize("NFKD", decomposed.casefold())
        found = "".join(map(_latin, decomposed))
        self[char] = found
        return found


def _latin(char: str) -> str:
    """Return the Latin letters or digits that a character looks like, itself if there are none."""
    looks_like = None
    if not char.isascii():
        table = _confusables()
        looks_like = table.get(char) or table.get(char.upper())
        if looks_like is None and char.isdecimal():
            looks_like = str(unicodedata.decimal(char))
    if looks_like is None:
        looks_like = char if char.isalnum() else ""
    return "".join(_ALIKE.get(one, one) for one in looks_like.casefold())


_ALIKE = {"i": "l", "1": "l", "0": "o", "m": "rn"}
"""Letters and digits that UTS 39 takes for one another in either case, as it writes them."""


@cache
def _confusables() -> dict[str, str]:
    """Return the ASCII letters and digits that other characters look like, by UTS 39."""
    from confusable_homoglyphs.confusables import confusables_data

    found: dict[str, str] = {}
    for char, others in confusables_data.items():
        if len(char) != 1 or char.isascii() or not _counts(char):
            continue
        latin = [other["c"] for other in others if other["c"].isascii() and other["c"].isalnum()]
        if latin:
            found[char] = min(latin, key=len)
    return found


def _counts(char: str) -> bool:
    """Return whether a look-alike is a letter, digit or sign, and no bar or bracket."""
    return char.isalnum() or unicodedata.category(char) == "So"


@lru_cache(maxsize=4096)
def _unseen(char: str) -> bool:
    return unicodedata.category(char) in ("Cf", "Mn", "Me")


@lru_cache(maxsize=4096)
def _unspaced(char: str) -> bool:
    return (
        unicodedata.east_asian_width(char) in "WF"
        and not unicodedata.normalize("NFKC", char).isascii()
    )


_fold, _fold_capital = _Fold(by_capital=False), _Fold(by_capital=True)
