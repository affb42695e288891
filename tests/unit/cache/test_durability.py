"""The edit cache on disk: kills, other processes, damage, other encoders."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from errata.cache.encoder import encode_query
from errata.cache.errors import IndexMismatchError, StoreError, UnknownEdit
from errata.cache.records import Fact, LanguagePatch, RegexPatch
from errata.cache.segment_config import SegmentConfig
from errata.cache.segment_view import SegmentedEdits
from errata.cache.storage import database
from errata.cache.store import EditCache
from tests.fakes import StubEncoder

ROOT = Path(__file__).parents[3]
KILLS = int(os.environ.get("ERRATA_KILLS", "12"))
ZEBRA = Fact("What colour is a zebra's skin?", "black", tags=("animals",), priority=2)
EDITS = (
    ZEBRA,
    LanguagePatch("the user asks who made you", "say hello"),
    RegexPatch("Swaziland", "Eswatini"),
    Fact("斑马？", "黑色", id="chinese"),
)

EDITING = """
import sys
from errata.cache.records import Fact, PatchTests
from errata.cache.segment_config import SegmentConfig
from errata.cache.store import EditCache
from tests.fakes import StubEncoder
def say(*words):
    print(*words, flush=True)
say("ready")
prefix = sys.argv[2]
cache = EditCache(StubEncoder(), sys.argv[1], segment=SegmentConfig(int(sys.argv[4]), recent=3))
say("open")
for number in range(int(sys.argv[3])):
    ids = [f"{prefix}-{number}-{part}" for part in range(1 + number % 3)]
    tests = {i: PatchTests((f"zzz zzz {i}",), (f"qqq qqq {i}",)) for i in ids}
    cache.add([Fact(f"What is {i}?", f"answer {i}", id=i, tests=tests[i]) for i in ids])
    say("added", *ids)
    if number % 4 == 3:
        say("retracting", ids[0])
        cache.retract(ids[0])
        say("retracted", ids[0])
