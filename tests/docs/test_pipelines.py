"""docs/pipelines.md tells the truth: its code prints what it says, its commands exist."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from typer.main import get_command

from errata.cli import app
from tests.docs.test_readme import blocks, commands

PAGE = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text("utf-8")


def test_python_blocks_print_what_they_say():
    code = "\n".join(blocks(PAGE, "python"))
    lines = [line for line in code.splitlines() if line.strip().startswith("print(")]
    expected = [line.rpartition("#")[2].strip() for line in lines]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "pipelines.md", "exec"), {"__name__": "__page__"})
    assert said.getvalue().splitlines() == expected and len(expected) >= 4


def test_commands_have_the_options_they_are_shown_with():
    shown = [words for words in commands(PAGE) if words[0] == "errata"]
    assert len(shown) == 4
    for _, name, *words in shown:
        command = get_command(app).commands[name]
        if hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
