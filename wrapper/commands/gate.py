"""``errata gate train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from errata.commands.output import reports_errors


@reports_errors
def train_gate(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder to write the gate to.")
    ] = None,
) -> None:
    """Train the default gate anew."""
    raise NotImplementedError
