"""Deliberately broken folders, each with the exact message that it is refused with."""

from __future__ import annotations

from pathlib import Path

import pytest

from errata.cache.errors import PatchFolderError
from errata.cache.patches.conflicts import conflicts
from errata.cache.patches.files import load_folder

GOOD = "- {question: Who wrote Emma?, answer: Jane Austen}\n"

REFUSED: list[tuple[dict[str, str], str]] = [
    (
        {"a.yaml": "- question: What is: this?\n  answer: a\n"},
        "a.yaml:1: an unquoted colon: put the text in quotes, as in question: 'What is this: a "
        "test?'",
    ),
    (
        {"a.yaml": "- question: q\n\tanswer: a\n"},
        "a.yaml:2: a tab where spaces are expected: indent with spaces",
    ),
    (
        {"a.yaml": "- question: q\n  anwser: a\n"},
        "a.yaml:2: unknown key 'anwser' in a fact patch, did you mean 'answer'?",
    ),
    (
        {"a.yaml": "- question: q\n"},
        "a.yaml:1: a fact patch needs the key 'answer' (or forget: true, to refuse): add it",
    ),
    (
        {"a.yaml": "- answer: a\n"},
        "a.yaml:1: a patch has one of the keys question:, if:, regex:, found answer",
    ),
    (
        {"a.yaml": "- {question: q, answer: a, if: c}\n"},
        "a.yaml:1: found question: and if: in one entry: an entry is one patch, so split it in two",
    ),
    (
        {"a.yaml": "question: q\nanswer: a\n"},
        "a.yaml:1: a patch file is a list: begin each patch with '- '",
    ),
    (
        {"a.yaml": "- question: q\n  answer: a\n  answer: b\n"},
        "a.yaml:3: the key 'answer' appears twice in one patch (first in line 2): keep one, or "
        "begin the second patch with '- '",
    ),
    (
        {"a.yaml": "- question: q\n  answer: a\n  tests:\n    fires: [x]\n    silent: [X.]\n"},
        "a.yaml:5: tests: 'X.' is under silent and under fires: keep one (a.yaml:4)",
    ),
    (
        {"a.yaml": "- question: q\n  answer: a\n  until: 2026-02-30\n"},
        "a.yaml:3: until must be a date of the form 2027-01-31 that the calendar has, found "
        "'2026-02-30'",
    ),
    (
        {"a.yaml": "- question: q\n  answer: a\n  from: 2026-05-01\n  until: 2026-04-01\n"},
        "a.yaml:4: until (2026-04-01) lies before from (2026-05-01), so the patch is never in "
        "force: swap or correct the dates",
    ),
    (
        {"a.yaml": "- question: q\n  answer: a\n  secret: 12 Elm Street\n"},
        "a.yaml:3: secret is only for facts to be forgotten: add forget: true",
    ),
    (
        {"a.yaml": "- regex: 'x(?=y)'\n  replace: z\n"},
        "a.yaml:1: regex 'x(?=y)' is refused by RE2 (invalid perl operator: (?=): look-around is "
        "not supported; match the neighbouring text in a group and write it back, as in regex: "
        r"'(\d )USD' with replace: '\1EUR'",
    ),
    (
        {"a.yaml": "- regex: x\n  replace: '\\1'\n"},
        "a.yaml:2: replace names group 1, but the pattern has 0 groups: put parentheses around the "
        "part to keep, or correct the number",
    ),
    (
        {"a.yaml": "- regex: x\n  replace: z\n  in: both\n"},
        "a.yaml:3: in must be query or output, found 'both'",
    ),
    (
        {"a.yaml": GOOD, "b.yaml": f"# copied\n{GOOD}"},
        "b.yaml:2: the same patch is at a.yaml:1: delete one of the two",
    ),
    (
        {
            "a.yaml": "- {question: q, answer: a, id: one}\n",
            "b.yaml": "- {question: r, answer: b, id: one}\n",
        },
        "b.yaml:1: the id 'one' is taken by the patch at a.yaml:1: rename one",
    ),
    (
        {
            "a.yaml": "- {question: q, answer: a, id: capital-old}\n"
            "- {question: q, answer: b, supersedes: capital-odl}\n"
        },
        "a.yaml:2: supersedes names 'capital-odl', which no patch of the folder has as id, did you "
        "mean 'capital-old'?",
    ),
    (
        {
            "a.yaml": "- {question: q, answer: a, id: one, supersedes: two}\n"
            "- {question: q, answer: b, id: two, supersedes: three}\n"
            "- {question: q, answer: c, id: three, supersedes: one}\n"
        },
        "a.yaml:1: supersedes goes round in a circle: 'one' (a.yaml:1) supersedes 'two' "
        "(a.yaml:2) supersedes 'three' (a.yaml:3) supersedes 'one': keep one",
    ),
    (
        {"a.jsonl": '{"question": "q", "answer": "a"}\n{"question": "r" "answer": "b"}\n'},
        "a.jsonl:2: not JSON at character 18 (Expecting ',' delimiter): write one object a line, "
        'such as {"question": "…", "answer": "…"}',
    ),
    (
        {"a.json": "[]\n"},
        "a.json:1: a patch file ends in .yaml, .yml or .jsonl, found '.json': rename it",
    ),
    (
        {"a.yaml": "- question: q\n  answer: a\n---\n- question: r\n  answer: b\n"},
        "a.yaml:3: two documents: a file holds one list, so remove the line '---'",
    ),
]

