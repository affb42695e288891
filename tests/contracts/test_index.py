"""Every vector index keeps the contract, with the plain NumPy index as the oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.cache.errors import IndexMismatchError
from errata.cache.index.base import FlatIndex, VectorIndex
from errata.cache.index.faiss_index import FaissIndex
from errata.cache.records import Vector

WIDTH = 8
Maker = Callable[[], VectorIndex]

MAKERS: dict[str, Maker] = {
    "numpy": lambda: FlatIndex(WIDTH),
    "faiss": lambda: FaissIndex(WIDTH),
    "faiss, folded at once": lambda: FaissIndex(WIDTH, least_tail=1),
    "faiss graph": lambda: FaissIndex(WIDTH, hnsw_from=1, least_tail=1),
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Maker:
    return MAKERS[request.param]


def unit(count: int, seed: int = 0, width: int = WIDTH) -> Vector:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def names(count: int, prefix: str = "e") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def agree(index: VectorIndex, oracle: FlatIndex, queries: Vector, k: int) -> None:
    got, expected = index.search(queries, k), oracle.search(queries, k)
    assert len(got) == len(queries)
    for row in range(len(queries)):
        scores = got.scores[row]
        assert scores.dtype == np.float32
        assert np.all(np.diff(scores) <= 0)
        assert len(set(got.ids[row])) == len(got.ids[row]) == len(scores)
        np.testing.assert_allclose(scores, expected.scores[row], atol=1e-5)
        # Ids are compared by score: of two as near, either may come first.
        own = dict(zip(oracle.ids, oracle.vectors @ queries[row], strict=True))
        np.testing.assert_allclose([own[key] for key in got.ids[row]], scores, atol=1e-5)


def test_an_empty_index_finds_nothing(make: Maker) -> None:
    result = make().search(unit(3), 5)
    assert result.ids == ((), (), ())
    assert [len(scores) for scores in result.scores] == [0, 0, 0]
    assert len(make()) == 0


def test_no_queries_and_no_k(make: Maker) -> None:
    index = make()
    index.add(names(4), unit(4))
    assert len(index.search(unit(0), 3)) == 0
    assert index.search(unit(2), 0).ids == ((), ())


def test_more_than_there_are_are_never_invented(make: Maker) -> None:
    index = make()
    index.add(names(5), unit(5))
    result = index.search(unit(2, seed=1), 50)
    assert [sorted(ids) for ids in result.ids] == [names(5), names(5)]


def test_a_vector_finds_itself_first(make: Maker) -> None:
    index = make()
    vectors = unit(40)
    index.add(names(40), vectors)
    result = index.search(vectors, 1)
    assert [ids[0] for ids in result.ids] == names(40)
    np.testing.assert_allclose(np.concatenate(result.scores), 1.0, atol=1e-5)


@pytest.mark.parametrize("again", [["e1"], ["new", "new"], ["new", "e3"]])
def test_a_duplicate_id_is_refused_and_nothing_added(make: Maker, again: list[str]) -> None:
    index = make()
    index.add(names(5), unit(5))
    with pytest.raises(IndexMismatchError, match="in the index already"):
        index.add(again, unit(len(again), seed=2))
    assert len(index) == 5


def test_a_wrong_width_is_refused(make: Maker) -> None:
    index = make()
    with pytest.raises(IndexMismatchError, match="width 8"):
        index.add(["a"], unit(1, width=5))
    index.add(["a"], unit(1))
    with pytest.raises(IndexMismatchError, match="width 8"):
        index.search(unit(1, width=9), 1)
    with pytest.raises(IndexMismatchError, match="expected 2 vectors"):
        index.add(["b", "c"], unit(1))
    assert len(index) == 1


def test_numbers_that_are_none_are_refused(make: Maker) -> None:
    with pytest.raises(IndexMismatchError, match="NaN"):
        make().add(["a"], np.full((1, WIDTH), np.nan, dtype=np.float32))


def test_removing_says_how_many_and_passes_over_the_unknown(make: Maker) -> None:
    index = make()
    index.add(names(6), unit(6))
    assert index.remove(["e1", "nobody", "e4", "e1"]) == 2
    assert index.remove(["e1"]) == 0
    assert len(index) == 4
    assert sorted(index.search(unit(1), 10).ids[0]) == ["e0", "e2", "e3", "e5"]


def test_a_removed_id_may_come_back_with_another_vector(make: Maker) -> None:
    index = make()
    index.add(names(6), unit(6))
    other = unit(1, seed=9)
    index.remove(["e2"])
    index.add(["e2"], other)
    index.add(["z"], unit(1, seed=10))
    result = index.search(other, 1)
    assert result.ids[0] == ("e2",)
    assert result.scores[0][0] == pytest.approx(1.0, abs=1e-5)


def test_copies_change_independently(make: Maker) -> None:
    index = make()
    index.add(names(10), unit(10))
    other = index.copy()
    index.remove(names(5))
    index.add(["late"], unit(1, seed=3))
    assert sorted(other.search(unit(1), 20).ids[0]) == sorted(names(10))
    other.add(["mine"], unit(1, seed=4))
    assert "mine" not in index.search(unit(1), 20).ids[0]
    assert len(index) == 6


def test_saving_and_loading(make: Maker, tmp_path: Path) -> None:
    index, oracle = make(), FlatIndex(WIDTH)
    for each in (index, oracle):
        each.add(names(30), unit(30))
        each.remove(names(7))
        each.add(["late"], unit(1, seed=3))
    index.save(tmp_path / "index")
    again = make()
    again.load(tmp_path / "index")
    assert len(again) == 24
    agree(again, oracle, unit(3, seed=5), 6)
    again.add(["after"], unit(1, seed=6))
    assert again.remove(["late"]) == 1


def test_an_empty_index_is_saved_too(make: Maker, tmp_path: Path) -> None:
    make().save(tmp_path / "index")
    again = make()
    again.load(tmp_path / "index")
    assert len(again) == 0


@pytest.mark.parametrize("harm", ["missing", "flipped", "cut", "json", "width"])
def test_a_damaged_file_is_refused_and_nothing_changed(
    make: Maker, tmp_path: Path, harm: str
) -> None:
    file = tmp_path / "index"
    index = make()
    index.add(names(30), unit(30))
    index.save(file)
    data = bytearray(file.read_bytes())
    if harm == "missing":
        file.unlink()
    elif harm == "flipped":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif harm == "cut":
        file.write_bytes(data[:-7])
    elif harm == "json":
        (tmp_path / "index.json").write_text("{")
    else:
        other = FlatIndex(5)
        other.add(["a"], unit(1, width=5))
        other.save(file)
    fresh = make()
    fresh.add(["kept"], unit(1))
    with pytest.raises(IndexMismatchError, match="index"):
        fresh.load(file)
    assert fresh.search(unit(1), 3).ids == (("kept",),)


step = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 12)),
    st.tuples(st.just("remove"), st.integers(0, 30)),
    st.tuples(st.just("copy"), st.just(0)),
)


@pytest.mark.parametrize("kind", ["numpy", "faiss", "faiss, folded at once", "faiss graph"])
def test_any_sequence_agrees_with_the_oracle(kind: str) -> None:
    @settings(deadline=None, max_examples=20)
    @given(steps=st.lists(step, max_size=12), seed=st.integers(0, 1000))
    def agrees(steps: list[tuple[str, int]], seed: int) -> None:
        index, oracle = MAKERS[kind](), FlatIndex(WIDTH)
        made = 0
        for number, (what, size) in enumerate(steps):
            if what == "add":
                fresh = [f"e{made + each}" for each in range(size)]
                made += size
                vectors = unit(size, seed=seed + number)
                index.add(fresh, vectors)
                oracle.add(fresh, vectors)
            elif what == "remove":
                gone = [key for key in oracle.ids if int(key[1:]) % 31 <= size and size]
                assert index.remove(gone) == oracle.remove(gone) == len(gone)
            else:
                index = index.copy()
            assert len(index) == len(oracle)
        # So few that the graph reaches them all: there too the result is exact.
        agree(index, oracle, unit(3, seed=seed + 77), 5)

    agrees()


def test_the_graph_meets_its_recall_with_a_fifth_dead() -> None:
    index, oracle = FaissIndex(32, hnsw_from=100), FlatIndex(32)
    vectors = unit(2000, width=32)
    for each in (index, oracle):
        each.add(names(2000), vectors)
        each.remove(names(2000)[::6])
        each.add(names(300, "late"), unit(300, seed=8, width=32))
    assert index.is_graph
    queries = unit(100, seed=5, width=32)
    got, expected = index.search(queries, 10), oracle.search(queries, 10)
    assert all(len(ids) == 10 for ids in got.ids)
    shared = sum(len(set(a) & set(b)) for a, b in zip(got.ids, expected.ids, strict=True))
    assert shared / 1000 >= 0.95


def test_small_is_exact_and_large_is_a_graph() -> None:
    index = FaissIndex(WIDTH, hnsw_from=500)
    index.add(names(400), unit(400))
    assert not index.is_graph
    index.add(names(400, "f"), unit(400, seed=1))
    assert index.is_graph
    index.remove(names(400))
    assert not index.is_graph
    assert len(index) == 400


def test_when_all_the_near_are_dead_the_far_are_found() -> None:
    index = FaissIndex(WIDTH, least_tail=10_000)
    index.add(names(20_000), unit(20_000))
    query = unit(1, seed=1)
    near = index.search(query, 3000).ids[0]
    index.remove(near[:2990])
    assert index.search(query, 10).ids[0] == near[2990:]
