"""docs/editors.md tells the truth: its commands and its code run."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from errata.cli import app
from tests.docs.test_readme import blocks, commands

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "editors.md").read_text("utf-8")


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Stand in a directory with two patches, as a reader of the page might."""
    (tmp_path / "patches").mkdir()
    text = (ROOT / "patches" / "capitals.yaml").read_text("utf-8")
    first = re.split(r"(?m)^(?=- )", text)
    (tmp_path / "patches" / "capitals.yaml").write_text("".join(first[:4]), "utf-8")
    shutil.copy(ROOT / "patches" / "names.yaml", tmp_path / "patches")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_python_blocks_print_what_they_say(workplace):
    code = "\n".join(blocks(PAGE, "python"))
    expected = [
        line.rpartition("#")[2].strip()
        for line in code.splitlines()
        if line.strip().startswith("print(")
    ]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "editors.md", "exec"), {"__name__": "__page__"})
    assert said.getvalue().splitlines() == expected and len(expected) >= 4


def test_commands_run(workplace):
    lines = [words[1:] for words in commands(PAGE) if words[0] == "errata"]
    assert [words[0] for words in lines] == ["assess", "locate", "bake", "unbake"]
    table = "question,answer,subject\nWhat is the capital of Norway?,Oslo,Norway\n"
    table += "What is the currency of Norway?,krone,Norway\n"
    Path("facts.csv").write_text(table, "utf-8")
    shorter = {"locate": ["--facts", "2", "--layer", "1"], "assess": ["--model", "atlas"]}
    for words in lines:
        result = CliRunner().invoke(app, [*words, *shorter.get(words[0], []), "--json"])
        assert result.exit_code == 0, (words, result.output, result.exception)
        assert json.loads(result.stdout)


def test_options_named_exist():
    known = get_command(app)
    named = [known.commands[name] for name in ("locate", "bake", "unbake")]
    named.append(known.commands["editor"].commands["train"])
    options = {option for one in named for parameter in one.params for option in parameter.opts}
    prose = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(--[a-z]+)", prose)) <= options
