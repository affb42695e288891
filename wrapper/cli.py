"""The command line: registers the commands of :mod:`errata.commands`.

Imports nothing heavy before a command runs, so that ``errata --help`` is quick.
"""

from __future__ import annotations

from typing import Annotated

import typer

from errata import __version__
from errata.commands.ask import ask, explain
from errata.commands.assess import assess
from errata.commands.atlas_bench import atlas_bench
from errata.commands.audit_log import log
from errata.commands.bake import bake, unbake
from errata.commands.check import check
from errata.commands.compare import compare, report
from errata.commands.demo import demo
from errata.commands.editor import train_editor
from errata.commands.edits import edit, edits, reindex, retract
from errata.commands.gate import fit_examples, train_gate
from errata.commands.gate_eval import eval_gate
from errata.commands.gate_reader import train_reader
from errata.commands.locate import locate
from errata.commands.patch_files import add, convert, fmt, schema
from errata.commands.reasoner import train_reasoner
from errata.commands.reasoner_eval import eval_reasoner
from errata.commands.replay import replay
from errata.commands.secret import hash_secret_command
from errata.commands.serac import train_serac
from errata.commands.serve import new_key, serve
from errata.commands.trex_bench import trex_bench
from errata.commands.triage import triage

app = typer.Typer(
    name="errata",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
gate_app = typer.Typer(
    no_args_is_help=True,
    help="Train and evaluate a gate, which decides whether an edit applies to a query.",
)
reasoner_app = typer.Typer(
    no_args_is_help=True, help="Train and evaluate a reasoner, which answers entailed questions."
)
editor_app = typer.Typer(no_args_is_help=True, help="Train an editor that learns to edit.")
serac_app = typer.Typer(no_args_is_help=True, help="The serac backend: a published control.")

for command in (ask, explain, demo, check, assess, add, fmt, convert, schema, edit, retract, edits,
                reindex, log, replay, triage, locate, bake, unbake, compare, report):  # fmt: skip
    app.command()(command)
app.command()(serve)
app.command("new-key")(new_key)
app.command("hash-secret")(hash_secret_command)
app.command("atlas-bench")(atlas_bench)
app.command("trex-bench")(trex_bench)
gate_app.command("train")(train_gate)
gate_app.command("fit-examples")(fit_examples)
gate_app.command("train-reader")(train_reader)
gate_app.command("eval")(eval_gate)
app.add_typer(gate_app, name="gate")
reasoner_app.command("train")(train_reasoner)
reasoner_app.command("eval")(eval_reasoner)
app.add_typer(reasoner_app, name="reasoner")
editor_app.command("train")(train_editor)
app.add_typer(editor_app, name="editor")
serac_app.command("train")(train_serac)
app.add_typer(serac_app, name="serac")


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"errata {__version__}")
        raise typer.Exit


@app.callback()
def errata(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Correct a language model by text files in patches/: an errata sheet.

    Exit codes: 0, success; 1, an error, or a check that failed; 2, a usage error.

    Start with:  errata demo
    """


def main() -> None:
    """Run the command line."""
    app()
