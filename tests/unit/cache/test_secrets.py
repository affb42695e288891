"""The guard of secrets: spellings, beginnings, what is no secret, and texts in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import Fact, RegexPatch
from errata.cache.filters.guard import SecretGuard
from errata.cache.filters.secrets import hash_secret, is_guessable, parse_secret_hash
from errata.cache.filters.stream import FilterStream
from errata.cache.filters.text_filter import WITHHELD, Filter
from errata.cache.text.skeleton import full_skeleton

SECRET = "12 Elm Street, Springfield"
SPELLINGS = {
    "case": "12 ELM street, springFIELD",
    "spaces": "12ElmStreetSpringfield",
    "lines": "12\nElm\tStreet,\n\nSpringfield",
    "no comma": "12 Elm Street Springfield",
    "other marks": "12 Elm Street; Springfield",
    "marks between": "1-2 E.l.m S*t*r*e*e*t / S_p_r_i_n_g_f_i_e_l_d",
    "letters apart": "1 2 E l m S t r e e t S p r i n g f i e l d",
    "not shown": "12 El\u200bm Str\u00adeet,\u2060 Spring\u200dfield\ufeff",
    "full width": "１２ Ｅｌｍ Ｓｔｒｅｅｔ， Ｓｐｒｉｎｇｆｉｅｌｄ",
    "mathematical": "𝟏𝟐 𝐄𝐥𝐦 𝕊𝕥𝕣𝕖𝕖𝕥, 𝒮𝓅𝓇𝒾𝓃ℊ𝒻𝒾ℯ𝓁𝒹",
    "circled": "①② Ⓔⓛⓜ Street, Springfield",
    "accents": "12 Élm Ströet, Sprîngfield".replace("ö", "ë"),
    "combining": "12 E\u0301lm Stre\u0308et, Springfield",
    "Cyrillic": "12 Еlm Strееt, Sрringfiеld",
    "Greek": "12 Εlm Street, SPRIΝGFIELD",
    "Arabic digits": "١٢ Elm Street, Springfield",
    "look-alikes": "I2 EIm Street, Spr1ngfie1d",
    "two for one": "12 Elrn Street, Springfield",
    "Markdown": "**12** _Elm_ `Street`, ~~Spring~~field",
    "a link": "[12 Elm](https://example.org/x) Street, Springfield",
    "HTML": "<b>12</b> Elm <span class='x'>Street</span>,<br/>Spring<wbr>field",
    "entities": "&#49;2 Elm&nbsp;Street&#44; Springfi&#101;ld",
    "in a tag": '<a title="12 Elm Street, Springfield">here</a>',
    "number words": "Twelve Elm Street, Springfield",
    "digits as words": "one two Elm Street, Springfield",
    "a table": "| 12 | Elm Street | Springfield |",
}
NOT_COVERED = {
    "reversed": "dleifgnirpS ,teertS mlE 21",
    "encoded": "MTIgRWxtIFN0cmVldCwgU3ByaW5nZmllbGQ=",
    "words between": "12, which is on Elm Street, Springfield",
}


def forgotten(secret: str = SECRET, *, hashed: bool = False, **options: str) -> Fact:
    kept = {"secret_hash": hash_secret(secret)} if hashed else {"secret": secret}
    return Fact("Where does Jane Roe live?", forget=True, **kept, **options)


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("name", SPELLINGS)
def test_a_secret_is_found_in_any_spelling(name: str, hashed: bool) -> None:
    made = Filter("output", (), [forgotten(hashed=hashed)])
    text, replaced = made.apply(f"She lives at {SPELLINGS[name]} now.")
    assert (WITHHELD in text and text.startswith("She lives at ")) or name == "in a tag"
    assert len(replaced) == 1
    for word in ("Elm", "treet", "field"):
        assert word.casefold() not in text.casefold()


@pytest.mark.parametrize("name", NOT_COVERED)
def test_what_is_listed_as_not_covered(name: str) -> None:
    assert SecretGuard([forgotten()]).find(NOT_COVERED[name]) == []


@pytest.mark.parametrize(
    ("secret", "text", "found"),
    [
        ("1234", "The number is 51234567.", False),
        ("1234", "It costs 1,234,567 or 1234.50 or 91234.", False),
        ("1234", "The PIN is 1234.", True),
        ("1234", "The PIN is 1-2-3-4, or 1234!", True),
        ("Anna", "Susanna and Annapolis", False),
        ("Anna", "and (Anna)", True),
        ("天地玄黄", "是天地玄黄的", True),
        (SECRET, "x12elmstreetspringfieldx", True),
        (SECRET, "12 Elm Street, Shelbyville", False),
    ],
)
@pytest.mark.parametrize("hashed", [False, True])
def test_a_short_secret_is_no_part_of_a_word(
    secret: str, text: str, found: bool, hashed: bool
) -> None:
    assert bool(SecretGuard([forgotten(secret, hashed=hashed)]).find(text)) == found


@pytest.mark.parametrize("hashed", [False, True])
def test_the_beginning_of_a_secret_is_withheld_where_an_answer_is_cut(hashed: bool) -> None:
    guard = SecretGuard([forgotten(hashed=hashed)])
    for text in ("At 12 Elm Street,", "At 12 Elm", "At 12 Elm Street, Sp", "At twelve Elm"):
        assert guard.find(text, cut=True) == [(3, len(text))], text
        assert guard.find(text) == []
    assert guard.find("It was in 12", cut=True) == []
    assert guard.find("At 112 Elm", cut=True) == []
    assert guard.find("12 Elms and oaks stand there", cut=True) == []


@pytest.mark.parametrize("hashed", [False, True])
def test_a_text_has_begun_a_secret_by_two_words_of_it_and_a_third(hashed: bool) -> None:
    guard = SecretGuard([forgotten(hashed=hashed, id="jane")])
    for text in ("Does she live at 12 Elm Street", "twelve ELM street? Or where?", SECRET):
        assert guard.begun(text) == "jane", text
    for text in ("12", "at 12 Elm", "Elm Street, Springfield", "12 Elm Streets", "x12 Elm Street"):
        assert guard.begun(text) is None, text
    town = SecretGuard([forgotten("Springfield, 12 Elm Street", hashed=hashed, id="jane")])
    assert town.begun("How far is Springfield?") is None, "one word, whatever its length"
    assert town.begun("How far is Springfield, 12 Elm Lane?") == "jane"
    assert SecretGuard([forgotten("Mill Lane", hashed=hashed)]).begun("to Mill Lane?")
    assert SecretGuard([]).begun(SECRET) is None


def test_a_secret_may_begin_in_the_prompt() -> None:
    guard = SecretGuard([forgotten()])
    rest = " Elm Street, Springfield. And"
    assert guard.find(rest) == []
    assert guard.find(rest, before=["She lives at 12", "x"]) == [(0, len(rest) - 5)]
    assert guard.find(" is it.", before=[SECRET]) == [], "what a prompt says is not withheld"
    assert guard.find(" Elm St", before=["at 12"], cut=True) == [(0, 7)]


def test_patterns_come_first() -> None:
    oak = RegexPatch("Oak", "Elm", id="oak")
    made = Filter("output", [oak], [forgotten(id="jane")])
    text, replaced = made.apply("At 12 Oak Street, Springfield.")
    assert text == f"At {WITHHELD}."
    assert [(one.edit_id, one.count) for one in replaced] == [("oak", 1), ("jane", 1)]


def test_a_secret_is_in_no_repr_and_its_hash_is_called_guessable() -> None:
    fact = forgotten()
    assert "Elm" not in repr(fact) and "Elm" not in repr(SecretGuard([fact]))
    assert is_guessable(SECRET) and not is_guessable("sk-9f8A7s6D5f4G3h2J1k0LqWz")


def test_a_hash_has_the_hashes_of_its_words() -> None:
    made = parse_secret_hash(hash_secret(SECRET, "salt"))
    assert made.length == len(full_skeleton(SECRET).letters)
    assert [length for length, _ in made.beginnings] == [6, 12]
    assert all(len(digest) == 6 for _, digest in made.beginnings)
    for wrong in ("1:s:4:" + "0" * 64 + ":", "2:s:4:" + "0" * 63 + ":", "2:s:4:" + "0" * 64):
        with pytest.raises(ValueError, match="must have the form"):
            parse_secret_hash(wrong)


PATTERNS = (
    RegexPatch(r"\bSwaziland\b", "Eswatini", max_length=9),
    RegexPatch("[0-9]+", r"<\g<0>>", max_length=20),
    RegexPatch("Oak", "Elm", max_length=3),
    RegexPatch("(?m)^- ", "* ", max_length=2),
    RegexPatch("XX", "", max_length=2),
)
PARTS = (
    "Swaziland", "Swaz", "iland", " in ", "12", "Oslo", "黑色", ". ", "Oak", "Elm ", "Street", ", ",
    "Spring", "field", "<b>", "</b>", "XX", "\n- ", "Maple ", "Road ", "seven ", "twenty ", "1234",
    "&nbsp;", " ",
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from(PARTS), max_size=12),
    st.sampled_from([(), ("at Maple",), ("Elm", "x")]),
    st.booleans(),
    st.booleans(),
)
def test_a_stream_says_what_the_filter_says(
    parts: list[str], before: tuple[str, ...], cut: bool, patterns: bool
) -> None:
    facts = [
        forgotten("Elm Street, Springfield", id="a"),
        forgotten("Maple Road 7", hashed=True, id="b"),
        forgotten("1234", id="c"),
    ]
    made = Filter("output", PATTERNS if patterns else (), facts)
    stream = FilterStream(made, before)
    segments = [segment for part in parts for segment in stream.feed(part)]
    segments += stream.finish(cut=cut)
    whole, _ = made.apply("".join(parts), before=before, cut=cut)
    assert "".join(segment.text for segment in segments) == whole
    assert sum(segment.source for segment in segments) == sum(map(len, parts))


def test_a_stream_sends_what_is_no_secret_at_once() -> None:
    stream = FilterStream(Filter("output", (), [forgotten()]))
    words = "Oslo lies at the head of a fjord .".split(" ")
    sent = "".join(one.text for word in words for one in stream.feed(word + " "))
    assert sent.rstrip() == " ".join(words)


@pytest.mark.parametrize("row", ["-", ". ", "a", "<"])
def test_a_long_row_behind_the_beginning_of_a_secret_is_not_read_for_each_mark(
    row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    hold = SecretGuard.hold
    monkeypatch.setattr(
        SecretGuard, "hold", lambda guard, text: (read.append(len(text)), hold(guard, text))[1]
    )
    characters = {}
    for size in (500, 2000):
        stream = FilterStream(Filter("output", (), [forgotten()]))
        stream.feed("at 12 Elm ")
        read.clear()
        sent = [one.text for _ in range(size // len(row)) for one in stream.feed(row)]
        assert not "".join(sent).strip(row)  # the beginning is held back
        characters[size] = sum(read)
    assert 0 < characters[2000] < 6 * characters[500]  # 16 times, if each were read again


def test_a_secret_around_a_long_row_is_withheld_from_a_stream() -> None:
    text = f"at 12 {'-' * 3000} Elm Street, Springfield now"
    stream = FilterStream(Filter("output", (), [forgotten()]))
    sent = [one.text for char in text for one in stream.feed(char)]
    sent += [one.text for one in stream.finish()]
    assert "".join(sent) == f"at {WITHHELD} now"
