"""``errata hash-secret``."""

from __future__ import annotations

from typing import Annotated

import typer

from errata.commands.options import AsJson, text
from errata.commands.output import reports_errors, say_json


@reports_errors
def hash_secret_command(
    secret: Annotated[
        str, typer.Argument(metavar="TEXT", callback=text, help="The secret.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Hash a secret for the key secret_hash, so that a patch file does not tell it.

    Example:
        errata hash-secret "12 Elm Street, Springfield"
    """
    from errata.cache.filters.secrets import hash_secret

    hashed = hash_secret(secret)
    if as_json:
        say_json({"secret_hash": hashed})
    else:
        typer.echo(hashed)
