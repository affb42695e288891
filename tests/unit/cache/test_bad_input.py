"""What no file or folder may do: hang, fill the memory, flood the screen or lose an edit."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from errata.cache.errors import PatchFolderError, StoreError
from errata.cache.patches import files
from errata.cache.patches.files import dump_file, load_file, load_folder
from errata.cache.records import Fact
from errata.cache.storage import database
from errata.cache.store import EditCache
from tests.fakes import StubEncoder

FACT = Fact("What is the capital of Palau?", "Ngerulmud")


def refused(folder: Path) -> PatchFolderError:
    with pytest.raises(PatchFolderError) as caught:
        load_folder(folder)
    return caught.value


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["x.yaml", "x.jsonl"])
def test_a_pipe_or_a_device_is_no_patch_file(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    (tmp_path / f"zero{name}").symlink_to("/dev/zero")
    found = refused(tmp_path)
    assert len(found.problems) == 2
    for problem in found.problems:
        assert "cannot be read (a pipe, a device or a socket, no file)" in str(problem)


def test_a_line_with_very_many_duplicate_keys(tmp_path: Path) -> None:
    pairs = ", ".join(f'"k{n}": "v", "k{n}": "v"' for n in range(20_000))
    (tmp_path / "a.jsonl").write_text(f"{{{pairs}}}\n")
    assert str(refused(tmp_path)).endswith("a.jsonl:1: the key 'k0' appears twice in one patch: "
                                           "keep one")  # fmt: skip


def test_very_many_unknown_keys_are_counted(tmp_path: Path) -> None:
    keys = ", ".join(f"k{n}: v" for n in range(20_000))
    (tmp_path / "a.yaml").write_text(f"- {{question: q, answer: a, {keys}}}\n")
    found = refused(tmp_path)
    assert len(found.problems) == 11 and "and 19,990 more unknown keys" in str(found)
    (tmp_path / "a.yaml").write_text(f"- {{{keys}}}\n")
    assert "k9 and 19,990 more" in str(refused(tmp_path))


def test_thousands_of_unknown_supersedes(tmp_path: Path) -> None:
    lines = [
        json.dumps({"question": f"q {n}", "answer": "a", "supersedes": f"fact-{n}"})
        for n in range(3000)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    found = refused(tmp_path)
    assert len(found.problems) == files.PROBLEMS_LISTED
    assert found.unlisted == 3000 - files.PROBLEMS_LISTED
    assert str(found).endswith("and 2,900 more problems: mend these first")


def test_a_file_that_was_read_whole_is_not_said_to_be_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PROBLEMS_COUNTED", 200)
    lines = [
        json.dumps({"question": f"q {n}", "answer": "a", "supersedes": f"fact-{n}"})
        for n in range(300)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    found = refused(tmp_path)
    assert found.unlisted == 300 - files.PROBLEMS_LISTED and "not read" not in str(found)


@pytest.mark.parametrize(
    "text",
    [
        "- regex: '" + "a|" * 5000 + "(?=b)'\n  replace: c\n",
        "- !" + "a" * 5000 + " x\n",
        "".join(
            f"- {{question: q {n}, answer: a, id: i{n}, supersedes: i{(n + 1) % 300}}}\n"
            for n in range(300)
        ),
    ],
    ids=["pattern", "tag", "circle"],
)
def test_a_message_has_no_length_of_the_files_choosing(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    (problem,) = refused(tmp_path).problems
    assert 1000 < len(problem.message) < 2100 and str(problem).startswith(f"{tmp_path}/a.yaml:1: ")
    assert problem.message.endswith(("keep one", "'\\1EUR'", "begins so"))  # what to do


@pytest.mark.parametrize("line", ["not json", '{"qestion": "a"}'])
def test_a_file_of_bad_lines_is_capped_and_counted(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(f"{line}\n" * (files.PROBLEMS_COUNTED + 5000))
    (tmp_path / "b.yaml").write_text("- question: a\n  anwser: b\n")
    found = refused(tmp_path)
    assert len(str(found)) < 40_000
    assert len(found.problems) == files.PROBLEMS_LISTED
    assert "a.jsonl:1: 10,000 problems: the rest of the file was not read" in str(found)
    assert found.unlisted >= files.PROBLEMS_COUNTED - files.PROBLEMS_LISTED


def test_a_text_repeated_by_aliases_is_counted_by_its_characters(tmp_path: Path) -> None:
    text = "x" * 100_000
    aliases = "".join(f"- {{question: q{n}, answer: *t}}\n" for n in range(2000))
    (tmp_path / "a.yaml").write_text(f"- {{question: q, answer: &t {text}}}\n{aliases}")
    assert "aliases unfold to far more than the file holds" in str(refused(tmp_path))


def test_aliases_of_a_few_words_are_allowed(tmp_path: Path) -> None:
    aliases = "".join(f"- {{question: q{n}, answer: *t}}\n" for n in range(50))
    (tmp_path / "a.yaml").write_text(f"- {{question: q, answer: &t a few words}}\n{aliases}")
    assert len(load_folder(tmp_path)) == 51


def test_brackets_that_never_end(tmp_path: Path) -> None:
    for text in ("[" * 200_000, "- " * 100_000 + "x", "{a: " * 100_000):
        (tmp_path / "a.yaml").write_text(text)
        assert "deeper than 20" in str(refused(tmp_path))


@pytest.mark.parametrize("name", ["a.yaml", "a.jsonl"])
def test_spaces_survive_where_a_line_would_be_folded(tmp_path: Path, name: str) -> None:
    answer = " ".join(["word"] * 30) + "  two   three" + " word" * 40
    dump_file([Fact("q", answer)], tmp_path / name)
    assert load_file(tmp_path / name)[0].answer == answer  # type: ignore[attr-defined]


def test_both_parsers_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from errata.cache.patches import yaml

    text = (
        "# top\n- question: 'What is this: a test?'\n  answer: |\n    two\n    lines\n"
        "  tests: {fires: [yes, 'no', \"o\\u00e9\", =, <<], silent: [*x, 1.10]}\n"
        "- &x b\n- {if: c, then: !!str 007}\n- 'a \u2028 \x85b'\n"
    ).replace("*x", "0x1F")
    quick = yaml.read_yaml(text, "a.yaml")
    monkeypatch.setattr(yaml, "_events", yaml._slow_events)
    slow = yaml.read_yaml(text, "a.yaml")
    assert quick[0] == slow[0] and len(quick[0]) == 4
    assert [str(one) for one in quick[1]] == [str(one) for one in slow[1]]


def test_lines_are_those_of_an_editor(tmp_path: Path) -> None:
    text = "- question: 'a\u2028\u0085b\r'\n  answer: c\n- question: d\n  anwser: e\n"
    (tmp_path / "a.yaml").write_bytes(text.encode())
    assert str(refused(tmp_path)).startswith(f"{tmp_path}/a.yaml:4: unknown key")
    (tmp_path / "a.yaml").write_bytes((text + "- question: [\n").encode())
    assert str(refused(tmp_path)).startswith(f"{tmp_path}/a.yaml:6: not YAML")


# -- the cache's folder --------------------------------------------------------------------------


def test_an_emptied_database_beside_its_index_is_refused(tmp_path: Path) -> None:
    with EditCache(StubEncoder(), tmp_path) as cache:
        cache.add([FACT])
    (tmp_path / "edits.sqlite3").write_bytes(b"")
    with pytest.raises(StoreError, match=r"found an empty file beside .* restore the file"):
        EditCache(StubEncoder(), tmp_path)
    assert (tmp_path / "edits.sqlite3").read_bytes() == b""
    for other in tmp_path.glob("*[!3]"):
        other.unlink()
    (tmp_path / "encodings.sqlite3").unlink()
    with EditCache(StubEncoder(), tmp_path) as cache:  # a start that was interrupted
        assert cache.edits == ()


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be deleted")
@pytest.mark.parametrize("replaced", [False, True])
def test_no_edit_is_acknowledged_in_a_deleted_folder(tmp_path: Path, replaced: bool) -> None:
    folder = tmp_path / "cache"
    cache = EditCache(StubEncoder(), folder)
    cache.add([FACT])
    shutil.rmtree(folder)
    if replaced:
        EditCache(StubEncoder(), folder).close()
    with pytest.raises(StoreError, match="found it deleted or replaced"):
        cache.add([Fact("a", "b")])
    assert cache.edits == (FACT,), "what was read stays in force"
    with pytest.raises(StoreError, match="deleted or replaced"):
        cache.retract(FACT.id)
    cache.close()


def test_a_folder_deleted_while_an_edit_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EditCache(StubEncoder(), tmp_path / "cache")
    change = database.Database.change

    def deleting(*arguments: object, **more: object) -> int:
        shutil.rmtree(tmp_path / "cache")
        return change(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(database.Database, "change", deleting)
    with pytest.raises(StoreError, match="deleted or replaced"):
        cache.add([FACT])
    assert cache.edits == ()
    cache.close()


def test_a_cache_on_a_read_only_mount_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EditCache(StubEncoder(), tmp_path) as cache:
        cache.add([FACT])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "edits.sqlite3-wal" not in before
    # as root, only a mount refuses to be written to
    monkeypatch.setattr(database, "_writable", lambda path: False)
    with EditCache(StubEncoder(), tmp_path) as cache:
        assert cache.edits == (FACT,)
        with pytest.raises(StoreError, match="read-only; nothing was changed: copy the cache"):
            cache.add([Fact("a", "b")])
        cache.set_files([Fact("a", "b")])
        assert len(cache.edits) == 2
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.keys() == before.keys()
    assert after["edits.sqlite3"] == before["edits.sqlite3"]


@pytest.mark.parametrize(
    "change",
    ["id = 'fact-000000000000'", "body = replace(body, 'Ngerulmud', 'Koror')"],
)
def test_a_row_whose_id_is_not_its_contents(tmp_path: Path, change: str) -> None:
    with EditCache(StubEncoder(), tmp_path) as cache:
        cache.add([FACT, Fact("a", "b", id="named")])
    with sqlite3.connect(tmp_path / "edits.sqlite3") as connection:
        connection.execute(f"UPDATE edits SET {change} WHERE id = ?", [FACT.id])
    with pytest.raises(StoreError, match="expected content of that id, found that of 'fact-"):
        EditCache(StubEncoder(), tmp_path)
