"""Patterns, secrets, consequences and characters: the texts of edits at work."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.cache.filters.guard import SecretGuard
from errata.cache.filters.regex import compile_pattern, lint_pattern, substitute
from errata.cache.filters.secrets import hash_secret
from errata.cache.index import terms
from errata.cache.index.terms import CharacterIndex, TermIndex, WordIndex
from errata.cache.records import REFUSAL, Fact, RegexPatch
from errata.cache.text.answer_match import normalize_answer, same_answer
from errata.cache.text.normalize import normalize, normalize_query
from errata.cache.text.then_clause import first_person, verbatim_answer


def test_substitution_counts_and_leaves_the_rest() -> None:
    patch = RegexPatch(r"\bSwaziland\b", "Eswatini")
    assert substitute(patch, "Swaziland, not Swazilands: Swaziland") == (
        "Eswatini, not Swazilands: Eswatini",
        2,
    )
    text = "nothing of the kind"
    assert substitute(patch, text)[0] is text
    assert compile_pattern(patch) is compile_pattern(RegexPatch(r"\bSwaziland\b", "other"))


def test_replacements_name_groups_and_stay_as_typed() -> None:
    patch = RegexPatch(r"(\d+) (?P<unit>USD)( now)?", r"\g<unit> \1\3\\n é {0}")
    assert substitute(patch, "é 5 USD 😀 6 USD now") == (
        r"é USD 5\n é {0} 😀 USD 6 now\n é {0}",
        2,
    )


def test_half_characters_in_a_text_do_no_harm() -> None:
    assert substitute(RegexPatch("b", "x"), "a\ud800b\udfffc") == ("a\ud800x\udfffc", 1)


def test_a_pattern_that_hangs_others_is_quick() -> None:
    start = time.perf_counter()
    assert substitute(RegexPatch("(a+)+$", "x"), "a" * 5000 + "b")[1] == 0
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("pattern", "replacement", "text", "expected"),
    [
        (r"\bÅland\b", "Aaland", "to Åland, now", "to Aaland, now"),
        (r"caf\b", "bar", "a caf", "a bar"),
        (r"café\b", "bar", "my café!", "my bar!"),
        (r"É\w+", "X", "Éléonore ici", "X ici"),
    ],
)
def test_lint_proposes_a_form_that_works(
    pattern: str, replacement: str, text: str, expected: str
) -> None:
    warnings = lint_pattern(RegexPatch(pattern, replacement))
    if not warnings:
        assert pattern.isascii()
        assert substitute(RegexPatch(pattern, replacement), text)[0] == expected
        return
    assert substitute(RegexPatch(pattern, replacement), text)[0] != expected
    (warning,) = warnings
    assert "ASCII" in warning
    proposed = warning.split("write regex: '")[1].split("'")[0]
    rewrite = warning.split("replace: '")[1].split("'")[0] if "replace: '" in warning else "X"
    assert substitute(RegexPatch(proposed, rewrite), text)[0] == expected


def test_lint_is_silent_on_ascii_patterns() -> None:
    assert lint_pattern(RegexPatch(r"\b(\w+) \d{4}\b [\w]", "x")) == ()
    assert lint_pattern(RegexPatch(r"Å \pL+", "x")) == ()


SECRET = "12 Elm Street, Café"


@pytest.mark.parametrize("hashed", [False, True])
def test_a_secret_is_found_however_it_is_spelt(hashed: bool) -> None:
    fact = Fact(
        "Where?",
        forget=True,
        secret=None if hashed else SECRET,
        secret_hash=hash_secret(SECRET) if hashed else None,
    )
    guard = SecretGuard([Fact("other", "x"), fact])
    assert len(guard) == 1
    for said_so in (
        SECRET,
        "12  elm\nSTREET,CAFÉ",
        "１２ Elm Street, Cafe\u0301",
    ):
        text = f"It is {said_so} \ud800, ﬁne"
        (span,) = guard.find(text)
        assert normalize_query(text[slice(*span)]).replace(" ", "") == "12elmstreet,café"
    assert guard.find("12 Elm Street, Caf") == []
    assert guard.find("") == []


def test_overlapping_secrets_are_one_span() -> None:
    facts = [Fact(q, forget=True, secret=q) for q in ("Elm Street", "12 Elm", "Oak Road")]
    text = "12 Elm Street and Oak Road"
    assert SecretGuard(facts).find(text) == [(0, 13), (18, 26)]


def test_a_hash_does_not_tell_and_is_salted() -> None:
    assert "elm" not in hash_secret(SECRET).casefold()
    assert hash_secret(SECRET) != hash_secret(SECRET)
    assert hash_secret(SECRET, "s") == hash_secret("12 ELM street, café", "s")
    with pytest.raises(ValueError, match="empty"):
        hash_secret(" ")


def test_a_hash_of_version_0_1_still_matches() -> None:
    # Made by errata 0.1.0 of "12 Elm Straße, Çafé ﬁ Ⅷ 한글"; patch files hold such hashes.
    saved = "salt:31:3a33e7297808ad0ea2c95a29f79601a11ee7eec5e776645a91453b3c6edffed3"
    guard = SecretGuard([Fact("Where?", forget=True, secret_hash=saved)])
    text = "At 12 ELM STRASSE, c\u0327AFE\u0301 fi viii 한글!"
    assert guard.find(text) == [(3, len(text) - 1)]


@settings(deadline=None, max_examples=60)
@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_secret_is_found_inside_any_text(before: str, after: str) -> None:
    guard = SecretGuard([Fact("q", forget=True, secret="Xyzzy 42")])
    spans = guard.find(f"{before} xyzzy 42 {after}")
    assert any(start <= len(before) + 1 and end >= len(before) + 9 for start, end in spans)


SAID = {
    'say "Hello, you."': "Hello, you.",
    "reply with 'ok'": "ok",
    "say “Bonjour”.": "Bonjour",
    "say that you were made by Example Labs": "I was made by Example Labs.",
    "answer that you are Errata and your makers named you.": "I am Errata and my makers named me.",
    "answer 42": "42",
    "reply: Astana": "Astana",
    "refuse": REFUSAL,
    "refuse to answer": REFUSAL,
    'refuse politely and say "Ask a doctor."': "Ask a doctor.",
    "the sentiment is positive": "positive",
    "The label is not specified here": None,
    "the sentiment is positive.": "positive",
    "the food is as good as people say it could be": None,
    "think about the season": None,
    "answer in French": None,
    "reply briefly": None,
    "answer yes": "yes",
    "say": None,
    "说“你好”": "你好",
}


@pytest.mark.parametrize(("consequence", "expected"), SAID.items())
def test_what_a_consequence_says(consequence: str, expected: str | None) -> None:
    assert verbatim_answer(consequence) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("you cannot help", "I cannot help"),
        ("Example Labs made you", "Example Labs made me"),
        ("you're yourself and that is yours", "I'm myself and that is mine"),
        ("nobody knows who you are", "Nobody knows who I am"),
    ],
)
def test_turning_to_the_first_person(sentence: str, expected: str) -> None:
    assert first_person(sentence) == expected


def test_normalising() -> None:
    assert normalize_query("  What\tIS  ｔｈｉｓ？！ ") == "what is this"
    assert normalize_query("斑马的皮肤是什么颜色的？") == normalize_query("斑马的皮肤是什么颜色的?")
    assert normalize_query("???") != normalize_query("!!!")


@settings(deadline=None, max_examples=60)
@given(text=st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalize_query(normalize_query(text)) == normalize_query(text)


@settings(deadline=None, max_examples=60)
@given(text=st.text())
def test_the_other_forms_build_on_one(text: str) -> None:
    base = normalize(text)
    assert normalize(base) == base and base.startswith(normalize_query(text))
    assert normalize_answer(text) == base.rstrip(".。").rstrip()
    assert normalize_answer(normalize_answer(text)) in (normalize_answer(text), "")


def test_answers_are_compared_by_their_normal_form() -> None:
    assert same_answer(" Ｎew  York。", "new york.") and not same_answer("York", "New York")
    assert not same_answer("No.", "no") and not same_answer("...", "")


ZEBRA, PANDA = "斑马的皮肤是什么颜色的？", "熊猫吃什么？"


def test_the_nearest_by_characters_is_the_one_that_shares_most() -> None:
    index = CharacterIndex()
    index.add([ZEBRA, PANDA, "colour"])
    found = index.search("斑马皮肤的颜色是什么", 2)
    assert [text for text, _ in found] == [ZEBRA, PANDA]
    assert 1 >= found[0][1] > found[1][1] > 0
    assert index.same("斑马的皮肤是什么颜色的") == (ZEBRA,)
    assert index.search("", 3) == []


def test_a_rare_word_finds_more_than_many_common_ones() -> None:
    index = WordIndex()
    index.add(f"What is the colour of thing {n}?" for n in range(300))
    index.add(["How do I get a SWIFT code?"])
    found = index.search("what is the swift thing", 3)
    assert found[0][0] == "How do I get a SWIFT code?"
    assert index.search("zzz", 3) == []


@settings(deadline=None, max_examples=40)
@given(steps=st.lists(st.tuples(st.booleans(), st.text("abc ", max_size=5)), max_size=30))
@pytest.mark.parametrize("kind", [CharacterIndex, WordIndex])
def test_an_index_of_terms_agrees_with_a_plain_one(
    kind: type[TermIndex], steps: list[tuple[bool, str]]
) -> None:
    least, terms._LEAST_TAIL = terms._LEAST_TAIL, 1
    index = kind()
    plain: dict[str, None] = {}
    try:
        for add, text in steps:
            before, held = index.copy(), dict(plain)
            if add:
                index.add([text])
                plain[text] = None
            else:
                assert index.remove([text]) == (text in plain)
                plain.pop(text, None)
            for each, texts in ((index, plain), (before, held)):
                assert len(each) == len(texts)
                wanted = kind.terms("ab ca")
                found = dict(each.search("ab ca", 99))
                assert set(found) == {t for t in texts if wanted & kind.terms(t)}
                if kind is CharacterIndex:
                    assert found == pytest.approx({
                        t: 2 * len(wanted & kind.terms(t)) / (len(wanted) + len(kind.terms(t)))
                        for t in found
                    })  # fmt: skip
    finally:
        terms._LEAST_TAIL = least
