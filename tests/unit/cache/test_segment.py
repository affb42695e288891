"""Edits on disk only: found, changed and kept as those in memory are."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errata.cache.encoder import encode_query
from errata.cache.errors import EditError, UnknownEdit
from errata.cache.records import Edit, Fact, PatchTests, RegexPatch
from errata.cache.segment_config import SegmentConfig
from errata.cache.segment_view import SegmentedEdits
from errata.cache.store import EditCache
from tests.fakes import StubEncoder

SMALL = SegmentConfig(from_edits=40, recent=10, records=5)
PLACES = [f"Port {a}{b}r{c}n" for a in "ABCDE" for b in "abcd" for c in "abcd"]


def facts(count: int, answer: str = "code") -> list[Fact]:
    tests = [PatchTests(fires=(f"Tell me {p}'s dialling code",)) for p in PLACES]
    return [
        Fact(f"What is the code of {p}?", f"{answer} {p}", subject=p, tests=tests[at])
        for at, p in enumerate(PLACES[:count])
    ]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[EditCache]:
    with EditCache(StubEncoder(), tmp_path, segment=SMALL) as made:
        made.add(facts(60))
        yield made


def reopened(cache: EditCache) -> EditCache:
    assert cache.path is not None
    return EditCache(StubEncoder(), cache.path, segment=SMALL)


def on_disk(cache: EditCache) -> int:
    segment = cache._state.segment
    return 0 if segment is None else len(segment)


def found(cache: EditCache, text: str, k: int = 4) -> list[str]:
    return [hit.edit.id for hit in cache.view().search([encode_query(StubEncoder(), text)], k)[0]]


def test_many_edits_are_on_disk_and_found_like_those_in_memory(
    cache: EditCache, tmp_path: Path
) -> None:
    assert on_disk(cache) == 60
    assert isinstance(cache.edits, SegmentedEdits)
    assert cache.encoder.calls == 1  # type: ignore[attr-defined]
    with EditCache(StubEncoder()) as plain:
        plain.add(facts(60))
        for place in PLACES[:60:7]:
            for text in (f"What is the code of {place}?", f"the dialling code of {place}", place):
                query = encode_query(StubEncoder(), text)
                ours, theirs = (c.view().search([query], 4)[0][0] for c in (cache, plain))
                assert ours.edit == theirs.edit
                assert ours.score == pytest.approx(theirs.score, abs=1e-3)
                assert [t for t, _ in ours.examples] == [t for t, _ in theirs.examples]
        assert set(cache.view().by_id) == set(plain.view().by_id)
        assert cache.edits[3] == plain.edits[3]
        assert cache.edits[:2] == plain.edits[:2]
        for text in (f"Is code {PLACES[5]} in use?", f"Where is {PLACES[5]}?"):
            assert {e.id for e in cache.view().named(text)} == {
                e.id for e in plain.view().named(text)
            }


def test_an_edit_on_disk_is_overruled_superseded_and_retracted(cache: EditCache) -> None:
    old = facts(3)
    before = cache.view()
    (later,) = cache.add([Fact(old[0].question, "another")])
    (over,) = cache.add([Fact("What else?", "x", supersedes=(old[1].id,))])
    assert cache.retract(old[2].id) == old[2]
    for one in (cache, reopened(cache)):
        view = one.view()
        assert view.overruled[old[0].id] == later
        assert {old[0].id, old[1].id, old[2].id}.isdisjoint(view.by_id)
        assert found(one, old[0].question)[0] == later.id
        assert not {one.id for one in old} & set(found(one, old[2].question, 20))
        assert len(view.edits) == 59 == len(list(view.edits))
    assert all(before.by_id[one.id] == one for one in old)
    assert found(cache, "x") is not None
    cache.retract(later.id)
    cache.retract(over.id)
    assert {old[0].id, old[1].id} <= set(cache.view().by_id)


def test_what_an_older_view_saw_it_still_sees(cache: EditCache) -> None:
    before = cache.view()
    ids = list(before.by_id)
    cache.retract(ids[0])
    cache.add(facts(80)[60:])
    assert on_disk(cache) == 79
    assert list(before.by_id) == ids
    assert len(before) == 60
    assert before.search([encode_query(StubEncoder(), facts(1)[0].question)], 1)[0][0].score == 1.0
    fresh = encode_query(StubEncoder(), facts(80)[79].question)
    assert before.search([fresh], 1)[0][0].edit.id in ids


def test_an_id_that_is_taken_on_disk_and_one_that_is_unknown(cache: EditCache) -> None:
    first = facts(1)[0]
    with pytest.raises(EditError, match="is taken by another edit"):
        cache.add([Fact("Another question?", "x", id=first.id)])
    with pytest.raises(UnknownEdit):
        cache.retract("nothing")
    calls = cache.encoder.calls  # type: ignore[attr-defined]
    assert cache.add(facts(60)) == tuple(facts(60))
    assert on_disk(cache) == 60
    assert cache.encoder.calls == calls  # type: ignore[attr-defined]


def test_patches_of_files_come_beside_what_is_on_disk(cache: EditCache) -> None:
    first, second = facts(2)
    cache.set_files([Fact(first.question, "of the file"), RegexPatch("a", "b")])
    assert cache.view().overruled[first.id].answer == "of the file"  # type: ignore[attr-defined]
    again = reopened(cache)
    again.set_files([Fact(second.question, "of the file"), RegexPatch("a", "b")])
    assert second.id in again.view().overruled
    assert first.id not in again.view().overruled
    assert len(again.view().edits) == 61


def test_edits_that_depend_on_others_stay_in_memory(cache: EditCache) -> None:
    today = datetime.date(2026, 1, 1)
    special: list[Edit] = [
        Fact(f"Is {place} open?", "yes", until=today) for place in PLACES[:6]
    ] + [Fact("Twice?", "a"), Fact("twice", "b"), Fact("Who?", forget=True, secret="Jane Roe")]
    cache.add([*special, *facts(80)[60:]])
    with reopened(cache) as again:
        assert on_disk(again) == 80
        assert {e.id for e in again.all_edits} == {e.id for e in [*special, *facts(80)]}
        view = again.view(today + datetime.timedelta(days=1))
        assert len(view.edits) == 82
        assert again.encoder.calls == 0  # type: ignore[attr-defined]
        assert view.without_secrets("it is Jane Roe") != "it is Jane Roe"


def test_another_process_sees_what_was_moved_and_retracted(cache: EditCache) -> None:
    with reopened(cache) as other:
        assert other.view().edits[0] == facts(1)[0]
        cache.add(facts(80)[60:])
        assert on_disk(cache) == 80
        cache.retract(facts(1)[0].id)
        assert set(other.view().by_id) == set(cache.view().by_id)
        assert on_disk(other) == 79
        other.add([Fact("Newer?", "x")])
        assert found(cache, "Newer?")[0] == found(other, "Newer?")[0]


@pytest.mark.parametrize("harm", ["truncated", "gone", "foreign", "older"])
def test_a_damaged_file_is_made_again_of_the_database(cache: EditCache, harm: str) -> None:
    assert cache.path is not None
    cache.close()
    file = cache.path / "segment.sqlite3"
    if harm == "truncated":
        file.write_bytes(file.read_bytes()[:9000])
    elif harm == "gone":
        file.unlink()
    elif harm == "foreign":
        file.write_bytes(b"no database at all" * 500)
    else:
        with sqlite3.connect(cache.path / "edits.sqlite3") as connection:
            connection.execute("UPDATE meta SET value = 'other' WHERE key = 'segment'")
    with reopened(cache) as again:
        assert {e.id for e in again.all_edits} == {e.id for e in facts(60)}
        assert found(again, facts(9)[8].question)[0] == facts(9)[8].id
        assert on_disk(again) == 60


def test_encodings_of_many_that_stay_in_memory_are_kept(tmp_path: Path) -> None:
    with EditCache(StubEncoder(), tmp_path, segment=SMALL) as cache:
        cache.add(facts(20))
        assert on_disk(cache) == 0
    with EditCache(StubEncoder(), tmp_path, segment=SMALL) as again:
        assert len(again.edits) == 20
        assert again.encoder.calls == 0  # type: ignore[attr-defined]


def test_rows_that_another_program_deleted_are_not_served(cache: EditCache) -> None:
    assert cache.path is not None
    cache.close()
    with sqlite3.connect(cache.path / "edits.sqlite3") as connection:
        connection.execute("DELETE FROM edits WHERE id = ?", [facts(1)[0].id])
    with reopened(cache) as again:
        assert facts(1)[0].id not in again.view().by_id
        assert len(again.edits) == 59


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "later", "retract", "supersede", "reopen", "file"]),
        st.integers(0, 11),
    ),
    max_size=12,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ACTIONS)
def test_any_changes_leave_the_same_as_in_memory(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("both")
    config = SegmentConfig(from_edits=8, recent=3, records=2)
    caches = [EditCache(StubEncoder(), folder, segment=config), EditCache(StubEncoder())]
    some, filed = facts(20), dict[int, Fact]()
    for one in caches:
        one.add(some[12:])
    assert on_disk(caches[0]) == 8
    for action, number in actions:
        if action == "reopen":
            caches[0].close()
            caches[0] = EditCache(StubEncoder(), folder, segment=config)
            caches[0].set_files(filed.values())
            continue
        if action == "file":
            filed[number] = Fact(some[number].question, "filed", id=f"filed-{number}")
        for one in caches:
            change(one, action, some[number], filed.values())
        alike(caches)
    alike(caches)
    for one in caches:
        one.close()


def change(cache: EditCache, action: str, fact: Fact, filed: Iterable[Fact]) -> None:
    if action == "add":
        cache.add([fact])
    elif action == "later":
        cache.add([Fact(fact.question, "later", id=f"later-{fact.id}")])
    elif action == "supersede":
        cache.add([Fact(f"New {fact.question}", "new", supersedes=(fact.id,))])
    elif action == "file":
        cache.set_files(filed)
    elif fact.id in {edit.id for edit in cache.all_edits}:
        cache.retract(fact.id)


def alike(caches: list[EditCache]) -> None:
    one, two = (cache.view() for cache in caches)
    assert set(one.by_id) == set(two.by_id) == {edit.id for edit in one.edits}
    assert dict(one.overruled) == dict(two.overruled)
    for text in (facts(3)[2].question, facts(20)[15].question):
        query = encode_query(StubEncoder(), text)
        ours, theirs = ([h.score for h in view.search([query], 3)[0]] for view in (one, two))
        assert ours[0] == pytest.approx(theirs[0], abs=2e-3)
