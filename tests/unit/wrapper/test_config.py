"""A command's --config: values by name, errors with their line, options that moved into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from errata.cache.errors import ErrataError
from errata.commands.config import Config, on_command_line, read_config, read_settings


@dataclass(frozen=True)
class Settings:
    steps: int = 5
    learning_rate: float = 0.1
    loss: Literal["bce", "nce"] = "bce"
    files: tuple[Path, ...] = ()


def written(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text, "utf-8")
    return path


def test_values_come_from_the_file_and_options_override_them(tmp_path):
    path = written(tmp_path, "steps: 7\nlearning_rate: 1e-3\nfiles: [a, b]\n")
    assert read_config(path, ("steps", "learning_rate", "files"))["steps"] == 7
    found = read_settings(Settings, path, {"steps": 9})
    assert found == Settings(9, 1e-3, "bce", (Path("a"), Path("b")))
    assert read_settings(Settings) == read_settings(Settings, written(tmp_path, "")) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 7\nlearnin_rate: 1\n", r"c\.yaml:2: unknown .*'learnin_rate'.*'learning_rate'\?"),
        ("zzz: 1\n", r"c\.yaml:1: unknown setting 'zzz'; expected one of files, learning_rate"),
        ("\nsteps: many\n", r"c\.yaml:2: steps: input should be a valid integer.*found 'many'"),
        ("loss: mse\n", r"c\.yaml:1: loss: input should be 'bce' or 'nce'.*found 'mse'"),
        ("- steps\n", r"c\.yaml:1: expected settings, one `name: value` a line, found list"),
        ("steps: 1\nsteps: 2\n", r"c\.yaml:\d: expected YAML, found: .*duplicate key"),
        ("steps: [\n", r"c\.yaml:\d: expected YAML, found"),
    ],
)
def test_a_wrong_file_names_its_line(tmp_path, text, message):
    with pytest.raises(ErrataError, match=f"(?s){message}"):
        read_settings(Settings, written(tmp_path, text))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ErrataError, match=r"none\.yaml: expected a YAML file of settings"):
        read_config(tmp_path / "none.yaml", ())


def test_an_option_that_moved_still_counts_and_names_its_key(tmp_path):
    app, seen = typer.Typer(), []

    @app.command()
    def command(
        context: typer.Context,
        config: Config = None,
        steps: int = 5,
        rate: Annotated[float, typer.Option(hidden=True)] = 0.1,
    ):
        options = on_command_line(context, {"rate": "learning_rate"}, ("config",))
        seen.append(read_settings(Settings, config, options))

    run = CliRunner()
    path = written(tmp_path, "steps: 7\nlearning_rate: 1.0\n")
    assert run.invoke(app, ["--config", str(path)]).stderr == ""
    result = run.invoke(app, ["--config", str(path), "--rate", "2", "--steps", "8"])
    assert "--rate goes in the next version; write `learning_rate: …`" in result.stderr
    assert seen == [Settings(7, 1.0), Settings(8, 2.0)]
    assert "--rate" not in run.invoke(app, ["--help"]).stdout
