"""The edit cache in one process: what it finds, what it refuses, what a failed change leaves."""

from __future__ import annotations

import datetime
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

from errata.cache.encoder import encode_queries, encode_query
from errata.cache.errors import EditError, PatchError, PatchFolderError, StoreError, UnknownEdit
from errata.cache.index.base import FlatIndex
from errata.cache.records import Fact, LanguagePatch, RegexPatch, SourceLocation
from errata.cache.store import EditCache, View
from tests.fakes import StubEncoder

ZEBRA = Fact("What colour is a zebra's skin?", "black")
CAPITAL = Fact("What is the capital of Kazakhstan?", "Astana")
MAKER = LanguagePatch("the user asks who made you", "say that you were made by Example Labs")
SWAZI = RegexPatch(r"\bSwaziland\b", "Eswatini")
DAY = datetime.timedelta(days=1)
TODAY = datetime.date.today()


def at(edit: Fact, line: int, path: str = "patches/a.yaml") -> Fact:
    return Fact(edit.question, edit.answer, location=SourceLocation(path, line))


@pytest.fixture
def encoder() -> StubEncoder:
    return StubEncoder()


@pytest.fixture(params=["memory", "disk", "postgres"])
def cache(
    request: pytest.FixtureRequest, encoder: StubEncoder, tmp_path: Path
) -> Iterator[EditCache]:
    path: Path | str | None = None if request.param == "memory" else tmp_path / "cache"
    if request.param == "postgres":
        path = request.getfixturevalue("postgres_url")
    with EditCache(encoder, path) as cache:
        yield cache


def found(cache: EditCache | View, text: str, k: int = 16) -> list[str]:
    view = cache.view() if isinstance(cache, EditCache) else cache
    return [hit.edit.id for hit in view.search([encode_query(StubEncoder(), text)], k)[0]]


def test_edits_are_held_in_order_and_found(cache: EditCache) -> None:
    assert cache.edits == ()
    assert found(cache, ZEBRA.question) == []
    assert cache.add([ZEBRA, CAPITAL, MAKER, SWAZI]) == (ZEBRA, CAPITAL, MAKER, SWAZI)
    assert cache.edits == (ZEBRA, CAPITAL, MAKER, SWAZI)
    assert found(cache, "what is a zebra's skin colour?")[0] == ZEBRA.id
    assert found(cache, "who made you")[0] == MAKER.id
    assert sorted(found(cache, "x")) == sorted([ZEBRA.id, CAPITAL.id, MAKER.id])


def test_hits_carry_score_and_vector(cache: EditCache, encoder: StubEncoder) -> None:
    cache.add([ZEBRA, CAPITAL])
    query = encode_query(encoder, "what colour has the skin of a zebra?")
    hits = cache.view().search([query])[0]
    assert [hit.edit for hit in hits] == [ZEBRA, CAPITAL]
    assert 1 > hits[0].score > hits[1].score
    for hit in hits:
        np.testing.assert_allclose(hit.vector, encoder.encode([hit.edit.scope])[0], atol=1e-6)
        assert hit.score == pytest.approx(float(query.vectors[0] @ hit.vector), abs=1e-5)


def test_a_batch_finds_what_each_query_finds_alone(cache: EditCache, encoder: StubEncoder) -> None:
    cache.add(Fact(f"What is the capital of country {n}?", f"City {n}") for n in range(60))
    texts = [f"capital of country {n}" for n in range(5)] + ["斑马", "", "what " * 80 + "? Why?"]
    view = cache.view()
    together = view.search(encode_queries(encoder, texts), 7)
    for text, hits in zip(texts, together, strict=True):
        alone = view.search([encode_query(encoder, text)], 7)[0]
        assert [hit.edit.id for hit in hits] == [hit.edit.id for hit in alone]
        assert 7 <= len(hits) <= 9  # words may find two more
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=1e-5)


def test_the_best_window_of_a_long_query_counts(cache: EditCache, encoder: StubEncoder) -> None:
    cache.add([ZEBRA, CAPITAL])
    text = f"{'It was a long day in the town. ' * 20}{CAPITAL.question} Please hurry."
    query = encode_query(encoder, text)
    assert len(query.windows) > 20
    hit = cache.view().search([query], 1)[0][0]
    assert hit.edit == CAPITAL
    assert hit.score == pytest.approx(1.0, abs=1e-5)


