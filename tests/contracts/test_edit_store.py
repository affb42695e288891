"""What every place that keeps edits has to do: SQLite's file, and PostgreSQL with a local copy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from time import monotonic, sleep

import pytest

from errata.cache.storage.base import EditStore
from errata.cache.storage.database import Database, Row

A, B, C = (Row(key, "fact", f'{{"answer": "{key}"}}', "[]") for key in "abc")

Open = Callable[[], EditStore]


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Open the same edits again at each call, as another process would."""
    with ExitStack() as stack:
        if request.param == "sqlite":

            def make() -> EditStore:
                return Database(tmp_path / "edits.sqlite3")
        else:
            url = request.getfixturevalue("postgres_url")
            from errata.cache.storage.postgres import PostgresServer
            from errata.cache.storage.postgres_edits import PostgresEdits
            from errata.cache.storage.replica import ReplicaDatabase

            def make() -> EditStore:
                return ReplicaDatabase(PostgresEdits(PostgresServer(url)))

        yield lambda: stack.enter_context(closing(make()))


def change(
    store: EditStore,
    insert: tuple[Row, ...] = (),
    delete: tuple[str, ...] = (),
    seen: dict[str, str] | None = None,
) -> None:
    with store.writing() as connection:
        store.change(connection, insert, delete, seen)


def rows(store: EditStore) -> list[tuple[str, ...]]:
    """What is kept of each edit, in order."""
    return [fields(row) for row in store.read()[1]]


def fields(row: Row) -> tuple[str, ...]:
    return row.id, row.kind, row.body, row.seen


def eventually(store: EditStore, expected: list[Row]) -> None:
    """Wait until a store has read what another one wrote."""
    deadline = monotonic() + 20
    while rows(store) != list(map(fields, expected)) and monotonic() < deadline:
        sleep(0.005)
    assert rows(store) == list(map(fields, expected))


def test_edits_are_kept_in_order_for_who_is_there_and_who_comes(opened: Open) -> None:
    one, two = opened(), opened()
    assert one.read() == two.read() == (0, [])
    change(one, (A, B))
    assert rows(one) == list(map(fields, [A, B]))
    eventually(two, [A, B])
    change(two, (C,))
    eventually(one, [A, B, C])
    assert rows(opened()) == list(map(fields, [A, B, C]))


def test_retracted_made_again_and_updated(opened: Open) -> None:
    one, two = opened(), opened()
    change(one, (A, B, C))
    eventually(two, [A, B, C])
    change(two, (A,), ("a",))  # made again: it moves to the end
    eventually(one, [B, C, A])
    change(one, (), ("b",), {"c": '["x"]'})
    changed = [Row("c", "fact", C.body, '["x"]'), A]
    assert rows(one) == list(map(fields, changed))
    eventually(two, changed)
    assert rows(opened()) == list(map(fields, changed))


def test_a_generation_says_whether_anything_changed(opened: Open) -> None:
    one, two = opened(), opened()
    first = one.generation()
    with one.writing():
        pass
    assert one.generation() == first
    two.changed()
    change(one, (A,))
    assert one.generation() > first
    eventually(two, [A])
    assert two.changed()
    assert not two.changed()
    assert two.generation() > first


def test_what_fails_changes_nothing_and_frees_the_lock(opened: Open) -> None:
    one, two = opened(), opened()
    change(one, (A,))
    with pytest.raises(RuntimeError, match="stop"):
        with one.writing() as connection:
            one.change(connection, (B,), ("a",))
            raise RuntimeError("stop")
    assert rows(one) == list(map(fields, [A]))
    change(two, (C,))
    eventually(one, [A, C])
    assert rows(opened()) == list(map(fields, [A, C]))


def test_a_writer_sees_all_that_was_written_before_it(opened: Open) -> None:
    """Inside the transaction: no change is ever planned on old edits."""
    stores = opened(), opened(), opened()

    def write(store: EditStore, name: str) -> None:
        for number in range(5):
            with store.writing() as connection:
                known = len(store.read()[1])
                store.change(connection, (Row(f"{name}{number}", "fact", str(known)),), ())

    threads = [
        threading.Thread(target=write, args=pair) for pair in zip(stores, "xyz", strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = opened().read()[1]
    assert [row.body for row in made] == [str(number) for number in range(15)]
    for store in stores:
        eventually(store, made)


def test_the_fingerprint_is_of_all(opened: Open) -> None:
    one, two = opened(), opened()
    assert one.fingerprint() is None
    one.set_fingerprint("encoder-1")
    assert two.fingerprint() == "encoder-1"
    two.set_fingerprint("encoder-2")
    assert one.fingerprint() == "encoder-2"


def test_edits_are_on_disk_only_beside_a_file_that_is_not_a_copy(opened: Open) -> None:
    store = opened()
    assert store.segment_home is (store if type(store) is Database else None)
