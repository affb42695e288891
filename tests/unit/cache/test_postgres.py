"""Replicas of one cache in PostgreSQL: they follow, share encodings, and hide passwords."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest

from errata.cache.encoder import encode_query
from errata.cache.errors import EditError, IndexMismatchError, MissingExtra, StoreError
from errata.cache.records import Fact
from errata.cache.store import EditCache
from tests.fakes import StubEncoder

psycopg = pytest.importorskip("psycopg", reason="needs the extra postgres")

ZEBRA = Fact("What colour is a zebra's skin?", "black", id="zebra")
CAPITAL = Fact("What is the capital of Kazakhstan?", "Astana", id="capital")
PASSWORD = "s3cr3t/pass word"


@pytest.fixture
def replica(postgres_url: str) -> Iterator[Callable[..., EditCache]]:
    with ExitStack() as stack:

        def opened(encoder: StubEncoder | None = None, **options: bool) -> EditCache:
            made = EditCache(encoder or StubEncoder(), postgres_url, **options)
            return stack.enter_context(made)

        yield opened


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline, what
        sleep(0.005)


def ids(cache: EditCache) -> list[str]:
    return [edit.id for edit in cache.edits]


def test_an_edit_of_one_replica_is_found_by_the_others(replica: Callable[..., EditCache]) -> None:
    one, two = replica(), replica()
    before = two.view()
    one.add([ZEBRA, CAPITAL])
    eventually(lambda: ids(two) == ["zebra", "capital"], "the edits never came")
    query = encode_query(StubEncoder(), "what colour has the skin of a zebra?")
    assert two.view().search([query], 1)[0][0].edit == ZEBRA
    assert not before.edits
    two.retract("zebra")
    eventually(lambda: ids(one) == ["capital"], "the retraction never came")


def test_a_replica_that_comes_later_encodes_nothing_again(
    replica: Callable[..., EditCache],
) -> None:
    first, later, follows = StubEncoder(), StubEncoder(), StubEncoder()
    one, following = replica(first), replica(follows)
    one.add([ZEBRA, CAPITAL])
    assert sorted(first.encoded) == sorted([ZEBRA.question, CAPITAL.question])
    eventually(lambda: len(following.edits) == 2, "the edits never came")
    two = replica(later)
    assert dict(two.vectors).keys() == {ZEBRA.question, CAPITAL.question}
    for text, vector in one.vectors.items():
        assert (two.vectors[text] == vector).all()
    assert later.encoded == follows.encoded == []


def test_a_replica_refuses_what_another_one_made_it_wrong(
    replica: Callable[..., EditCache],
) -> None:
    """Planned on the edits of the moment, even where they have not been read yet."""
    one, two = replica(), replica()
    one.add([ZEBRA])
    with pytest.raises(EditError, match="taken by another edit"):
        two.add([Fact("Who?", "me", id="zebra")])
    two.retract("zebra")
    with pytest.raises(EditError):
        one.retract("zebra")
    eventually(lambda: ids(one) == ids(two) == [], "a replica still has the edit")


def test_a_retracted_edit_leaves_no_text_in_the_table(
    replica: Callable[..., EditCache], postgres_url: str
) -> None:
    one = replica()
    one.add([ZEBRA])
    with psycopg.connect(postgres_url) as connection:
        query = "SELECT body FROM errata_edits"
        assert "black" in connection.execute(query).fetchone()[0]
        one.retract("zebra")
        assert connection.execute(query).fetchone() == (None,)


def test_another_encoder_is_refused_or_encodes_again(replica: Callable[..., EditCache]) -> None:
    other = StubEncoder(fingerprint="another")
    replica().add([ZEBRA])
    with pytest.raises(IndexMismatchError, match="another"):
        replica(other)
    assert ids(replica(other, reencode=True)) == ["zebra"]


def test_a_lost_connection_is_made_again_and_nothing_is_missed(
    replica: Callable[..., EditCache], postgres_server: object, postgres_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    one, two = replica(), replica()
    one.add([ZEBRA])
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'errata'"
        )
    eventually(lambda: bool(caplog.records), "no replica noticed")
    one.add([CAPITAL])
    eventually(lambda: ids(two) == ["zebra", "capital"], "the change was missed")
    assert "are not seen for the moment" in caplog.text


def test_a_connection_lost_amid_a_page_leaves_no_cursor_open(
    replica: Callable[..., EditCache], postgres_url: str
) -> None:
    from errata.cache.storage.postgres import PostgresServer
    from errata.cache.storage.postgres_edits import Position, PostgresEdits

    replica().add([ZEBRA])
    edits = PostgresEdits(PostgresServer(postgres_url))
    with pytest.raises(StoreError, match="cannot be read"), edits.reading() as session:
        changes = session.changes(Position())
        assert next(changes).insert
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'errata' AND query LIKE 'FETCH%'"
            )
        changes.close()  # a cursor left open warns, which fails the test


def test_a_database_restored_to_an_older_state_is_copied_again(
    replica: Callable[..., EditCache], postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = replica()
    one.add([ZEBRA])
    one.add([CAPITAL])
    other = json.dumps({"question": "Who?", "answer": "me", "id": "other"})
    with psycopg.connect(postgres_url) as connection:  # and went on from there
        connection.execute("DELETE FROM errata_edits WHERE id = 'capital'")
        connection.execute("UPDATE errata_changes SET token = 'x' WHERE generation = 2")
        connection.execute(
            "INSERT INTO errata_edits VALUES ('other', 'fact', %s, '[]', 2, 1, 2)", [other]
        )
    one.add([Fact("And now?", "now", id="now")])
    assert ids(one) == ["zebra", "other", "now"]
    assert "restored" in caplog.text


def test_a_fork_follows_by_itself(replica: Callable[..., EditCache]) -> None:
    import multiprocessing

    one = replica()
    one.add([ZEBRA])
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()

    def child() -> None:
        there.send(ids(one))
        here_too = there.recv()
        eventually(lambda: len(one.edits) == here_too, "the child does not follow")
        one.add([Fact("Child?", "yes", id="child")])
        there.send(ids(one))

    process = context.Process(target=child)
    process.start()
    assert here.poll(30), "the child said nothing"
    assert here.recv() == ["zebra"]
    one.add([CAPITAL])
    here.send(2)
    assert here.poll(30), "the child said nothing"
    assert here.recv() == ["zebra", "capital", "child"]
    process.join(30)
    eventually(lambda: len(one.edits) == 3, "the child's edit never came")


def test_replicas_that_open_an_empty_database_at_once_make_it_once(postgres_url: str) -> None:
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with EditCache(StubEncoder(), postgres_url) as cache:
                cache.add([Fact(f"What is {number}?", "x", id=str(number))])
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    with EditCache(StubEncoder(), postgres_url) as cache:
        assert sorted(ids(cache)) == list("0123")


def test_a_newer_schema_is_refused_and_an_older_one_migrated(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from errata.cache.storage import postgres_edits

    with EditCache(StubEncoder(), postgres_url) as cache:
        cache.add([ZEBRA])
    statement = "ALTER TABLE errata_changes ADD COLUMN author text"
    with monkeypatch.context() as patched:
        newer = replace(postgres_edits.EDITS, version=2, migrations={1: statement})
        patched.setattr(postgres_edits, "EDITS", newer)
        with EditCache(StubEncoder(), postgres_url) as cache:
            assert ids(cache) == ["zebra"]
    with psycopg.connect(postgres_url) as connection:
        connection.execute("SELECT author FROM errata_changes")
    with pytest.raises(StoreError, match="expected schema 1 or older, found 2: upgrade errata"):
        EditCache(StubEncoder(), postgres_url)


def test_a_role_without_rights_is_told_so(postgres_server: object, postgres_url: str) -> None:
    with EditCache(StubEncoder(), postgres_url):
        pass
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN")
    as_reader = postgres_url.replace("postgres@", "reader@")
    with pytest.raises(StoreError, match="search_path"):
        EditCache(StubEncoder(), as_reader)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        schema = connection.execute("SELECT current_schema()").fetchone()[0]
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO reader")
    with pytest.raises(StoreError, match="expected a role that may read and write"):
        EditCache(StubEncoder(), as_reader)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cr3t%2Fpass%20word@127.0.0.1:1/none?connect_timeout=2",
        f"postgresql://me:{PASSWORD}@127.0.0.1:1/none",
        "postgresql://127.0.0.1:1/none?password=s3cr3t%2Fpass%20word&sslmode=x",
    ],
)
def test_no_message_holds_the_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreError) as caught:
        EditCache(StubEncoder(), url)
    seen: list[object] = [caplog.text]
    error: BaseException | None = caught.value
    while error is not None:
        seen.append(str(error))
        error = None if error.__suppress_context__ and not error.__cause__ else (
            error.__cause__ or error.__context__
        )  # fmt: skip
    assert "s3cr3t" not in repr(seen)
    assert "pass" not in str(caught.value).replace("password", "")


def test_names_and_representations_hold_no_password(postgres_url: str) -> None:
    from errata.cache.storage.postgres import PostgresServer

    server = PostgresServer("postgresql://me:s3cr3t@db.example.com:6432/edits?sslmode=require")
    assert server.name == "postgresql://me@db.example.com:6432/edits"
    assert "s3cr3t" not in repr(server) + repr(vars(server)["_parameters"])
    cache = EditCache(StubEncoder(), postgres_url)
    cache.close()
    with pytest.raises(StoreError, match=r"the cache postgresql://postgres@.* is closed"):
        cache.view()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setitem(sys.modules, "psycopg.conninfo", None)
    with pytest.raises(MissingExtra, match=r"pip install 'errata\[postgres\]'"):
        EditCache(StubEncoder(), "postgresql://localhost/none")


def test_a_url_as_a_path_is_an_error_not_a_folder() -> None:
    with pytest.raises(StoreError, match="found one as a Path"):
        EditCache(StubEncoder(), Path("postgresql://localhost/none"))


def test_the_local_copy_is_deleted_on_close(
    replica: Callable[..., EditCache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one = replica()
    one.add([ZEBRA])
    assert len(list(tmp_path.glob("errata-replica-*/edits.sqlite3"))) == 1
    one.close()
    assert not list(tmp_path.iterdir())


def test_commands_take_the_url_and_print_no_password(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from errata.cli import app
    from errata.commands import opening

    monkeypatch.setattr(opening, "open_encoder", lambda name: StubEncoder())
    url = postgres_url.replace("postgres@", "postgres:s3cr3t@")
    patches = str(tmp_path)
    commands = (
        ["edit", "Who made you?", "Example Labs.", "--cache", url, "--patches", patches],
        ["edits", "--cache", url, "--patches", patches],
        ["reindex", "--cache", url],
        ["edits", "--cache", url.replace("/postgres?", "/none?"), "--patches", patches],
    )
    results = [CliRunner().invoke(app, words) for words in commands]
    assert [result.exit_code for result in results] == [0, 0, 0, 1]
    assert "Who made you?" in results[1].output
    assert "1 edit, encoded by stub-trigrams-64" in results[2].output
    assert not any("s3cr3t" in result.output for result in results)