def test_queries_are_encoded_in_one_call(encoder: StubEncoder) -> None:
    queries = encode_queries(encoder, ["a", "b. " * 100, "斑马"])
    assert encoder.calls == 1
    assert [len(query.vectors) for query in queries] == [len(q.windows) for q in queries]
    assert queries[2].unknown_share == 1.0
    assert encode_queries(encoder, []) == []


def test_text_that_cannot_be_read_is_found_by_characters(
    cache: EditCache, encoder: StubEncoder
) -> None:
    panda = Fact("熊猫的皮肤是什么颜色的？", "粉色")
    zebra = Fact("斑马的皮肤是什么颜色的？", "黑色")
    others = [Fact("x" * n + "的皮肤是什么颜色的" + "？" * n, "x", id=f"o{n}") for n in range(1, 4)]
    cache.add([panda, *others, zebra])
    query = encode_query(encoder, "斑马的皮肤是什么颜色的")
    np.testing.assert_allclose(*encoder.encode([panda.question, zebra.question]), atol=1e-6)
    hits = cache.view().search([query], 2)[0]
    assert hits[0].edit == zebra
    assert hits[0].score == 1.0
    assert found(cache, "请问斑马的皮肤是什么颜色", 1) == [zebra.id]


def test_the_same_text_is_always_found_even_past_k(cache: EditCache) -> None:
    same = [Fact(f"{' ' * n}What is IT?", "same", id=f"same{n}") for n in range(5)]
    cache.add([*same, *(Fact(f"What is it {n}?", "x") for n in range(30))])
    hits = cache.view().search([encode_query(StubEncoder(), "what is it")], 3)[0]
    assert {hit.edit.id for hit in hits} == {edit.id for edit in same}
    assert {hit.score for hit in hits} == {1.0}


def test_only_selects_without_hiding_others_behind_the_k_nearest(cache: EditCache) -> None:
    many = [Fact(f"What is the capital of country {n}?", "x") for n in range(400)]
    far = Fact("Zq?", "y", tags=("t",))
    cache.add([*many, far])
    query = encode_query(StubEncoder(), "What is the capital of country 7?")
    view = cache.view()
    assert far not in [hit.edit for hit in view.search([query], 5)[0]]
    chosen = view.search([query], 5, only=lambda edit: "t" in edit.tags)[0]
    assert [hit.edit for hit in chosen] == [far]
    assert view.search([query], 5, only=lambda edit: False) == [[]]


def test_regexes_by_target_and_priority(cache: EditCache) -> None:
    low, high = RegexPatch("b", "x", id="low"), RegexPatch("c", "x", id="high", priority=2)
    cache.add([SWAZI, low, high, RegexPatch("d", "x", target="query", id="q")])
    view = cache.view()
    outputs, queries = (view.text_filter(t, lambda edit: True) for t in ("output", "query"))
    assert [patch.id for patch in outputs.patterns] == ["high", SWAZI.id, "low"]
    assert [patch.id for patch in queries.patterns] == ["q"]
    assert view.text_filter("output", lambda edit: True) is outputs
    some = view.text_filter("output", lambda edit: edit.id != "high")
    assert [patch.id for patch in some.patterns] == [SWAZI.id, "low"]
    assert found(cache, SWAZI.pattern) == []


def test_secrets_are_collected(cache: EditCache) -> None:
    fact = Fact("Where?", forget=True, secret="12 Elm Street")
    cache.add([fact, ZEBRA, Fact("Who?", forget=True)])
    assert cache.view().text_filter("output", lambda edit: True).forgotten == (fact,)


def test_dates_and_supersedes_decide_what_is_in_force(cache: EditCache) -> None:
    old = Fact("a b c", "1", id="old")
    new = Fact("a b c d", "2", id="new", supersedes=("old",), valid_from=TODAY + DAY)
    gone = Fact("x y z", "3", id="gone", until=TODAY - DAY)
    cache.add([old, new, gone])
    assert [edit.id for edit in cache.edits] == ["old"]
    assert found(cache, "x y z") == ["old"]
    later = cache.view(TODAY + DAY)
    assert [edit.id for edit in later.edits] == ["new"]
    assert found(later, "a b c") == ["new"]
    assert [edit.id for edit in cache.view(TODAY - DAY).edits] == ["old", "gone"]


def test_retracting(cache: EditCache) -> None:
    cache.add([ZEBRA, CAPITAL])
    before = cache.generation
    assert cache.retract(ZEBRA.id) == ZEBRA
    assert cache.generation > before
    assert cache.edits == (CAPITAL,)
    assert found(cache, ZEBRA.question) == [CAPITAL.id]
    with pytest.raises(UnknownEdit, match=ZEBRA.id):
        cache.retract(ZEBRA.id)
    with pytest.raises(UnknownEdit, match=f"did you mean '{CAPITAL.id}'"):
        cache.retract(CAPITAL.id[:-1])


