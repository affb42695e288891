"""Patch files: what is read, what is refused, and where the fault is said to be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from errata.cache.errors import PatchError, PatchFolderError
from errata.cache.patches import files
from errata.cache.patches.files import dump_file, load_file, load_folder
from errata.cache.records import Fact, LanguagePatch, RegexPatch, SourceLocation

GOOD = """\
# corrections about animals
- question: What colour is a zebra's skin?
  answer: black
  tests:
    fires: [Tell me the skin colour of a zebra.]
    silent: [What do zebras eat?]

- if: the user asks who made you
  then: say that you were made by Example Labs

- regex: '\\bSwaziland\\b'
  replace: Eswatini
  in: output

- question: 斑马的皮肤是什么颜色的？
  answer: 黑色
"""


def refused(folder: Path) -> list[str]:
    """The messages a folder is refused with, the folder's name taken off."""
    with pytest.raises(PatchFolderError) as caught:
        load_folder(folder)
    assert caught.value.problems
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_a_folder_is_read_in_order_with_the_line_of_every_patch(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('\n{"question": "Who?", "answer": "I"}\n', encoding="utf-8")
    edits = load_folder(tmp_path)
    assert [(type(edit), edit.location and edit.location.line) for edit in edits] == [
        (Fact, 2),
        (Fact, 2),
        (LanguagePatch, 8),
        (RegexPatch, 11),
        (Fact, 15),
    ]
    assert edits[1].location == SourceLocation(str(tmp_path / "b.yaml"), 2)
    assert edits[1].tests.fires == ("Tell me the skin colour of a zebra.",)
    assert edits[4].scope == "斑马的皮肤是什么颜色的？"


def test_locations_are_named_as_the_person_named_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "a.yaml").write_text("- question: q\n  answer: a\n")
    monkeypatch.chdir(tmp_path)
    assert str(load_folder("patches/")[0].location) == "patches/a.yaml:1"


def test_scalars_stay_the_text_that_was_typed(tmp_path: Path) -> None:
    typed = ["1.10", "007", "no", "null", "~", "2027-01-01", "0x1F", "1e3", "True", "=", "12:30:00"]
    file = tmp_path / "a.yaml"
    file.write_text("".join(f"- question: q{n}\n  answer: {t}\n" for n, t in enumerate(typed)))
    assert [edit.answer for edit in load_file(file) if isinstance(edit, Fact)] == typed
    lines = ["1.10", "7e2", "true", "null", "NaN", '"007"']
    file = tmp_path / "a.jsonl"
    file.write_text(
        "".join(f'{{"question": "q{n}", "answer": {t}}}\n' for n, t in enumerate(lines))
    )
    answers = [edit.answer for edit in load_file(file) if isinstance(edit, Fact)]
    assert answers == ["1.10", "7e2", "true", "null", "NaN", "007"]