CONTRADICTING: list[tuple[dict[str, str], str]] = [
    (
        {"a.yaml": GOOD, "b.yaml": "- {question: who wrote EMMA, answer: Clueless}\n"},
        "b.yaml:1: 'who wrote EMMA' is answered 'Clueless' here and 'Jane Austen' at a.yaml:1: "
        "delete one, or say which rules by priority or supersedes; until then the later one "
        "speaks, the one here",
    ),
    (
        {
            "a.yaml": GOOD,
            "b.yaml": "- {question: Who is she?, answer: Emma, tests: {fires: Who wrote Emma}}\n",
        },
        "b.yaml:1: is listed to fire on 'Who wrote Emma', as is a.yaml:1: delete it from one, or "
        "say which rules by priority or supersedes",
    ),
    (
        {"a.yaml": GOOD, "b.yaml": "- {regex: Austen, replace: Eyre}\n"},
        "b.yaml:1: the pattern rewrites the answer of a.yaml:1 to 'Jane Eyre': write the answer "
        "so, or narrow the pattern",
    ),
    (
        {"a.yaml": GOOD, "b.yaml": "- {question: Who wrote  Emma, answer: Jane Austen}\n"},
        "b.yaml:1: says of 'Who wrote  Emma' what a.yaml:1 says: delete one, and move its examples "
        "to the other",
    ),
]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a folder of patches and go there, so that messages name files alone."""
    monkeypatch.chdir(tmp_path)

    def written(files: dict[str, str]) -> str:
        for name, text in files.items():
            Path(name).write_text(text, "utf-8")
        return "."

    return written


@pytest.mark.parametrize(("files", "message"), REFUSED, ids=[m[:60] for _, m in REFUSED])
def test_a_broken_folder_is_refused_with_exactly_this(write, files, message):
    with pytest.raises(PatchFolderError) as caught:
        load_folder(write(files))
    found = sorted(str(caught.value).splitlines())
    assert found == sorted(message.splitlines())


@pytest.mark.parametrize(
    ("files", "message"), CONTRADICTING, ids=[m[:50] for _, m in CONTRADICTING]
)
def test_a_contradicting_folder_is_reported_with_exactly_this(write, files, message):
    assert [str(one) for one in conflicts(load_folder(write(files)))] == [message]