def test_a_view_answers_as_of_its_moment(cache: EditCache) -> None:
    cache.add([ZEBRA, CAPITAL])
    view = cache.view()
    assert cache.view() is view
    cache.retract(ZEBRA.id)
    cache.add(Fact(f"fresh {n}", "x") for n in range(600))
    cache.set_files([MAKER])
    assert view.edits == (ZEBRA, CAPITAL)
    assert set(found(view, ZEBRA.question)) == {ZEBRA.id, CAPITAL.id}
    assert ZEBRA.id not in cache.view().by_id


def test_adding_again_is_nothing_and_another_of_the_same_id_an_error(
    cache: EditCache, encoder: StubEncoder
) -> None:
    cache.add([ZEBRA])
    generation, calls = cache.generation, encoder.calls
    assert cache.add([ZEBRA, at(ZEBRA, 3)]) == (ZEBRA,)
    assert (cache.generation, encoder.calls) == (generation, calls)
    with pytest.raises(EditError, match="taken by another edit"):
        cache.add([CAPITAL, Fact("other", "x", id=ZEBRA.id)])
    with pytest.raises(EditError, match="two different edits"):
        cache.add([Fact("a", "b", id="i"), Fact("a", "c", id="i")])
    assert cache.edits == (ZEBRA,)


def test_many_edits_are_one_call_of_the_encoder(cache: EditCache, encoder: StubEncoder) -> None:
    cache.add(Fact(f"question {n}", str(n)) for n in range(1000))
    assert encoder.calls == 1
    assert len(cache.edits) == 1000


def test_a_badly_formed_edit_is_refused_whole(cache: EditCache) -> None:
    with pytest.raises(PatchError, match="look-around"):
        cache.add([ZEBRA, RegexPatch("(?=a)b", "c")])
    assert cache.edits == ()


def test_files_are_swapped_whole_and_only_new_scopes_encoded(
    cache: EditCache, encoder: StubEncoder
) -> None:
    facts = [Fact(f"question {n}", str(n)) for n in range(50)]
    cache.add([ZEBRA])
    cache.set_files([at(fact, line) for line, fact in enumerate(facts, 1)])
    assert cache.edits == (*facts, ZEBRA)
    encoder.encoded.clear()
    changed = [at(fact, line + 7) for line, fact in enumerate(facts, 1)]
    changed[20] = at(Fact("another question", "x"), 27)
    changed[30] = at(Fact(facts[30].question, "another answer"), 37)
    cache.set_files(reversed(changed))
    assert encoder.encoded == ["another question"]
    assert cache.edits == (*reversed(changed), ZEBRA)
    assert str(cache.view().by_id[facts[0].id].location) == "patches/a.yaml:8"
    assert found(cache, "another question")[0] == changed[20].id
    assert facts[20].id not in found(cache, facts[20].question, 100)
    generation = cache.generation
    cache.set_files(reversed(changed))
    assert cache.generation == generation
    cache.set_files([])
    assert cache.edits == (ZEBRA,)


def test_an_edit_of_a_file_cannot_be_retracted(cache: EditCache) -> None:
    cache.set_files([at(ZEBRA, 12)])
    with pytest.raises(EditError, match=r"patches/a\.yaml:12: delete it there"):
        cache.retract(ZEBRA.id)
    assert cache.edits == (ZEBRA,)


def test_files_may_not_take_an_id_made_at_run_time(cache: EditCache) -> None:
    cache.set_files([at(CAPITAL, 1)])
    cache.add([Fact("mine", "x", id="i")])
    other = Fact("theirs", "y", id="i", location=SourceLocation("patches/a.yaml", 4))
    with pytest.raises(PatchFolderError, match=r"patches/a\.yaml:4: the id 'i' is taken"):
        cache.set_files([other])
    assert [edit.id for edit in cache.edits] == [CAPITAL.id, "i"]
    with pytest.raises(PatchError, match="question is empty"):
        cache.set_files([Fact("", "x")])
    assert [edit.id for edit in cache.edits] == [CAPITAL.id, "i"]


