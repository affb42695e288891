"""Changes of patch files: planned, shown as diffs, written, and everything else as it was typed."""

from __future__ import annotations

import subprocess

import pytest

from errata.cache.errors import PatchError, PatchFolderError
from errata.cache.patches.file_change import added, removed, replaced
from errata.cache.patches.files import load_file
from errata.cache.records import Fact

YAML = """\
# of the zoo
- question: What colour is a zebra's skin?   # asked often
  answer: black
  tests:
    fires:
      - Tell me a zebra's skin colour.

# about places
- question: What is the capital of Kazakhstan?
  answer: |
    Astana
- regex: '\\bSwaziland\\b'
  replace: Eswatini
"""
NEW = Fact("Who leads Lima?", "Ana")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "facts.yaml"
    path.write_text(YAML)
    return path


def test_a_patch_is_added_behind_the_others(file):
    change = added([NEW], file)
    assert file.read_text() == YAML, "nothing is written yet"
    change.write()
    assert file.read_text() == YAML + "\n- question: Who leads Lima?\n  answer: Ana\n"
    other = file.parent / "new.jsonl"
    added([Fact("a", "b")], other).write()
    assert load_file(other) == (Fact("a", "b"),)


def test_a_patch_is_removed_with_its_lines_and_nothing_else(file):
    _, capital, pattern = load_file(file)
    removed(capital).write()
    lines = YAML.splitlines(keepends=True)
    assert file.read_text() == "".join([*lines[:8], *lines[11:]])
    removed(load_file(file)[0]).write()
    assert load_file(file) == (pattern,) and "# about places" in file.read_text()
    removed(load_file(file)[0]).write()
    assert load_file(file) == ()


def test_a_patch_is_replaced_in_its_place(file):
    zebra, capital, pattern = load_file(file)
    new = Fact(zebra.question, "pink", tests=zebra.tests)
    replaced(zebra, new).write()
    assert load_file(file) == (new, capital, pattern)
    assert file.read_text().endswith(YAML[YAML.index("\n# about places") :])


def test_the_diff_is_one_that_git_applies(file):
    capital = load_file(file)[1]
    change = replaced(capital, Fact(capital.question, "Akmola"))
    text = change.diff()
    assert "-    Astana" in text and "+  answer: Akmola" in text
    subprocess.run(
        ["git", "apply", f"-p{len(file.parent.parts)}", "--include=*"],
        input=text, text=True, check=True, cwd=file.parent,
    )  # fmt: skip
    assert file.read_bytes() == change.after


def test_json_lines_and_line_ends_stay(tmp_path):
    file = tmp_path / "facts.jsonl"
    file.write_bytes(b'{"question":"a","answer":"1"}\r\n{"question":"b","answer":"2"}\r\n')
    replaced(load_file(file)[1], Fact("b", "3")).write()
    assert file.read_bytes() == (
        b'{"question":"a","answer":"1"}\r\n{"question": "b", "answer": "3"}\r\n'
    )
    removed(load_file(file)[0]).write()
    assert load_file(file) == (Fact("b", "3"),)


def test_what_cannot_be_changed_is_refused_and_nothing_written(file):
    zebra = load_file(file)[0]
    other = file.parent / "other.yaml"
    other.write_text(
        "- {question: a, answer: b, supersedes: [zebra]}\n- {question: c, answer: d}\n"
    )
    with pytest.raises(PatchFolderError):
        file.write_text("- question: [")
        removed(zebra)
    file.write_text(YAML.replace("  answer: black", "  id: zebra\n  answer: black"))
    with pytest.raises(PatchError, match="supersedes"):
        removed(load_file(file)[0])
    with pytest.raises(PatchError, match=r"other\.yaml:2"):
        added([Fact("c", "d")], file)
    with pytest.raises(PatchError, match="no file"):
        removed(NEW)
    flow = file.parent / "flow.yaml"
    flow.write_text("[{question: x, answer: y}, {question: v, answer: w}]\n")
    with pytest.raises(PatchError, match="by hand"):
        removed(load_file(flow)[0])
    change = added([NEW], file)
    file.write_text(YAML + "# meanwhile\n")
    with pytest.raises(PatchError, match="meanwhile"):
        change.write()
    assert file.read_text() == YAML + "# meanwhile\n"
