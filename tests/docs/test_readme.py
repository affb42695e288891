"""The README and CONTRIBUTING tell the truth: their commands run, their files exist."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import errata
from errata.cache.patches.files import load_folder
from errata.cli import app
from errata.commands import opening

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
DOCUMENTS = {"README.md": README, "CONTRIBUTING.md": CONTRIBUTING}


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Return the words of every command of the console blocks."""
    lines = "".join(blocks(text, "console")).splitlines()
    return [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]


def made(text: str) -> set[str]:
    """Return the make targets that a text names, in console blocks and in prose."""
    return {words[1] for words in commands(text) if words[0] == "make"} | set(
        re.findall(r"`make ([a-z-]+)`", text)
    )


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Stand in a directory with a copy of patches/, as a reader of the README would."""
    shutil.copytree(ROOT / "patches", tmp_path / "patches")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for name, text in DOCUMENTS.items():
        assert made(text) and made(text) <= targets, f"{name}: {made(text) - targets}"
    assert {"demo", "test"} <= made(README)


def test_every_command_of_a_document_is_make_errata_or_a_file_here():
    for name, text in DOCUMENTS.items():
        for words in commands(text):
            known = words[0] in ("make", "errata") or any((ROOT / word).is_file() for word in words)
            assert known, f"{name}: {words}"


def test_errata_commands_named_in_prose_exist():
    known = get_command(app)
    for name, text in DOCUMENTS.items():
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for sentence in re.findall(r"`errata\s([a-z][^`]*)`", prose):
            command, parsed = known, shlex.split(sentence)
            assert parsed[0] in command.commands, f"{name}: errata {sentence}"
            for word in parsed:
                command = getattr(command, "commands", {}).get(word, command)
            options = {o for p in command.params for o in p.opts}
            used = {word for word in parsed if word.startswith("--")}
            assert used <= options, f"{name}: errata {sentence}"


def test_errata_commands_of_the_readme_run(workplace, monkeypatch):
    real, opened = opening.open_model, {}

    def open_once(model, patches, cache=None, *others, **options):
        key = (model, patches, *others, *sorted(options.items()))
        if key not in opened:
            opened[key] = real(model, patches, cache, *others, **options)
        return opened[key]

    monkeypatch.setattr(opening, "open_model", open_once)
    lines = [words[1:] for words in commands(README) if words[0] == "errata"]
    assert {words[0] for words in lines} >= {"ask", "explain", "check", "compare", "report"}
    for words in lines:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (words, result.output, result.exception)
        assert result.stdout.strip(), words


def test_python_blocks_print_what_they_say(workplace):
    code = "\n".join(blocks(README, "python"))
    assert code.count('"smollm2"') == 1
    code = code.replace('"smollm2"', '"atlas"')  # quick; `make demo` runs the real one
    expected = [
        line.rpartition("#")[2].strip() for line in code.splitlines() if line.startswith("print(")
    ]
    assert len(expected) >= 3 and all("  # " in x for x in code.splitlines() if "print(" in x)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "README.md", "exec"), {"__name__": "__readme__"})
    assert said.getvalue().splitlines() == expected


def test_patches_of_the_readme_are_well_formed(tmp_path):
    (block,) = blocks(README, "yaml")
    (tmp_path / "readme.yaml").write_text(block, "utf-8")
    edits = load_folder(tmp_path)
    assert [edit.kind for edit in edits] == ["fact", "language", "regex", "fact"]
    assert edits[-1].forget


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_named_exist(name):
    text = re.sub(r"^```.*?^```$", "", DOCUMENTS[name], flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:toml|txt|md))`", text))
    named |= {target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target}
    made_later = {"build/", ".errata/", "some/folder", ".venv/bin/errata"}
    missing = {path for path in named - made_later if not (ROOT / path).exists()}
    assert len(named) > 3 and not missing, f"{name} names {missing}"


def test_public_names_are_documented():
    (line,) = re.findall(r"^Public names: (.*?)\. ", README, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", line)) == set(errata.__all__) - {"__version__"}


def test_an_engineer_reads_it_to_its_end():
    assert len(README.split()) <= 1000