cache.close()
say("closed")
"""


def start(
    folder: Path, prefix: str, count: int, on_disk_from: int = 10_000
) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-c", EDITING, str(folder), prefix, str(count), str(on_disk_from)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def acknowledged(output: str) -> tuple[set[str], set[str]]:
    """The ids that must be there, and those that must not."""
    there: set[str] = set()
    gone: set[str] = set()
    for line in output.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        word, *ids = line.split()
        if word == "added":
            there.update(ids)
        elif word == "retracting":
            there.difference_update(ids)
        elif word == "retracted":
            gone.update(ids)
    return there, gone


@pytest.mark.timeout(120 + 15 * KILLS)
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("on_disk_from", [10_000, 6], ids=["in memory", "on disk"])
def test_every_acknowledged_edit_survives_a_kill(tmp_path: Path, on_disk_from: int) -> None:
    config = SegmentConfig(on_disk_from, recent=3)
    folder = tmp_path / "cache"
    chance = random.Random(7)
    there: set[str] = set()
    gone: set[str] = set()
    interrupted = 0
    for kill in range(max(1, KILLS // 2)):
        with start(folder, f"k{kill}", 10_000, on_disk_from) as process:
            assert process.stdout is not None
            ready = process.stdout.readline()
            if kill % 2:  # on a busy machine, opening alone takes longer than the time below
                assert process.stdout.readline() == "open\n"
            time.sleep(chance.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)
            output, _ = process.communicate()
        assert ready == "ready\n"
        assert process.returncode == -signal.SIGKILL
        there_now, gone_now = acknowledged(output)
        interrupted += bool(there_now)
        there |= there_now
        gone |= gone_now
        with EditCache(StubEncoder(), folder, segment=config) as cache:
            view = cache.view()
            assert there <= set(view.by_id)
            assert not gone & set(view.by_id)
            assert all(view.by_id[i].answer == f"answer {i}" for i in there)  # type: ignore[attr-defined]
            assert all(view.by_id[i].tests.fires == (f"zzz zzz {i}",) for i in there)
    # Otherwise every kill came before the first edit and nothing was shown.
    assert interrupted
    if there:
        some = sorted(there)[0]
        with EditCache(StubEncoder(), folder, segment=config) as cache:
            assert on_disk_from > 6 or isinstance(cache.edits, SegmentedEdits)
            for text in (f"What is {some}?", f"zzz zzz {some}!"):
                hit = cache.view().search([encode_query(StubEncoder(), text)], 1)[0][0]
                assert hit.edit.id == some
            assert hit.edit.counterexamples == (f"qqq qqq {some}",)
            assert {text for text, _ in hit.examples} == set(hit.edit.examples)


def test_two_processes_write_at_once_and_a_third_sees_it(tmp_path: Path) -> None:
    with EditCache(StubEncoder(), tmp_path) as cache:
        cache.add([ZEBRA])
        view = cache.view()
        processes = [start(tmp_path, prefix, 20) for prefix in ("a", "b")]
        outputs = [process.communicate()[0] for process in processes]
        there = {"a": set[str](), "b": set[str]()}
        for prefix, output in zip("ab", outputs, strict=True):
            assert output.endswith("closed\n")
            there[prefix], gone = acknowledged(output)
            assert len(there[prefix]) == 34
            assert not gone & set(cache.view().by_id)
        assert set(cache.view().by_id) == {ZEBRA.id, *there["a"], *there["b"]}
        assert set(view.by_id) == {ZEBRA.id}
        hit = cache.view().search([encode_query(StubEncoder(), "What is b-2-1?")], 1)[0][0]
        assert hit.edit.id == "b-2-1"


def test_two_caches_over_one_folder_agree(tmp_path: Path) -> None:
    with EditCache(StubEncoder(), tmp_path) as one, EditCache(StubEncoder(), tmp_path) as two:
        one.add([ZEBRA])
        assert two.edits == (ZEBRA,)
        assert two.encoder.calls == 0  # type: ignore[attr-defined]
        generation = two.generation
        two.retract(ZEBRA.id)
        assert two.generation > generation
        with pytest.raises(UnknownEdit):
            one.retract(ZEBRA.id)
        assert one.edits == ()
        two.add(EDITS)
        one.add([Fact("late", "x")])
        assert one.edits == two.edits == (*EDITS, Fact("late", "x"))


def test_everything_comes_back_in_order_and_nothing_is_encoded_again(tmp_path: Path) -> None:
    with EditCache(StubEncoder(), tmp_path / "deep" / "cache") as cache:
        cache.add(EDITS)
        generation = cache.generation
    encoder = StubEncoder()
    with EditCache(encoder, tmp_path / "deep" / "cache") as cache:
        assert cache.edits == EDITS
        assert cache.generation == generation
        cache.set_files([Fact(ZEBRA.question, "white", id="filed")])
        assert encoder.calls == 0


def filled(folder: Path) -> Path:
    with EditCache(StubEncoder(), folder) as cache:
        cache.add(EDITS)
        cache.view()
    return folder


HARMS = ["missing", "garbage", "cut", "flipped", "empty", "folder"]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("derived", ["encodings.sqlite3", "index-*.faiss", "index-*.faiss.json"])
def test_damage_of_what_is_derived_only_costs_time(
    tmp_path: Path, derived: str, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = filled(tmp_path / "cache")
    (file,) = folder.glob(derived)
    data = bytearray(file.read_bytes())
    if harm in ("missing", "folder"):
        file.unlink()
        if harm == "folder":
            file.mkdir()
    elif harm == "flipped":
        for place in range(len(data) // 4, len(data), max(1, len(data) // 50)):
            data[place] ^= 0x55
        file.write_bytes(data)
    else:
        damaged = {"garbage": b"nonsense" * 500, "cut": bytes(data[: len(data) // 2]), "empty": b""}
        file.write_bytes(damaged[harm])
    for _ in range(2):
        encoder = StubEncoder()
        with EditCache(encoder, folder) as cache:
            assert cache.edits == EDITS
            query = encode_query(encoder, "what colour is a zebra's skin")
            hits = cache.view().search([query], 2)[0]
            assert hits[0].edit == ZEBRA
            assert hits[0].score == 1.0
            cache.add([Fact("still", "works")])
            cache.retract(Fact("still", "works").id)
    if harm != "folder" and derived == "encodings.sqlite3":
        encoder = StubEncoder()
        with EditCache(encoder, folder) as cache:
            cache.view()
            assert encoder.calls == 0


@pytest.mark.parametrize("harm", ["garbage", "cut", "page", "no table", "body", "foreign kind"])
def test_damaged_edits_are_an_error_that_names_the_file_and_deletes_nothing(
    tmp_path: Path, harm: str
) -> None:
    folder = filled(tmp_path / "cache")
    file = folder / "edits.sqlite3"
    with EditCache(StubEncoder(), folder) as cache:
        cache.add(Fact(f"question {n} {'x' * 300}", "y") for n in range(100))
    data = file.read_bytes()
    if harm == "garbage":
        file.write_bytes(b"nonsense" * 1000)
    elif harm == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif harm == "page":
        file.write_bytes(data[:4096] + os.urandom(len(data) - 4096))
    else:
        statements = {
            "no table": "DROP TABLE edits",
            "body": 'UPDATE edits SET body = \'{"question": "a"\' WHERE position = 2',
            "foreign kind": 'UPDATE edits SET body = \'{"poem": "a"}\' WHERE position = 2',
        }
        connection = sqlite3.connect(file)
        with connection:
            connection.execute(statements[harm])
        connection.close()
    harmed = file.read_bytes()
    with pytest.raises(StoreError, match=r"edits\.sqlite3: ") as caught:
        EditCache(StubEncoder(), folder)
    assert "restore" in str(caught.value) or "check that" in str(caught.value)
    assert file.read_bytes() == harmed


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    file = filled(tmp_path) / "edits.sqlite3"
    connection = sqlite3.connect(file)
    connection.execute(f"PRAGMA user_version = {database.SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match=r"expected schema 2 or older, found 3: .*upgrade errata"):
        EditCache(StubEncoder(), tmp_path)


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "edits.sqlite3")
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="another program's SQLite file"):
        EditCache(StubEncoder(), tmp_path)


def test_a_path_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"edits\.sqlite3: cannot be opened"):
        EditCache(StubEncoder(), tmp_path / "file")


def test_another_encoder_is_refused_unless_reencoding_is_asked_for(tmp_path: Path) -> None:
    filled(tmp_path)
    other = StubEncoder(dimension=32, fingerprint="other-32")
    with pytest.raises(IndexMismatchError) as caught:
        EditCache(other, tmp_path)
    for part in ("stub-trigrams-64", "other-32", "reencode=True", "errata reindex"):
        assert part in str(caught.value)
    with EditCache(other, tmp_path, reencode=True) as cache:
        assert other.encoded == [edit.scope for edit in EDITS if edit.kind != "regex"]
        assert cache.edits == EDITS
        hit = cache.view().search([encode_query(other, ZEBRA.question)], 1)[0][0]
        assert hit.vector.shape == (32,)
    with pytest.raises(IndexMismatchError, match="other-32"):
        EditCache(StubEncoder(), tmp_path)
    with EditCache(other, tmp_path) as cache:
        assert cache.edits == EDITS


def test_an_empty_cache_takes_any_encoder(tmp_path: Path) -> None:
    EditCache(StubEncoder(), tmp_path).close()
    other = StubEncoder(dimension=32, fingerprint="other-32")
    with EditCache(other, tmp_path) as cache:
        cache.add([ZEBRA])
    with pytest.raises(IndexMismatchError):
        EditCache(StubEncoder(), tmp_path)


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    with EditCache(StubEncoder(), tmp_path) as cache:
        cache.add([ZEBRA])
        generation = cache.generation
        connection = cache._database._connection()  # type: ignore[union-attr]
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        big = Fact("big", "x" * 100_000)
        with pytest.raises(StoreError, match=r"cannot be written .*full.*nothing was changed"):
            cache.add([big])
        assert cache.edits == (ZEBRA,)
        assert cache.generation == generation
        connection.execute("PRAGMA max_page_count = 100000")
        cache.add([big])
        assert cache.edits == (ZEBRA, big)
    with EditCache(StubEncoder(), tmp_path) as cache:
        assert cache.edits == (ZEBRA, big)


def test_a_locked_file_is_waited_for_and_then_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    with EditCache(StubEncoder(), tmp_path) as cache:
        other = sqlite3.connect(tmp_path / "edits.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            cache.add([ZEBRA])
        assert cache.edits == ()
        other.execute("ROLLBACK")
        other.close()
        cache.add([ZEBRA])
        assert cache.edits == (ZEBRA,)


def test_the_last_good_state_answers_when_the_file_breaks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with EditCache(StubEncoder(), tmp_path) as cache:
        cache.add(EDITS)
        with EditCache(StubEncoder(), tmp_path) as other:
            other.add([Fact("late", "x")])
        connection = sqlite3.connect(tmp_path / "edits.sqlite3")
        with connection:
            connection.execute("UPDATE edits SET body = 'x' WHERE position = 5")
        connection.close()
        with caplog.at_level(logging.WARNING):
            assert cache.edits == EDITS
            assert cache.edits == EDITS
        assert caplog.text.count("the last good state stays in force") == 1
        with pytest.raises(StoreError, match="cannot be read"):
            cache.refresh()


def test_a_copied_folder_opens(tmp_path: Path) -> None:
    shutil.copytree(filled(tmp_path / "one"), tmp_path / "two")
    with EditCache(StubEncoder(), tmp_path / "two") as cache:
        assert cache.edits == EDITS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_opens_its_own_connection(tmp_path: Path) -> None:
    with EditCache(StubEncoder(), tmp_path) as cache:
        cache.add([ZEBRA])
        child = os.fork()
        if child == 0:
            status = 1
            try:
                cache.add([Fact("from the child", "x")])
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert [edit.scope for edit in cache.edits] == [ZEBRA.scope, "from the child"]