def test_an_edit_in_both_places_is_in_force_once(cache: EditCache) -> None:
    cache.add([ZEBRA])
    cache.set_files([at(ZEBRA, 5)])
    assert cache.edits == (ZEBRA,)
    assert found(cache, ZEBRA.question) == [ZEBRA.id]
    cache.set_files([])
    assert found(cache, ZEBRA.question) == [ZEBRA.id]
    cache.retract(ZEBRA.id)
    assert cache.edits == ()


def test_a_failing_encoder_changes_nothing(cache: EditCache, encoder: StubEncoder) -> None:
    cache.add([ZEBRA])
    cache.set_files([at(MAKER_FACT, 1)])
    generation = cache.generation
    encoder.failure = RuntimeError("out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        cache.add([CAPITAL])
    with pytest.raises(RuntimeError, match="out of memory"):
        cache.set_files([at(CAPITAL, 1)])
    assert cache.generation == generation
    assert cache.edits == (MAKER_FACT, ZEBRA)
    encoder.failure = None
    cache.add([CAPITAL])
    assert found(cache, CAPITAL.question)[0] == CAPITAL.id


MAKER_FACT = Fact("Who made you?", "Example Labs")


def test_an_encoder_that_breaks_its_word_is_refused(cache: EditCache) -> None:
    class Broken(StubEncoder):
        def encode(self, texts):  # type: ignore[no-untyped-def]
            return super().encode(texts)[:, :5]

    cache.encoder = Broken()
    with pytest.raises(StoreError, match="width 64"):
        cache.add([ZEBRA])
    assert cache.edits == ()


def test_a_closed_cache_says_so(cache: EditCache) -> None:
    cache.add([ZEBRA])
    view = cache.view()
    cache.close()
    cache.close()
    for act in (lambda: cache.add([CAPITAL]), cache.view, lambda: cache.retract(ZEBRA.id)):
        with pytest.raises(StoreError, match="closed"):
            act()
    assert found(view, ZEBRA.question) == [ZEBRA.id]


def test_another_index_may_be_brought() -> None:
    with EditCache(StubEncoder(), index=FlatIndex) as cache:
        cache.add([ZEBRA, CAPITAL])
        assert found(cache, ZEBRA.question)[0] == ZEBRA.id


def test_eight_threads_see_whole_moments_only(cache: EditCache) -> None:
    """Pairs are added together, files swapped whole; no view may ever hold a half."""
    rounds = 12
    sets = [[at(Fact(f"set {s} number {n}", "x"), n + 1) for n in range(5)] for s in range(2)]
    cache.set_files(sets[0])
    done = threading.Event()

    def write(thread: int) -> None:
        for number in range(rounds):
            name = f"{thread}-{number}"
            cache.add(
                [Fact(f"left {name}", "x", id=f"l{name}"), Fact(f"r {name}", "x", id=f"r{name}")]
            )
            cache.add([Fact(f"single {name}", "x", id=f"s{name}")])
            cache.retract(f"s{name}")

    def swap() -> None:
        for number in range(rounds):
            cache.set_files(sets[number % 2])

    def read() -> None:
        last = 0
        while not done.is_set():
            view = cache.view()
            ids = set(view.by_id)
            assert {i[1:] for i in ids if i[0] == "l"} == {i[1:] for i in ids if i[0] == "r"}
            filed = {edit.id for edit in view.edits if edit.location}
            assert filed in [{edit.id for edit in each} for each in sets]
            hits = view.search([encode_query(StubEncoder(), "left 1-1")], 500)[0]
            assert {hit.edit.id for hit in hits} == ids
            assert view.generation >= last
            last = view.generation

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        writers = [pool.submit(swap), *(pool.submit(write, thread) for thread in range(4))]
        wait(writers)
        done.set()
        for work in [*writers, *readers]:
            work.result()
    expected = {f"{side}{t}-{n}" for side in "lr" for t in range(4) for n in range(rounds)}
    assert {edit.id for edit in cache.edits if edit.location is None} == expected


def test_the_cache_never_imports_torch() -> None:
    modules = (
        "store patches.kinds patches.files index.faiss_index patches.conflicts text.then_clause "
        "filters.secrets filters.regex patches.yaml"
    )
    script = "".join(f"import errata.cache.{name}\n" for name in modules.split())
    script += "from errata.cache.patches.kinds import kinds\nkinds()\n"
    script += "import sys; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    run = [sys.executable, "-c", script]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_what_is_not_needed_is_not_imported() -> None:
    script = (
        "import errata.cache.store, errata.cache.patches.files, sys\n"
        "print([m for m in ('faiss', 'ruamel.yaml', 're2') if m in sys.modules])"
    )
    run = [sys.executable, "-c", script]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == "[]"
