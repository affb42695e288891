"""What every audit log has to do: SQLite's file, and PostgreSQL."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from errata.audit.config import AuditConfig
from errata.audit.log import LogFilter
from errata.audit.opening import audit_database, open_log
from errata.audit.records import LoggedDecision, LoggedPatch
from errata.cache.errors import StoreError

NOW = 1_800_000_000.0
ONE = LoggedPatch("one", "fact", "patches/a.yaml:3", "Who?", "c1")
TWO = LoggedPatch("two", "fact", "patches/a.yaml:12", "Where?", "c2")
MADE = LoggedPatch("f-123", "fact", "", "When?\0\ud800?")
HIT = LoggedDecision(
    NOW, "Who?", "verbatim", (ONE, MADE), 0.9, 0.5, True, TWO, 0.4, 0.5, 1, "Who is it?", "c0ffee",
    (TWO,), (MADE,), True, 1.25, 2.5, "gate", "model", "patches",
)  # fmt: skip
MISS = LoggedDecision(NOW + 60, "Where?", "base", runner_up=TWO, runner_up_probability=0.3)
PLAIN = LoggedDecision(NOW + 120, "斑马?", "base")
STRANGE = LoggedDecision(NOW + 180, "half \ud800 and \0", "base", (MADE,))


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return str(tmp_path / "log.sqlite3")


def write(place: str, *decisions: LoggedDecision, **options: object) -> None:
    writer = audit_database(AuditConfig(place, **{"retention_days": None, **options}))  # type: ignore[arg-type]
    writer.prepare()
    writer.write(decisions)
    writer.close()


def test_what_is_written_is_read(place: str) -> None:
    hit = replace(HIT, fired=(ONE,), replaced=())
    write(place, hit, MISS)
    write(place, PLAIN)
    with open_log(place) as log:
        log.require_text()
        assert list(log.read()) == [hit, MISS, PLAIN] and log.count() == 3
        assert list(log.read(last=2)) == [MISS, PLAIN]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (LogFilter(), 3),
        (LogFilter(since=NOW + 60), 2),
        (LogFilter(until=NOW + 60), 1),
        (LogFilter(since=NOW + 1, until=NOW + 61), 1),
        (LogFilter(route="base"), 2),
        (LogFilter(min_probability=0.3), 2),
        (LogFilter(max_probability=0.3), 1),
        (LogFilter(patch="two"), 2),
        (LogFilter(patch="one"), 1),
        (LogFilter(patch="o_e"), 0),
        (LogFilter(patch="%"), 0),
        (LogFilter(patch="a.yaml"), 2),
        (LogFilter(patch="patches/a.yaml"), 2),
        (LogFilter(patch="a.yaml:3"), 1),
        (LogFilter(patch="yaml:3"), 0),
        (LogFilter(patch="two", route="base"), 1),
    ],
)
def test_filters_select(place: str, wanted: LogFilter, expected: int) -> None:
    write(place, HIT, MISS, PLAIN)
    with open_log(place) as log:
        assert log.count(wanted) == len(list(log.read(wanted))) == expected


def test_any_text_can_be_logged(place: str) -> None:
    write(place, STRANGE)
    with open_log(place) as log:
        (read,) = log.read()
    assert read.query.startswith("half ") and read.fired[0].scope.startswith("When?")


def test_hashes_hide_queries_and_are_of_the_log(place: str) -> None:
    write(place, HIT, HIT, MISS, queries="hash")
    with open_log(place) as log:
        one, again, other = log.read()
        assert one.query == again.query != other.query and "Who" not in one.query
        assert one.effective_query is None and one.conversation != HIT.conversation
        with pytest.raises(StoreError, match="hashes"):
            log.require_text()
    with pytest.raises(StoreError, match="expected a log that keeps queries as text"):
        write(place, HIT)


def test_old_decisions_are_deleted(place: str) -> None:
    write(place, replace(HIT, time=time.time() - 3 * 86400), replace(MISS, time=time.time()))
    write(place, replace(PLAIN, time=time.time()), retention_days=1)
    with open_log(place) as log:
        assert [one.query for one in log.read()] == ["Where?", "斑马?"]


def test_a_place_without_a_log_is_an_error(place: str) -> None:
    with pytest.raises(StoreError, match="expected an audit log"):
        open_log(place)
