"""The audit log: what is written, what is read, and that no query ever notices."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from errata.audit.config import AuditConfig
from errata.audit.database import AuditDatabase
from errata.audit.log import AuditLog, LogFilter
from errata.audit.opening import open_log
from errata.audit.records import AuditedCall, LoggedDecision, LoggedPatch, patches_fingerprint
from errata.audit.writer import AuditWriter
from errata.cache.errors import ErrataError, StoreError
from errata.cache.records import Fact, PatchTests, RegexPatch
from errata.cache.rollout import Conversation
from errata.cache.store import EditCache
from errata.gates.base import Decision
from errata.output import Trace
from errata.pipelines.base import RoutedBatch
from tests.fakes import StubEncoder
from tests.unit.helpers import CAPITAL, FACT, OTHER, editable

QUICK = {"flush_seconds": 0.0, "busy_seconds": 0.05}


def call(*queries, at=None):
    """Return a call that missed."""
    view = EditCache(StubEncoder()).view()
    decisions = tuple(map(Decision, queries))
    batch = RoutedBatch(
        queries, decisions, (None,) * len(queries), (), (), view, queries,
        tuple(map(Conversation.of, queries)),
    )  # fmt: skip
    return AuditedCall(time.time() if at is None else at, Trace(decisions), batch, False)


@pytest.fixture
def writer(tmp_path):
    """Return a function that opens a writer, closed after the test."""
    opened = []

    def open_writer(name="log.sqlite3", **options):
        config = AuditConfig(tmp_path / name, **{**QUICK, **options})
        opened.append(AuditWriter(config, "gate", "model"))
        return opened[-1]

    yield open_writer
    for each in opened:
        each.close()


def read(path, wanted=None, **options):
    with AuditLog(path) as log:
        return list(log.read(wanted, **options))


# -- what is logged --------------------------------------------------------------------------


def test_every_decision_of_generate_is_logged(models, tokenizer, tmp_path):
    path = tmp_path / "new" / "log.sqlite3"
    (tmp_path / "patches").mkdir()
    file = tmp_path / "patches" / "x.yaml"
    file.write_text(f"- question: {CAPITAL}\n  answer: Astana\n- regex: stan\n  replace: STAN\n")
    with editable(
        models("gpt2"), tokenizer, patches=tmp_path / "patches", audit=AuditConfig(path, **QUICK)
    ) as model:
        model.ask_many([CAPITAL, OTHER], max_new_tokens=12, key=["me", "you"])
        model.explain(CAPITAL)
        model.ask(CAPITAL, edits=False, max_new_tokens=2)
        model.shadow = True
        model.ask(CAPITAL, max_new_tokens=2)
    hit, miss, shadow = read(path)
    assert (hit.query, hit.route, hit.shadow) == (CAPITAL, "verbatim", False)
    assert hit.fired[0].location == f"{file}:1" and hit.fired[0].scope == CAPITAL
    assert hit.fired[0].content == hit.fired[0].id == model_id(CAPITAL, "Astana")
    assert hit.probability >= hit.threshold == pytest.approx(0.9) and hit.listed
    assert [one.location for one in hit.replaced] == [f"{file}:3"]
    assert hit.conversation == Conversation.of("me").digest
    assert 0 < hit.decision_ms < hit.total_ms
    assert hit.gate.startswith("CosineGate") and len(hit.model) == 16 and len(hit.patches) == 16
    assert miss.route == "base" and not miss.fired and miss.probability is None
    assert miss.runner_up == hit.fired[0] and miss.runner_up_probability < miss.runner_up_threshold
    assert shadow.shadow and shadow.route == "verbatim" and shadow.fired == hit.fired


def model_id(question, answer):
    return Fact(question, answer).id


def test_what_a_rollout_withholds_is_logged(models, tokenizer, tmp_path):
    path = tmp_path / "log.sqlite3"
    with editable(models("gpt2"), tokenizer, Fact(CAPITAL, "Astana", rollout=0.0),
                  audit=AuditConfig(path, **QUICK)) as model:  # fmt: skip
        model.ask(CAPITAL, max_new_tokens=2)
    (logged,) = read(path)
    assert logged.route == "base" and [one.scope for one in logged.withheld] == [CAPITAL]


def test_the_fingerprint_of_patches_covers_what_decides():
    one = Fact("q", "a")
    assert patches_fingerprint([one]) == patches_fingerprint([Fact("q", "a", source="x")])
    for other in (
        Fact("q", "b"),
        Fact("q", "a", tests=PatchTests(silent=("x",))),
        Fact("q", "a", priority=1),
        Fact("q", "a", rollout=0.5),
        Fact("q", "a", subject="s", aliases=("t",)),
        RegexPatch("q", "a"),
    ):
        assert patches_fingerprint([one]) != patches_fingerprint([other])
    assert patches_fingerprint([one, other]) == patches_fingerprint([other, one])


def test_hashed_queries_can_be_counted_and_not_read(writer, tmp_path):
    one = writer(queries="hash")
    for query in ("secret one", "secret one", "secret two"):
        one.record(call(query))
    assert one.flush()
    rows = read(tmp_path / "log.sqlite3")
    assert len({row.query for row in rows}) == 2 == len({row.conversation for row in rows})
    for file in tmp_path.iterdir():
        assert b"secret" not in file.read_bytes()
    other = writer("other.sqlite3", queries="hash")
    other.record(call("secret one"))
    assert other.flush()
    assert read(tmp_path / "other.sqlite3")[0].query not in {row.query for row in rows}, "salted"
    with pytest.raises(StoreError, match="queries as text, found one that keeps them as hash"):
        AuditDatabase(AuditConfig(tmp_path / "log.sqlite3")).prepare()
    with AuditLog(tmp_path / "log.sqlite3") as log, pytest.raises(StoreError, match="hashes"):
        log.require_text()


# -- reading ---------------------------------------------------------------------------------


def logged(query, at, patch=None, probability=None, runner_up=None, near=None, route="base"):
    return LoggedDecision(
        at, query, route, fired=() if patch is None else (patch,), probability=probability,
        threshold=None if patch is None else 0.5, runner_up=runner_up, runner_up_probability=near,
        runner_up_threshold=None if runner_up is None else 0.5,
    )  # fmt: skip


def test_filters_choose_by_time_patch_route_and_probability(tmp_path):
    path = tmp_path / "log.sqlite3"
    zoo = LoggedPatch("fact-1", "fact", "patches/zoo.yaml:3", "zebra?")
    odd = LoggedPatch("fact-2", "fact", "patches/my_zoo.yaml:30", "other?")
    database = AuditDatabase(AuditConfig(path, retention_days=None))
    database.write(
        [
            logged("a", 10, zoo, 0.9, route="verbatim"),
            logged("b", 20, runner_up=zoo, near=0.4),
            logged("c", 30, odd, 0.6, route="reason"),
        ]
    )
    database.close()

    def chosen(**wanted):
        return "".join(row.query for row in read(path, LogFilter(**wanted)))

    assert chosen() == "abc" and chosen(since=20) == "bc" and chosen(until=20) == "a"
    assert chosen(route="reason") == "c" and chosen(min_probability=0.6) == "ac"
    assert chosen(max_probability=0.5) == "b" and chosen(since=10, max_probability=0.6) == "bc"
    for name in ("fact-1", "patches/zoo.yaml:3", "zoo.yaml:3", "zoo.yaml", "patches/zoo.yaml"):
        assert chosen(patch=name) == "ab", name
    assert chosen(patch="zoo.yaml:30") == "" == chosen(patch="my%zoo.yaml")
    assert [row.query for row in read(path, last=2)] == ["b", "c"]
    with AuditLog(path) as log:
        assert log.count() == 3 and log.count(LogFilter(patch="zoo.yaml")) == 2


def test_what_is_no_log_is_a_clear_error(tmp_path):
    with pytest.raises(StoreError, match="no file"):
        AuditLog(tmp_path / "none")
    (tmp_path / "text").write_text("not a database, but long enough to be looked at twice" * 30)
    with pytest.raises(StoreError, match="cannot be used"):
        AuditLog(tmp_path / "text")
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    for use in (AuditLog, lambda path: AuditDatabase(AuditConfig(path)).prepare()):
        with pytest.raises(StoreError, match="another SQLite file"):
            use(tmp_path / "other")
    with pytest.raises(ErrataError, match='queries="text" or "hash"'):
        AuditConfig("x", queries="none")
    with pytest.raises(ErrataError, match="above 0"):
        AuditConfig("x", max_megabytes=0)


# -- limits ----------------------------------------------------------------------------------


def test_old_decisions_are_deleted(tmp_path):
    database = AuditDatabase(AuditConfig(tmp_path / "log", retention_days=1))
    now = time.time()
    database.write([logged("old", now - 90_000), logged("new", now - 80_000)])
    database.close()
    assert [row.query for row in read(tmp_path / "log")] == ["new"]


def test_the_oldest_go_where_the_file_would_be_too_large(tmp_path):
    path = tmp_path / "log"
    database = AuditDatabase(AuditConfig(path, max_megabytes=0.5))
    for part in range(6):
        database.write([logged(f"{part} {n} {'x' * 500}", time.time()) for n in range(1000)])
    database.close()
    assert path.stat().st_size < 0.6 * 2**20
    rows = read(path)
    assert 100 < len(rows) < 1500 and rows[-1].query.startswith("5 999 "), "the newest are kept"


# -- no query notices ------------------------------------------------------------------------


def test_a_full_queue_loses_decisions_and_says_so_once(writer, monkeypatch, caplog):
    held, entered = threading.Event(), threading.Event()

    def slow(self, decisions):
        list(decisions)
        entered.set()
        held.wait(20)

    monkeypatch.setattr(AuditDatabase, "write", slow)
    one = writer(queue=2)
    one.record(call("first"))
    assert entered.wait(20)
    for n in range(5):
        one.record(call(f"more {n}"))
    assert one.dropped == 3 and not caplog.records, "a query writes no log line"
    held.set()
    assert one.flush() and one.written == 3
    assert len(caplog.records) == 1 and "queue" in caplog.text


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("database or disk is full"), OSError(errno.ENOSPC, "full")]
)
def test_a_full_disk_is_counted_and_reported_once(error, writer, monkeypatch, caplog, tmp_path):
    one = writer()
    write = AuditDatabase.write
    monkeypatch.setattr(AuditDatabase, "write", lambda self, d: (_ for _ in ()).throw(error))
    for n in range(3):
        one.record(call(f"lost {n}"))
        assert one.flush()
    assert one.dropped == 3 and len(caplog.records) == 1 and "full" in caplog.text
    monkeypatch.setattr(AuditDatabase, "write", write)
    one.record(call("kept"))
    assert one.flush() and one.written == 1
    assert [row.query for row in read(tmp_path / "log.sqlite3")] == ["kept"]


def test_a_locked_file_is_waited_for_and_then_given_up(writer, caplog, tmp_path):
    one = writer()
    other = sqlite3.connect(tmp_path / "log.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    one.record(call("lost"))
    assert one.flush() and one.dropped == 1 and "locked" in caplog.text
    other.execute("ROLLBACK")
    other.close()
    one.record(call("kept"))
    assert one.flush() and [row.query for row in read(tmp_path / "log.sqlite3")] == ["kept"]


def test_a_deleted_log_is_begun_again(writer, caplog, tmp_path):
    one = writer()
    one.record(call("gone"))
    assert one.flush()
    for file in tmp_path.iterdir():
        file.unlink()
    one.record(call("kept"))
    assert one.flush() and one.dropped == 0 and "begun again" in caplog.text
    assert [row.query for row in read(tmp_path / "log.sqlite3")] == ["kept"]


def test_a_deleted_folder_is_counted(tmp_path, caplog):
    folder = tmp_path / "folder"
    one = AuditWriter(AuditConfig(folder / "log", **QUICK), "gate", "model")
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    one.record(call("lost"))
    assert one.flush() and one.dropped == 1 and not folder.exists()
    folder.mkdir()
    one.record(call("kept"))
    assert one.flush() and one.written == 1
    one.close()


def test_nothing_that_is_recorded_fails_a_query(writer, caplog):
    one = writer()
    one.record(call("\ud800 half a character"))
    broken = call("broken")
    object.__setattr__(broken, "trace", Trace((Decision("a"), Decision("b"), Decision("c"))))
    one.record(broken)
    one.record(call("fine"))
    assert one.flush() and one.written == 2 and one.dropped >= 1


def test_closing_writes_what_is_waiting(writer, tmp_path):
    one = writer(flush_seconds=60.0)
    for n in range(20):
        one.record(call(f"query {n}"))
    one.close()
    assert len(read(tmp_path / "log.sqlite3")) == 20
    one.record(call("late"))
    assert one.dropped == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_writes_by_a_thread_of_its_own(writer, tmp_path):
    one = writer()
    one.record(call("parent"))
    assert one.flush()
    child = os.fork()
    if child == 0:
        try:
            one.record(call("child"))
            os._exit(0 if one.flush(20) and one.written == 1 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert {row.query for row in read(tmp_path / "log.sqlite3")} == {"parent", "child"}


def test_two_processes_may_write_one_log(writer, tmp_path):
    one, two = writer(busy_seconds=20.0), writer(busy_seconds=20.0)
    for n in range(30):
        one.record(call(f"one {n}"))
        two.record(call(f"two {n}"))
    assert one.flush() and two.flush() and one.dropped == two.dropped == 0
    assert len(read(Path(tmp_path / "log.sqlite3"))) == 60


def test_a_model_without_a_log_has_no_writer(models, tokenizer):
    assert editable(models("gpt2"), tokenizer, FACT).audit is None


def test_the_writer_lets_queries_have_the_interpreter(writer, monkeypatch):
    slept = []
    monkeypatch.setattr("errata.audit.writer.time.sleep", slept.append)
    one = writer()
    one.record(call(*(f"query {n}" for n in range(50))))
    assert one.flush() and one.written == 50 and len(slept) >= 12


# -- PostgreSQL ------------------------------------------------------------------------------


def test_two_processes_log_into_one_database(models, tokenizer, postgres_url):
    config = AuditConfig(postgres_url, **QUICK)
    for _ in range(2):
        with editable(models("gpt2"), tokenizer, audit=config) as model:
            model.ask(OTHER, max_new_tokens=2)
            assert model.audit.flush() and model.audit.written == 1
    with open_log(postgres_url) as log:
        assert [one.query for one in log.read()] == [OTHER, OTHER]


def test_a_database_that_is_gone_costs_no_query_and_shows_no_password(
    postgres_server, postgres_url, caplog
):
    config = AuditConfig(postgres_url.replace("postgres@", "postgres:s3cr3t@"), **QUICK)
    writer = AuditWriter(config, "gate", "model")
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP TABLE errata_decisions")
    writer.record(call("a", "b"))
    assert writer.flush() and (writer.written, writer.dropped) == (0, 2)
    writer.close()
    assert "decisions are not logged" in caplog.text
    assert "s3cr3t" not in caplog.text + repr(config)
