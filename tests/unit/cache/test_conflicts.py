"""Conflicts are found and name both places."""

from __future__ import annotations

import datetime

from errata.cache.patches.conflicts import conflicts
from errata.cache.records import Edit, Fact, LanguagePatch, RegexPatch, SourceLocation

TODAY = datetime.date(2026, 6, 1)
HERE, THERE = SourceLocation("patches/a.yaml", 3), SourceLocation("patches/b.yaml", 9)


def found(*edits: Edit) -> list[tuple[str, str]]:
    return [(conflict.kind, str(conflict)) for conflict in conflicts(edits, TODAY)]


def test_one_question_with_two_answers() -> None:
    one = Fact("What is the capital?", "Astana", location=HERE)
    two = Fact("what is  the CAPITAL", "Almaty", location=THERE)
    ((kind, message),) = found(one, two)
    assert kind == "two answers"
    assert "patches/a.yaml:3" in message
    assert "patches/b.yaml:9" in message
    assert "priority" in message


def test_priority_and_supersedes_settle_it() -> None:
    one = Fact("What is the capital?", "Astana")
    assert found(one, Fact("What is the capital?", "Almaty", priority=1)) == []
    assert found(one, Fact("What is the capital?", "Almaty", supersedes=(one.id,))) == []
    ((kind, message),) = found(one, Fact("What is the capital?", "Astana", id="again"))
    assert kind == "duplicate" and "delete one" in message
    assert found(one, Fact("What is the river?", "Almaty")) == []


def test_language_and_regex_patches_clash_too() -> None:
    assert [kind for kind, _ in found(LanguagePatch("a", "b"), LanguagePatch("A.", "c"))] == [
        "two answers"
    ]
    assert [kind for kind, _ in found(RegexPatch("a", "b"), RegexPatch("a", "c"))] == [
        "two answers"
    ]
    assert found(RegexPatch("a", "b"), RegexPatch("a", "c", target="query")) == []


def test_a_pattern_that_shadows_a_fact() -> None:
    fact = Fact("What is the capital of Swaziland?", "Mbabane in Swaziland", location=HERE)
    query = RegexPatch("Swaziland", "Eswatini", target="query", location=THERE)
    ((kind, message),) = found(fact, query)
    assert kind == "shadowed question"
    assert "patches/a.yaml:3" in message
    assert "patches/b.yaml:9" in message
    ((kind, message),) = found(fact, RegexPatch("Swaziland", "Eswatini", location=THERE))
    assert kind == "rewritten answer"
    assert "Mbabane in Eswatini" in message
    assert found(fact, RegexPatch("Eswatini", "Swaziland", target="query")) == []


def test_dates() -> None:
    day = datetime.timedelta(days=1)
    old = Fact("a", "b", until=TODAY - day, location=HERE)
    new = Fact("a", "c", valid_from=TODAY + day, location=THERE)
    last = Fact("a", "d", valid_from=TODAY, until=TODAY)
    (expired, pending) = found(old, new, last)
    assert expired[0] == "expired"
    assert "patches/a.yaml:3" in expired[1]
    assert pending[0] == "pending"
    assert "patches/b.yaml:9" in pending[1]
