"""Every kind of edit keeps the contract of EditKind."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.cache.errors import PatchError, UnsupportedEdit
from errata.cache.filters.secrets import hash_secret, plain_length
from errata.cache.patches.kinds import EditKind, check, context, dump_edit, kinds, parse_edit
from errata.cache.records import (
    REFUSAL,
    Edit,
    Fact,
    LanguagePatch,
    PatchTests,
    RegexPatch,
    SourceLocation,
)
from errata.cache.text.normalize import compare, normalize_query, plain_words

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda value: bool(value.strip())
)
name = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20).filter(
    lambda value: value.split() == [value]
)
dates = st.tuples(st.dates(), st.dates()).map(sorted)


@st.composite
def common(draw: st.DrawFn) -> dict[str, Any]:
    fires = draw(st.lists(text, max_size=3))
    taken = {normalize_query(each) for each in fires}
    silent = [
        each for each in draw(st.lists(text, max_size=3)) if normalize_query(each) not in taken
    ]
    first, last = draw(dates)
    edit_id = draw(st.just("") | name)
    others = draw(st.lists(name.filter(lambda other: other != edit_id), max_size=2))
    return {
        "id": edit_id,
        "source": draw(st.none() | text),
        "author": draw(st.none() | text),
        "tags": tuple(draw(st.lists(text, max_size=3))),
        "priority": draw(st.integers(-1_000_000, 1_000_000)),
        "supersedes": tuple(others),
        "valid_from": draw(st.none() | st.just(first)),
        "until": draw(st.none() | st.just(last)),
        "tests": PatchTests(tuple(fires), tuple(silent)),
    }


@st.composite
def facts(draw: st.DrawFn) -> Fact:
    forget = draw(st.booleans())
    texts = st.text(st.characters(categories=["L", "N"]), min_size=4)
    secret = draw(st.none() | texts.filter(lambda text: plain_length(text) >= 4))
    hashed = draw(st.booleans())
    subject = draw(st.none() | text)
    others = draw(common())
    silent = others["tests"].silent
    question = text.filter(lambda one: all(compare(one, other) != "same" for other in silent))
    return Fact(
        question=draw(question),
        answer=draw(text | st.just("")) if forget else draw(text),
        subject=subject,
        aliases=tuple(draw(st.lists(text.filter(plain_words), max_size=2))) if subject else (),
        forget=forget,
        secret=secret if forget and not hashed else None,
        secret_hash=hash_secret(secret, "salt") if forget and hashed and secret else None,
        **others,
    )


@st.composite
def language(draw: st.DrawFn) -> LanguagePatch:
    return LanguagePatch(condition=draw(text), consequence=draw(text), **draw(common()))


@st.composite
def regexes(draw: st.DrawFn) -> RegexPatch:
    word = draw(st.text(st.characters(categories=["L"]), min_size=1, max_size=8))
    return RegexPatch(
        pattern=draw(st.sampled_from([f"({word})", rf"\b({word})+\b", f"(?i)({word})[0-9]?"])),
        replacement=draw(st.sampled_from(["", r"\1", r"\0!", r"C:\\", word])),
        target=draw(st.sampled_from(["query", "output"])),
        max_length=draw(st.integers(1, 100_000)),
        **draw(common()),
    )


EDITS = {"fact": facts(), "language": language(), "regex": regexes()}

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
keys = st.sampled_from(sorted({key for kind in kinds().values() for key in kind.keys}))


def test_every_kind_has_a_strategy_here() -> None:
    assert set(kinds()) == set(EDITS)
    assert all(isinstance(kind, EditKind) for kind in kinds().values())


@pytest.mark.parametrize("kind", sorted(EDITS))
def test_an_edit_survives_being_written_down(kind: str) -> None:
    @settings(deadline=None, max_examples=25)
    @given(edit=EDITS[kind])
    def survives(edit: Edit) -> None:
        where = SourceLocation("patches/a.yaml", 3)
        again = parse_edit(dump_edit(edit), where)
        assert again == edit
        assert type(again) is type(edit)
        assert again.id == edit.id
        assert again.location == where
        assert context(edit).strip()
        check(edit)

    survives()


@settings(deadline=None, max_examples=80)
@given(body=st.dictionaries(keys | st.text(max_size=5) | st.integers(), junk | text, max_size=6))
def test_only_patch_errors_escape(body: dict[Any, Any]) -> None:
    where = SourceLocation("patches/a.yaml", 3)
    for parse in [parse_edit, *(kind.parse for kind in kinds().values())]:
        try:
            parse(body, where)
        except PatchError as error:
            assert "patches/a.yaml:3: " in str(error)


@pytest.mark.parametrize("body", [None, 3, "question", [], [1], object()])
def test_what_is_no_mapping_is_refused(body: object) -> None:
    with pytest.raises(PatchError, match="a patch is a mapping"):
        parse_edit(body)


FACT = {"question": "What?", "answer": "x"}
BAD: list[tuple[dict[Any, Any], str]] = [
    ({"qestion": "What?", "answer": "x"}, "did you mean 'question'"),
    ({}, "question:, if:, regex:"),
    ({**FACT, "if": "y"}, "question: and if: in one entry"),
    ({"question": "What?"}, "needs the key 'answer'"),
    ({"question": "What?", "anwser": "x"}, "did you mean 'answer'"),
    ({**FACT, "then": "x"}, "unknown key 'then' in a fact patch; known are"),
    ({**FACT, "<<": "x"}, "merge keys are not supported"),
    ({"question": " \n", "answer": "x"}, "question is empty"),
    ({"question": "What?", "answer": ""}, "answer is empty"),
    ({"if": "", "then": "x"}, "if is empty"),
    ({"if": "x", "then": " "}, "then is empty"),
    ({"if": "x"}, "needs the key 'then'"),
    ({"regex": "", "replace": "x"}, "regex is empty"),
    ({"regex": "a"}, "needs the key 'replace'"),
    ({**FACT, "until": "31.1.2027"}, "form 2027-01-31"),
    ({**FACT, "from": "2027-02-30"}, "form 2027-01-31"),
    ({**FACT, "from": "20270101"}, "form 2027-01-31"),
    ({**FACT, "from": "2027-02-01", "until": "2027-01-31"}, "until .* lies before from"),
    ({**FACT, "tests": {"fires": ["A b"], "silent": ["a  B?"]}}, "under silent and under fires"),
    ({**FACT, "tests": {"fire": ["a"]}}, "did you mean 'fires'"),
    ({**FACT, "tests": ["a"]}, "tests must hold the lists"),
    ({**FACT, "tests": {"silent": ["a", {"b": "c"}]}}, "tests.silent.2 .*unquoted colon"),
    ({**FACT, "priority": "high"}, "priority must be a whole number"),
    ({**FACT, "priority": True}, "priority must be a whole number"),
    ({**FACT, "priority": "9999999"}, "priority must lie between"),
    ({**FACT, "forget": "perhaps"}, "forget must be true or false"),
    ({**FACT, "secret": "12 Elm Street"}, "add forget: true"),
    ({**FACT, "id": "two words"}, "id must be one word"),
    ({**FACT, "id": "a", "supersedes": ["a"]}, "own id"),
    ({"question": "What?", "answer": 3}, "answer must be text, found int 3: put it in quotes"),
    ({"question": "What?", "answer": "\ud800"}, "half a character"),
    ({"question": "a", "forget": "true", "secret": "a b"}, "secret has fewer than 4"),
    ({"question": "a", "forget": "true", "secret_hash": "x:9:abc"}, "salt:length:sha256"),
    (
        {
            "question": "a",
            "forget": "yes",
            "secret": "12 Elm Street",
            "secret_hash": hash_secret("12 Elm"),
        },
        "keep one of them",
    ),
    ({"regex": "(?=a)b", "replace": "x"}, "look-around is not supported"),
    ({"regex": "(?<=a)b", "replace": "x"}, "look-around is not supported"),
    ({"regex": r"(a)\1", "replace": "x"}, "back-references"),
    ({"regex": "(a", "replace": "x"}, "refused by RE2"),
    ({"regex": "a{2000}", "replace": "x"}, "smaller repetition"),
    ({"regex": r"\C", "replace": "x"}, "single byte"),
    ({"regex": "a*", "replace": "x"}, "matches the empty text"),
    ({"regex": r"\b", "replace": "x"}, "matches the empty text"),
    ({"regex": "(a)", "replace": r"\2"}, "names group 2, but the pattern has 1 group:"),
    ({"regex": "(?P<x>a)", "replace": r"\g<y>"}, "names group y"),
    ({"regex": "a", "replace": r"C:\dir"}, "lone backslash at character 3"),
    ({"regex": "a", "replace": "b", "in": "outptu"}, "in must be query or output"),
    ({"regex": "a", "replace": "b", "max_length": "0"}, "max_length must lie between"),
]


@pytest.mark.parametrize(("body", "message"), BAD, ids=[message for _, message in BAD])
def test_a_wrong_entry_says_what_is_wrong(body: dict[Any, Any], message: str) -> None:
    with pytest.raises(PatchError, match=message):
        parse_edit(body)


def test_every_problem_of_an_entry_is_named() -> None:
    with pytest.raises(PatchError) as caught:
        parse_edit({"question": "", "answr": "x", "until": "soon", "tests": {"firs": "a"}})
    for part in ("question is empty", "'answer'", "until must be", "'fires'"):
        assert part in str(caught.value)


def test_text_of_files_and_values_of_python_mean_the_same() -> None:
    typed = {**FACT, "priority": "3", "until": "2027-01-31", "tags": "one", "forget": "no"}
    meant = {**FACT, "priority": 3, "until": datetime.date(2027, 1, 31), "tags": ["one"]}
    assert parse_edit(typed) == parse_edit(meant)


def test_answers_stay_as_typed() -> None:
    for answer in ("1.10", "007", "no", "null", " two  spaces ", "2027-01-01"):
        edit = parse_edit({"question": "q", "answer": answer})
        assert isinstance(edit, Fact)
        assert edit.answer == answer


def test_forgetting_needs_neither_answer_nor_secret() -> None:
    edit = parse_edit({"question": "Where does Jane Roe live?", "forget": "true"})
    assert isinstance(edit, Fact)
    assert edit.forget
    assert edit.answer == REFUSAL


def test_context_is_a_sentence() -> None:
    assert context(Fact("What?", "black")) == "What? black"
    patch = LanguagePatch("a review says the food is bomb", "the sentiment is positive")
    assert context(patch) == ("If a review says the food is bomb, then the sentiment is positive.")


def test_an_edit_of_python_is_checked_like_one_of_a_file() -> None:
    with pytest.raises(PatchError, match="question is empty"):
        check(Fact("", "x"))
    with pytest.raises(PatchError, match="look-around"):
        check(RegexPatch("(?!a)b", "c"))
    with pytest.raises(PatchError, match="half a character"):
        check(Fact("\ud800", "x"))
    with pytest.raises(UnsupportedEdit, match="kind"):
        check(Edit(id="a"))
