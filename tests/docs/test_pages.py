"""The pages of docs/ tell the truth: code prints what it says, commands and files exist."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
from typer.main import get_command

from errata.cache import errors
from errata.cache.patches.files import load_folder
from errata.cli import app
from tests.docs.test_readme import blocks, commands

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
PRINTED = {"compare": 4, "errors": 1, "gates": 0, "how-it-works": 1}


def test_the_pages_are_those_that_the_readme_names():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert set(re.findall(r"\(docs/([\w-]+)\.md\)", readme)) == set(PAGES)


@pytest.mark.parametrize("page", PRINTED)
def test_python_blocks_print_what_they_say(page):
    code = "\n".join(blocks(PAGES[page], "python"))
    lines = [line for line in code.splitlines() if line.strip().startswith("print(")]
    expected = [line.rpartition("#")[2].strip() for line in lines]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, f"{page}.md", "exec"), {"__name__": "__page__"})
    assert printed.getvalue().splitlines() == expected and len(expected) == PRINTED[page]


def test_the_components_shown_are_those_that_the_contracts_run_over():
    files = {path.read_text("utf-8") for path in (ROOT / "tests" / "plugins").glob("*.py")}
    assert set(blocks(PAGES["extending"], "python")) == files and len(files) >= 6


def test_every_error_has_a_row():
    classes = {
        name
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, errors.ErrataError)
    }
    rows = set(re.findall(r"^\| `(\w+)`", PAGES["errors"], re.MULTILINE))
    assert rows == classes - {"ErrataError"}


def test_the_patches_shown_are_well_formed(tmp_path):
    (block,) = blocks(PAGES["patches"], "yaml")
    (tmp_path / "page.yaml").write_text(block, "utf-8")
    kinds = [edit.kind for edit in load_folder(tmp_path)]
    assert kinds == ["fact", "language", "regex", "fact"]


@pytest.mark.parametrize("page", PAGES)
def test_commands_have_the_options_they_are_shown_with(page):
    for words in commands(PAGES[page]):
        if words[0] != "errata":
            assert words[0] == "make" or any((ROOT / word).is_file() for word in words), words
            continue
        command, words = get_command(app).commands[words[1]], words[2:]
        if hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, (page, words)


@pytest.mark.parametrize("page", PAGES)
def test_files_named_exist(page):
    text = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in target or (ROOT / "docs" / target).exists(), f"{page} names {target}"
