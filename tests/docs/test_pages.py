"""The pages of docs/ tell the truth: code prints what it says, commands and files exist."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
from typer.main import get_command

from errata.cache import errors
from errata.cache.patches.conflicts import conflicts
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


SECTION = re.compile(
    r"^### (.+)\n\n```yaml\n(.+?)```\n```text\n(.+)\n```\n[^`].+?\n\n```yaml\n(.+?)```$",
    re.MULTILINE | re.DOTALL,
)


def sections(text: str) -> list[tuple[str, str, str, str]]:
    """Return title, wrong patch, message and mended patch of each section of a part of a page."""
    parts = re.split(r"^(?=### )", text, flags=re.MULTILINE)
    return [found.groups() for part in parts if (found := SECTION.search(part.rstrip()))]


@pytest.mark.parametrize(
    "section", sections(PAGES["errors"]), ids=[one[0] for one in sections(PAGES["errors"])]
)
def test_each_error_is_shown_as_it_is_printed(section, tmp_path, monkeypatch):
    _, wrong, message, mended = section
    monkeypatch.chdir(tmp_path)
    file = Path("patches") / "a.yaml"
    file.parent.mkdir()
    file.write_text(wrong, "utf-8")
    try:
        found = [str(one) for one in conflicts(load_folder("patches"))]
    except errors.PatchFolderError as error:
        found = [str(error)]
    assert found == [message]
    file.write_text(mended, "utf-8")
    assert not conflicts(load_folder("patches"))


def test_the_page_shows_many_errors():
    assert len(sections(PAGES["errors"])) >= 15


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
