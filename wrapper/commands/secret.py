"""``errata hash-secret``."""

from __future__ import annotations

from typing import Annotated

import typer

from errata.commands.options import AsJson, text
from errata.commands.output import print_json, reports_errors


@reports_errors
def hash_secret_command(
    secret: Annotated[
        str, typer.Argument(metavar="TEXT", callback=text, help="The secret.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Hash a secret for the key secret_hash of a patch.

    The patch then recognises the secret in answers without containing it.

    Example:
        errata hash-secret "12 Elm Street, Springfield"
    """
    from errata.cache.filters.secrets import hash_secret

    hashed = hash_secret(secret)
    if as_json:
        print_json({"secret_hash": hashed})
    else:
        typer.echo(hashed)