def test_what_is_no_patch_file_is_passed_over(tmp_path: Path) -> None:
    for name in ("_draft.yaml", ".hidden.yaml", "README.md", "notes.txt"):
        (tmp_path / name).write_text("- nonsense: [")
    (tmp_path / "sub.yaml").mkdir()
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "comment.yml").write_text("# nothing yet\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    assert load_folder(tmp_path) == ()


def test_windows_files_and_byte_order_marks(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()
    (tmp_path / "a.yaml").write_bytes(data)
    edits = load_folder(tmp_path)
    assert [edit.location and edit.location.line for edit in edits] == [2, 8, 11, 15]


def test_anchors_may_be_used_for_text(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "- question: &q What?\n  answer: x\n  tests: {fires: [*q]}\n- if: *q\n  then: say x\n"
    )
    edits = load_file(file)
    assert edits[0].tests.fires == ("What?",)
    assert edits[1].scope == "What?"


BAD_YAML = [
    ("- question: What is: this\n  answer: x\n", "a.yaml:1: an unquoted colon: put the text in"),
    ("- question: a\n\tanswer: x\n", "a.yaml:2: a tab where spaces are expected"),
    ("- question: *star\n  answer: x\n", "a.yaml:1: found undefined alias 'star': put"),
    ("- question: a\n  answer: @x\n", "a.yaml:2: .*put the text in quotes"),
    ("- question: a\n  answer: !!python/object:os.system x\n", "a.yaml:2: the tag .* not allowed"),
    ("- question: a\n  answer: !secret x\n", "a.yaml:2: the tag !secret is not allowed"),
    ("- question: a\n  answer: b\n---\n- x\n", "a.yaml:3: two documents"),
    ("question: a\nanswer: b\n", "a.yaml:1: a patch file is a list: begin each patch with '- '"),
    ("# x\njust text\n", "a.yaml:2: a patch file is a list"),
    ("- just text\n", "a.yaml:1: a patch is a mapping"),
    ("- question: a\n  tests: [x\n", "a.yaml:3: not YAML: .* began in line 2"),
    ("- question: 'a\n", "a.yaml:2: not YAML: .* began in line 1"),
    ("- question: a\n  answer: \x07\n", r"a.yaml:2: U\+0007 is no text"),
    ("- &a [*a]\n", "a.yaml:1: .*nested deeper than"),
    ("[" * 3000, "a.yaml:1: .*nested deeper than"),
    (
        "- question: a\n  answer: b\n  answer: c\n",
        "a.yaml:3: the key 'answer' appears twice.*line 2",
    ),
    ("- [a]: b\n", "a.yaml:1: a key must be a word"),
    ("- question: a\n\n  anwser: b\n", "a.yaml:3: unknown key 'anwser'.* did you mean 'answer'"),
    ("- answer: b\n  qestion: a\n", "a.yaml:2: .*did you mean 'question'"),
    ("- question:\n  answer: b\n", "a.yaml:1: question is empty"),
    ("- question: a\n  answer: b\n  until: soon\n", "a.yaml:3: until must be a date"),
    (
        "- question: a\n  answer: b\n  tests:\n    silent:\n      - c\n      - d: e\n",
        "a.yaml:6: tests.silent.2 must be text, found a mapping .an unquoted colon",
    ),
    ("- replace: b\n  regex: (?=a)b\n", "a.yaml:2: regex .*look-around is not supported"),
    ("- regex: a\n  replace: \\1\n", "a.yaml:2: replace names group 1"),
]


@pytest.mark.parametrize(("text", "message"), BAD_YAML, ids=[message for _, message in BAD_YAML])
def test_a_bad_yaml_file_says_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "good.yaml").write_text(GOOD, encoding="utf-8")
    found = refused(tmp_path)
    assert len(found) == 1
    assert re.match(message, found[0]), found[0]


BAD_JSON = [
    ('{"question": "a", "answer": 007}', "a.jsonl:1: not JSON at character"),
    ('\n\n{"question": "a"', "a.jsonl:3: not JSON"),
    ('{"question": "a", "question": "b"}', "a.jsonl:1: the key 'question' appears twice"),
    ("[" * 5000, "a.jsonl:1: nested too deep"),
    ('["a"]', "a.jsonl:1: a patch is a mapping"),
    ('{"question": "a", "answer": "\\ud800"}', "a.jsonl:1: answer holds half a character"),
    ('{"question": "a", "answer": ["b"]}', "a.jsonl:1: answer must be text, found a list"),
]


@pytest.mark.parametrize(("text", "message"), BAD_JSON, ids=[message for _, message in BAD_JSON])
def test_a_bad_json_line_says_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    found = refused(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(message), found[0]


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path: Path) -> None:
    lines = ["- &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"- &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "a.yaml").write_text("\n".join(lines))
    assert any("aliases unfold to far more" in problem for problem in refused(tmp_path))


def test_not_utf8_names_line_and_byte(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"- question: a\n  answer: caf\xe9\n")
    (tmp_path / "b.yaml").write_bytes("- question: a\n".encode("utf-16"))
    first, second = refused(tmp_path)
    assert first.startswith("a.yaml:2: not UTF-8: byte 0xe9 at offset 27: save")
    assert second.startswith("b.yaml:1: not UTF-8")


def test_every_problem_of_every_file_is_reported_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("- question: a\n  anwser: b\n- question: ''\n  answer: c\n")
    (tmp_path / "a.yaml").write_text("- question: What is: this\n")
    (tmp_path / "c.jsonl").write_text('{"if": "a"}\n')
    (tmp_path / "d.json").write_text("[]")
    found = refused(tmp_path)
    assert [problem.split(": ")[0] for problem in found] == [
        "a.yaml:1",
        "b.yaml:2",
        "b.yaml:3",
        "c.jsonl:1",
        "d.json:1",
    ]
    assert "rename it" in found[-1]


def test_duplicate_ids_name_both_places(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- question: a\n  answer: b\n- {if: c, then: d, id: one}\n")
    (tmp_path / "b.yaml").write_text("- {if: x, then: y, id: one}\n- question: a\n  answer: b\n")
    first, second = refused(tmp_path)
    assert (
        first == f"b.yaml:1: the id 'one' is taken by the patch at {tmp_path}/a.yaml:3: rename one"
    )
    assert second.startswith(f"b.yaml:2: the same patch is at {tmp_path}/a.yaml:1: delete")


def test_supersedes_must_name_a_patch_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "- {question: a, answer: b, id: capital-old}\n"
        "- {question: a, answer: c, supersedes: [capital-odl]}\n"
        "- {question: a, answer: d, supersedes: [capital-old]}\n"
    )
    (found,) = refused(tmp_path)
    assert found.startswith("a.yaml:2: supersedes names 'capital-odl'")
    assert "did you mean 'capital-old'" in found


def test_two_patches_cannot_supersede_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "- {question: a, answer: b, id: one, supersedes: two}\n"
        "- {question: a, answer: c, id: two, supersedes: one}\n"
    )
    (found,) = refused(tmp_path)
    assert "goes round in a circle" in found and "a.yaml:1" in found and "a.yaml:2" in found


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(PatchFolderError, match=r"nowhere: expected a folder .*create it"):
        load_folder(tmp_path / "nowhere")
    (tmp_path / "a.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(PatchFolderError, match="found a file"):
        load_folder(tmp_path / "a.yaml")
    with pytest.raises(PatchFolderError, match=r"none\.yaml:1: cannot be read"):
        load_file(tmp_path / "none.yaml")


def test_a_file_too_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "YAML_LIMIT", 2**20)
    (tmp_path / "a.yaml").write_text("- question: " + "a" * 2**20)
    (found,) = refused(tmp_path)
    assert found.startswith("a.yaml:1: larger than 1 MiB: split it, or write bulk facts as JSON")


