"""``errata edit``, ``retract``, ``edits`` and ``reindex``: edits made at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands import opening
from errata.commands.options import (
    CACHE,
    AsJson,
    Cache,
    Encoder,
    Patches,
    Question,
    cache_folder,
    patches_folder,
    text,
)
from errata.commands.output import console, edit_json, reports_errors, say, say_json

if TYPE_CHECKING:
    from errata.cache.records import Edit

Id = Annotated[
    str, typer.Argument(metavar="ID", help="The id, as `errata edits` shows it.", callback=text)
]


@reports_errors
def edit(
    question: Question,
    answer: Annotated[
        str, typer.Argument(metavar="ANSWER", help="What is to be said.", callback=text)
    ],
    subject: Annotated[
        str | None, typer.Option("--subject", help="What the question is about.")
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option("--alias", help="Another name of the subject (may be repeated)."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Where the knowledge comes from.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="A label (may be repeated).")
    ] = None,
    cache: Cache = None,
    patches: Patches = None,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Correct one fact from now on: it is kept in the cache folder, .errata unless told otherwise.

    What should be reviewed and reverted like code belongs into a file under patches/ instead.

    Example:
        errata edit "What is the capital of Palau?" "Ngerulmud"

        errata edit "Where is the Met?" "New York" --subject "the Met" --alias "the museum on 82nd"
    """
    from errata.cache.records import Fact

    fact = Fact(
        question=question, answer=answer, subject=subject, aliases=tuple(alias or ()),
        source=source, tags=_tags(tag),
    )  # fmt: skip
    with opening.open_cache(cache or CACHE, patches_folder(patches), encoder) as opened:
        (made,) = opened.add([fact])
    if as_json:
        say_json(_full(made))
    else:
        typer.echo(made.id)


@reports_errors
def retract(
    edit_id: Id,
    cache: Cache = None,
    patches: Patches = None,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Take back an edit made with `errata edit`; one that a patch file holds is named file:line.

    Example:
        errata retract fact-47187cc1496e
    """
    with opening.open_cache(cache_folder(cache), patches_folder(patches), encoder) as opened:
        taken = opened.retract(edit_id)
    if as_json:
        say_json(_full(taken))
    else:
        say(f"retracted {taken.id}: {taken.scope}")


@reports_errors
def edits(
    cache: Cache = None,
    patches: Patches = None,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """List the edits in force: those of patches/ first, then those made with `errata edit`.

    Examples:
        errata edits

        errata edits --cache .errata --json
    """
    with opening.open_cache(cache_folder(cache), patches_folder(patches), encoder) as opened:
        listed = opened.edits
    if as_json:
        say_json([_full(each) for each in listed])
    else:
        _show(listed)


@reports_errors
def reindex(cache: Cache = None, encoder: Encoder = None, as_json: AsJson = False) -> None:
    """Encode the cache anew, for another sentence encoder than the one it was written with.

    Examples:
        errata reindex

        errata reindex --encoder path/to/encoder
    """
    from errata.cache.errors import StoreError

    folder = cache or CACHE
    if not folder.is_dir():
        raise StoreError(f"expected a cache folder at {folder}, found none: name it with --cache")
    with opening.open_cache(folder, None, encoder, reencode=True) as opened:
        count, fingerprint = len(opened.edits), opened.encoder.fingerprint
    if as_json:
        say_json({"cache": str(folder), "edits": count, "encoder": fingerprint})
    else:
        say(f"{folder}: {count} edits, encoded by {fingerprint}")


def _tags(given: list[str] | None) -> tuple[str, ...]:
    return tuple(given or ())


def _full(edit: Edit) -> dict[str, Any]:
    from errata.cache.patches.kinds import dump_edit

    return {**edit_json(edit), "patch": dump_edit(edit)}


def _show(listed: tuple[Edit, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "kind", "where", "question, condition or pattern")
    for each in listed:
        where = str(each.location or "cache")
        table.add_row(*(Text(cell) for cell in (each.id, each.kind, where, each.scope)))
    console().print(table)
    say(f"{len(listed)} edits in force")
