"""An example added to a patch in its file: one line more, and nothing else touched."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.cache.errors import PatchError
from errata.cache.patches.examples import add_example
from errata.cache.patches.files import load_file
from errata.cache.records import Fact

NEW = "What is new?"


def added(path, content, which="silent", text=NEW, at=0):
    """Write a file, add an example to one of its patches, and return the file's new content."""
    path.write_text(content, encoding="utf-8", newline="")
    before = load_file(path)
    add_example(before[at], which, text)
    after = load_file(path)
    assert len(after) == len(before)
    assert getattr(after[at].tests, which) == (*getattr(before[at].tests, which), text)
    return path.read_bytes().decode()


CASES = {
    "a list of lines": (
        "# zoo\n- question: q  # of all\n  answer: 'a'\n  tests:\n    silent:\n      - b # c\n"
        "      # d\n\n- question: r\n  answer: s\n",
        "# zoo\n- question: q  # of all\n  answer: 'a'\n  tests:\n    silent:\n      - b # c\n"
        "      - What is new?\n      # d\n\n- question: r\n  answer: s\n",
    ),
    "a list without indentation": (
        "- question: q\n  answer: a\n  tests:\n    silent:\n    - b\n    fires: [c]\n",
        "- question: q\n  answer: a\n  tests:\n    silent:\n    - b\n    - What is new?\n"
        "    fires: [c]\n",
    ),
    "a list in brackets": (
        "- question: q\n  answer: a\n  tests:\n    silent: [b, 'c, d']  # e\n",
        "- question: q\n  answer: a\n  tests:\n    silent: [b, 'c, d', What is new?]  # e\n",
    ),
    "brackets over several lines": (
        "- question: q\n  answer: a\n  tests: {fires: [\n    b, # one\n    c  # two\n  ], "
        "silent: [d]}\n",
        "- question: q\n  answer: a\n  tests: {fires: [\n    b, # one\n    c  # two\n  ], "
        "silent: [d, What is new?]}\n",
    ),
    "empty brackets": (
        "- question: q\n  answer: a\n  tests: {silent: []}\n",
        "- question: q\n  answer: a\n  tests: {silent: [What is new?]}\n",
    ),
    "one text": (
        "- question: q\n  answer: a\n  tests:\n    silent: b c  # d\n",
        "- question: q\n  answer: a\n  tests:\n    silent: [b c, What is new?]  # d\n",
    ),
    "the other list alone": (
        "- question: q\n  answer: a\n  tests:\n    fires:\n      - b  # c\n  source: d\n",
        "- question: q\n  answer: a\n  tests:\n    fires:\n      - b  # c\n    silent:\n"
        "      - What is new?\n  source: d\n",
    ),
    "the other list in brackets": (
        "- question: q\n  answer: a\n  tests: {fires: [b]}\n",
        "- question: q\n  answer: a\n  tests: {fires: [b], silent: [What is new?]}\n",
    ),
    "no tests": (
        "- question: q\n  answer: a  # c\n\n# next\n- question: r\n  answer: s",
        "- question: q\n  answer: a  # c\n  tests:\n    silent:\n      - What is new?\n\n"
        "# next\n- question: r\n  answer: s",
    ),
    "a patch in brackets": (
        "- {question: q, answer: a}\n",
        "- {question: q, answer: a, tests: {silent: [What is new?]}}\n",
    ),
    "a block of text last": (
        "- question: q\n  answer: |\n    a\n    b\n- question: r\n  answer: s\n",
        "- question: q\n  answer: |\n    a\n    b\n  tests:\n    silent:\n      - What is new?\n"
        "- question: r\n  answer: s\n",
    ),
    "no line end": (
        "- question: q\n  answer: a",
        "- question: q\n  answer: a\n  tests:\n    silent:\n      - What is new?",
    ),
    "Windows": (
        "- question: q\r\n  answer: a\r\n",
        "- question: q\r\n  answer: a\r\n  tests:\r\n    silent:\r\n      - What is new?\r\n",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_line_is_added_and_nothing_else_changes(name, tmp_path):
    before, after = CASES[name]
    assert added(tmp_path / "x.yaml", before) == after


def test_the_patch_meant_is_the_one_extended(tmp_path):
    content = "".join(f"- question: q{n}\n  answer: a\n" for n in range(3))
    changed = added(tmp_path / "x.yaml", content, at=1)
    assert changed.index("q1") < changed.index(NEW) < changed.index("q2")


def test_json_lines_keep_their_order_and_their_other_lines(tmp_path):
    lines = [
        '{"question": "q", "answer": 1.10, "tags": ["x"], "tests": {"fires": "f"}}',
        '{"answer":"a","question":"r"}',
        "",
        '{"question": "Zürich?", "answer": "ja"}',
    ]
    path = tmp_path / "x.jsonl"
    content = "\n".join(lines) + "\n"
    assert load_file_answer(added(path, content), path) == "1.10"
    changed = added(path, content, "fires", at=1).split("\n")
    assert changed[1] == f'{{"answer":"a","question":"r","tests":{{"fires":["{NEW}"]}}}}'
    assert [changed[0], *changed[2:4]] == [lines[0], *lines[2:4]]
    changed = added(path, content, at=2).split("\n")
    assert changed[3].startswith('{"question": "Zürich?", "answer": "ja", "tests"')
    changed = added(path, content, "fires").split("\n")
    assert list(json.loads(changed[0])) == ["question", "answer", "tags", "tests"]
    assert json.loads(changed[0])["tests"] == {"fires": ["f", NEW]}


def load_file_answer(content, path):
    return load_file(path)[0].answer


def test_what_cannot_be_extended_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "x.yaml"
    shared = (
        "- question: q\n  answer: a\n  tests: &t {fires: [x]}\n"
        "- question: r\n  answer: a\n  tests: *t\n"
    )
    for content, which, text in (
        (shared, "silent", NEW),
        (shared.replace("*t", "{silent: [z]}").replace("&t ", ""), "silent", "x"),
        ("- question: q\n  answer: a\n", "silent", "Q"),
        ("- question: q\n  answer: a\n  tests:\n    fires: >\n      b\n      c\n", "fires", NEW),
    ):
        path.write_text(content)
        (first, *_) = load_file(path)
        with pytest.raises(PatchError, match=r"x\.yaml:1"):
            add_example(first, which, text)
        assert path.read_text() == content
    path.write_text("- question: q\n  answer: a\n")
    (first,) = load_file(path)
    path.write_text("- question: q\n  answer: other\n")
    with pytest.raises(PatchError, match="not in its file any more"):
        add_example(first, "fires", NEW)
    with pytest.raises(PatchError, match="no file"):
        add_example(Fact("q", "a"), "fires", NEW)


def test_a_link_stays_a_link_and_a_mark_a_mark(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "x.yaml"
    real.write_bytes(b"\xef\xbb\xbf- question: q\n  answer: a\n")
    link.symlink_to(real)
    add_example(load_file(link)[0], "fires", NEW)
    assert link.is_symlink() and real.read_bytes().startswith(b"\xef\xbb\xbf- question")
    assert load_file(link)[0].tests.fires == (NEW,)


AWKWARD = [
    "a: b", "# c", "- d", "[e", "'f", '"', "*g", "1.10", "no", "null", "h #i", "j\tk", "é",
    "斑马？", "~", "x, y", "{", "}", "%", "@", "`", "a\\b", "?", "!z", "|", ">", "a:", "é\u2028b",
]  # fmt: skip


@pytest.mark.parametrize("content", [CASES["a list of lines"][0], CASES["a list in brackets"][0]])
@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_texts_are_read_as_typed(text, content, tmp_path):
    added(tmp_path / "x.yaml", content, text=text)


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), min_size=1))
@settings(max_examples=40, deadline=None)
def test_any_text_is_added_as_it_is_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "x.yaml"
    try:
        added(path, CASES["a list in brackets"][0], text=text)
    except PatchError:
        assert path.read_text() == CASES["a list in brackets"][0]