EDITS = (
    Fact("q: no", "no", tags=("1", "a b"), priority=3),
    Fact("是?", "null"),
    Fact("Where?", "", forget=True, secret="12 Elm Street"),
    LanguagePatch("a", "b\n c\n"),
    RegexPatch(r"\bx", r"\0"),
    Fact("odd", "\x00\x85 \u2028 😀 'é\" # \t"),
)


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "a.jsonl"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    dump_file(EDITS, tmp_path / name)
    assert load_file(tmp_path / name) == EDITS
    dump_file((), tmp_path / name)
    assert load_file(tmp_path / name) == ()
    assert [file.name for file in tmp_path.iterdir()] == [name]


@settings(deadline=None, max_examples=60)
@given(answer=st.text(min_size=1).filter(lambda text: bool(text.strip())))
@example(answer="0\x85")
@example(answer="a\u2028b")
def test_any_answer_survives_a_file(answer: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name in ("a.yaml", "a.jsonl"):
        dump_file([Fact("q", answer)], folder / name)
        assert load_file(folder / name) == (Fact("q", answer),)


def test_only_known_suffixes_are_written(tmp_path: Path) -> None:
    with pytest.raises(PatchError, match=r"ends in \.yaml"):
        dump_file(EDITS, tmp_path / "a.txt")
