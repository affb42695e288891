"""``errata hash-secret``."""

from __future__ import annotations

from typing import Annotated

import typer

from errata.commands.options import AsJson, text
from errata.commands.output import print_json, print_line, reports_errors


@reports_errors
def hash_secret_command(
    secret: Annotated[
        str, typer.Argument(metavar="TEXT", callback=text, help="The secret.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Hash a secret for the key secret_hash of a patch.

    The patch then recognises the secret in answers without containing it. A
    secret of few possible values, such as an address, is guessable: its hash
    keeps it from readers, not from somebody who tries all addresses.

    Example:
        errata hash-secret "12 Elm Street, Springfield"
    """
    from errata.cache.filters.secrets import hash_secret, is_guessable

    hashed, guessable = hash_secret(secret), is_guessable(secret)
    if as_json:
        print_json({"secret_hash": hashed, "guessable": guessable})
        return
    typer.echo(hashed)
    if guessable:
        print_line(
            "guessable: the secret is found by trying; keep the file as private as the secret",
            style="yellow", stderr=True,
        )  # fmt: skip
