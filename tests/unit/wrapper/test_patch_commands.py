"""Patch files by hand: add, fmt, convert, schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from typer.testing import CliRunner

from errata.cache.errors import PatchFolderError
from errata.cache.patches.files import load_file, load_folder
from errata.cache.patches.json_schema import json_schema
from errata.cache.patches.table import read_table, table
from errata.cache.records import Fact, LanguagePatch, PatchTests, RegexPatch
from errata.cli import app

ROOT = Path(__file__).parents[3]
UGLY = """\
# Animals.
#  Of the zoo.
-   question:   "What is: this?"   # the one question
    answer: 1.10
    tests:
      fires: [a b,   'c']


# The second one.
- {if: x, then: no}
- question: q
  answer: |
    two
      lines
  tests:
    silent:
    - ~
    # not this one
    - 007
"""
NEAT = """\
# Animals.
#  Of the zoo.
- question: "What is: this?"       # the one question
  answer: 1.10
  tests:
    fires: [a b, 'c']

# The second one.
- {if: x, then: no}

- question: q
  answer: |
    two
      lines
  tests:
    silent:
      - ~
    # not this one
      - 007
"""


def run(*arguments, code=0, typed=""):
    result = CliRunner().invoke(app, [str(one) for one in arguments], input=typed)
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


# -- add ---------------------------------------------------------------------------------------


def test_add_asks_for_what_is_missing_and_suggests_tests(here):
    (here / "patches").mkdir()
    (here / "patches" / "a.yaml").write_text("- {question: What is the currency of Palau?, "
                                             "answer: dollar}\n")  # fmt: skip
    typed = (
        "What is the capital of Palau?\nNgerulmud\nhttps://example.org\n"
        "Palau's capital?\n\nWhat is the currency of Palau?\n\n"
    )
    shown = run("add", typed=typed).stdout
    assert "such as: Can you tell me: What is the capital of Palau?" in shown
    assert "must not fire it (such as: What is the currency of Palau?)" in shown
    assert "patches/patches.yaml:1: added" in shown
    (fact,) = load_file("patches/patches.yaml")
    tests = PatchTests(("Palau's capital?",), ("What is the currency of Palau?",))
    assert fact == Fact(
        "What is the capital of Palau?", "Ngerulmud", source="https://example.org", tests=tests
    )


def test_add_leaves_the_rest_of_a_file_byte_for_byte(here):
    file = here / "patches" / "zoo.yaml"
    file.parent.mkdir()
    file.write_text(UGLY)
    arguments = ("add", "--no-ask", "--file", "zoo.yaml")
    shown = run(*arguments, "Can owls fly?", "yes", "--fires", "Do owls fly?").stdout
    assert "patches/zoo.yaml:21: added" in shown
    run(*arguments, "--if", "the user asks about owls", "--then", 'say "Hoo."')
    assert file.read_text().startswith(UGLY)
    assert [edit.scope for edit in load_file(file)][3:] == [
        "Can owls fly?", "the user asks about owls",
    ]  # fmt: skip
    said = run(*arguments, "can OWLS fly", "no").stderr
    assert "zoo.yaml:21" in said and "priority" in said


def test_add_refuses_what_it_cannot_add(here):
    (here / "patches").mkdir()
    (here / "patches" / "a.yaml").write_text("- {question: a, answer: b}\n")
    assert (
        "the same patch is at patches/a.yaml:1" in run("add", "a", "b", "--no-ask", code=1).stderr
    )
    assert "expected a text for answer" in run("add", "a", "--no-ask", code=1).stderr
    assert "text for --if" in run("add", "--then", "x", "--no-ask", code=1).stderr
    for typed in ("", "a\n", "a\nb\n", "a\nb\n\n"):  # the input ends
        said = run("add", typed=typed, code=1).stderr
        assert "so nothing was added: give the texts as arguments, with --no-ask" in said
    assert not (here / "patches" / "patches.yaml").exists()
    (here / "patches" / "bad.yaml").write_text("- question: [\n")
    before = (here / "patches" / "bad.yaml").read_text()
    run("add", "x", "y", "--no-ask", "--file", "bad.yaml", code=1)
    assert (here / "patches" / "bad.yaml").read_text() == before
    assert "ends in .yaml" in run("add", "x", "y", "--no-ask", "--file", "a.txt", code=1).stderr
    assert (
        "the name of a file"
        in run("add", "x", "y", "--no-ask", "--file", "../a.yaml", code=1).stderr
    )


# -- fmt ---------------------------------------------------------------------------------------


def test_fmt_keeps_comments_order_and_texts(here):
    file = here / "zoo.yaml"
    file.write_text(UGLY)
    before = load_file(file)
    assert "would be laid out" in run("fmt", "--check", file, code=1).stdout
    assert file.read_text() == UGLY
    run("fmt", file)
    assert file.read_text() == NEAT
    assert load_file(file) == before
    assert "0 files laid out, 1 as they were" in run("fmt", "--check", file).stdout


def test_fmt_of_json_lines_and_of_a_folder(here):
    (here / "patches").mkdir()
    (here / "patches" / "a.jsonl").write_text('{"question":"é","answer":1.10}\n\n')
    (here / "patches" / "b.yaml").write_text("# nothing yet\n")
    run("fmt")
    assert (here / "patches" / "a.jsonl").read_text() == '{"question": "é", "answer": "1.10"}\n'
    assert (here / "patches" / "b.yaml").read_text() == "# nothing yet\n"


def test_fmt_leaves_a_wrong_file_alone(here):
    (here / "a.yaml").write_text("-   question: a\n    anwser: b\n")
    assert "did you mean 'answer'" in run("fmt", "a.yaml", code=1).stderr
    assert (here / "a.yaml").read_text() == "-   question: a\n    anwser: b\n"


def test_fmt_goes_on_after_a_wrong_file(here):
    for name, text in (("a", "- question: [\n"), ("b", "- {question: x}\n"), ("c", UGLY)):
        (here / f"{name}.yaml").write_text(text)
    (here / "d.yaml").symlink_to(here / "none.yaml")
    result = run("fmt", here, code=1)
    assert [f"{name}.yaml:" in result.stderr for name in "abcd"] == [True, True, False, True]
    assert (here / "c.yaml").read_text() == NEAT
    assert "1 file laid out, 0 as they were, 3 left alone" in result.stdout


def test_nothing_is_laid_out_where_there_are_no_patches(here):
    assert "expected a folder of patches, found nothing" in run("fmt", code=1).stderr


def test_a_link_stays_a_link(here):
    (here / "patches").mkdir()
    (here / "shared.yaml").write_text(UGLY)
    link = here / "patches" / "zoo.yaml"
    link.symlink_to(here / "shared.yaml")
    run("fmt")
    run("add", "x", "y", "--no-ask", "--file", "zoo.yaml")
    assert link.is_symlink() and (here / "shared.yaml").read_text().startswith(NEAT)
    assert len(load_file(link)) == 4


def test_the_shipped_patches_are_laid_out():
    shown = run("fmt", "--check", ROOT / "patches").stdout
    assert shown.startswith("0 files laid out")


# -- tables ------------------------------------------------------------------------------------


def test_a_table_becomes_patches_and_back(here):
    (here / "facts.csv").write_text(
        "\ufeffquestion;answer;fires;fires 2;silent;tags\n"
        'What is a?;1.10;A?;;B?;x\n;;;;;\n"Who ""is"" it?";"a; b";;;;\n',
        "utf-8",
    )
    run("convert", "facts.csv", "facts.jsonl")
    first, second = load_file("facts.jsonl")
    assert first == Fact("What is a?", "1.10", tags=("x",), tests=PatchTests(("A?",), ("B?",)))
    assert second == Fact('Who "is" it?', "a; b")
    run("convert", "facts.jsonl", "again.csv")
    assert read_table(here / "again.csv") == (first, second)
    assert "expected no file there" in run("convert", "facts.csv", "again.csv", code=1).stderr
    run("convert", "again.csv", "facts.yaml")
    assert load_file("facts.yaml") == (first, second)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@settings(deadline=None, max_examples=40)
@given(texts=st.lists(TEXTS.filter(lambda text: bool(text.strip())), min_size=3, max_size=3))
def test_any_text_survives_a_table(texts, tmp_path_factory):
    question, answer, example = texts
    edits = (
        Fact(question, answer, tests=PatchTests(fires=(example, "x"))),
        Fact("Where?", forget=True, secret="12 Elm Street", aliases=("a", "b"), subject="s"),
        LanguagePatch("a", "b", priority=3),
        RegexPatch("a", "b", target="query"),
    )
    file = tmp_path_factory.mktemp("table") / "a.csv"
    file.write_bytes(table(edits).encode())
    assert read_table(file) == edits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question,anwser\na,b\n", "a.csv:1: unknown column 'anwser', did you mean 'answer'?"),
        ("a,b\n", "a.csv:1: unknown column 'a'"),
        ("answer\nb\n", "a.csv:1: expected the names of columns in the first row, with 'question'"),
        ("", "a.csv:1: expected the names of columns in the first row"),
        ("question,answer\na,b\nc\n", "a.csv:3: a fact patch needs the key 'answer'"),
        ("question,answer\na,b,c\n", "a.csv:2: expected 2 cells, found 3"),
        ('question,answer\n"a\nb",c\nd,"e\n', "a.csv:4: not CSV"),
        ("question,answer,answer\na,b,c\n", "a.csv:1: the column 'answer' appears twice"),
        ("question,answer,until\na,b,soon\n", "a.csv:2: until must be a date"),
    ],
)
def test_a_bad_table_says_where_and_what(here, text, message):
    (here / "a.csv").write_text(text)
    with pytest.raises(PatchFolderError) as caught:
        read_table(Path("a.csv"))
    assert str(caught.value).startswith(message), str(caught.value)
    assert message in run("convert", "a.csv", "a.yaml", code=1).stderr
    assert not Path("a.yaml").exists()


def test_a_table_that_is_not_utf8(here):
    (here / "a.csv").write_bytes(b"question,answer\na,caf\xe9\n")
    with pytest.raises(PatchFolderError, match=r"a\.csv:[12]: not UTF-8"):
        read_table(here / "a.csv")


# -- schema ------------------------------------------------------------------------------------


def errors(document: object, *, line: bool = False) -> list[str]:
    validator = jsonschema.Draft202012Validator(json_schema(line=line))
    return [error.message for error in validator.iter_errors(document)]


def test_the_schema_is_one_and_knows_the_shipped_patches():
    schema = json.loads(run("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(run("schema", "--line").stdout) == json_schema(line=True)
    for file in sorted((ROOT / "patches").glob("*.yaml")):
        document = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
        # check-jsonschema, too, reads dates as text
        assert not errors(json.loads(json.dumps(document, default=str))), file


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("- {question: a, answer: 1.10, tests: {fires: b, expect: {q: no}}}\n", True),
        ("- {question: a, forget: true, until: '2027-01-01', priority: 3}\n", True),
        ("- {if: a, then: b, tags: [x, 1]}\n- {regex: a, replace: '', in: query}\n", True),
        ("# nothing\n", True),
        (
            "- {question: a, answer: b, rollout: 0.1}\n- {question: c, answer: b, rollout: 1}\n",
            True,
        ),
        ("- {question: a, answer: b, rollout: '.25'}\n", True),
        ("- {question: a, answer: b, rollout: 1.5}\n", False),
        ("- {question: a, answer: b, rollout: -1}\n", False),
        ("- {question: a, answer: b, rollout: half}\n", False),
        ("- {question: a, answer: b, rollout: [0.1]}\n", False),
        ("- {question: a, anwser: b}\n", False),
        ("- {if: a}\n", False),
        ("- {regex: a, replace: b, in: both}\n", False),
        ("- {question: a, answer: {b: c}}\n", False),
        ("- {question: a, answer: b, tests: {fire: [c]}}\n", False),
        ("question: a\n", False),
    ],
)
def test_the_schema_says_what_check_says(here, text, fine):
    assert bool(errors(YAML(typ="safe", pure=True).load(text))) != fine
    (here / "a.yaml").write_text(text)
    if fine:
        load_folder(here)
    else:
        with pytest.raises(PatchFolderError):
            load_folder(here)


def test_the_schema_names_the_key_that_is_wrong():
    (message,) = errors([{"question": "a", "answer": "b", "rollout": 0.5, "anwser": "c"}])
    assert "'anwser' was unexpected" in message


def test_the_help_says_which_command_is_for_what():
    assert "errata edit" in run("add", "--help").stdout
    assert "errata add" in run("edit", "--help").stdout
