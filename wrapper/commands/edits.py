"""``errata edit``, ``retract``, ``edits`` and ``reindex``: edits made at run time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
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
from errata.commands.output import (
    console,
    counted,
    edit_json,
    location_of,
    print_json,
    print_line,
    reports_errors,
)

if TYPE_CHECKING:
    from errata.cache.records import Edit

Id = Annotated[
    str, typer.Argument(metavar="ID", help="The id that `errata edits` shows.", callback=text)
]


@reports_errors
def edit(
    question: Question,
    answer: Annotated[str, typer.Argument(metavar="ANSWER", help="The new answer.", callback=text)],
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="NAME", help="The subject of the question.")
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option("--alias", metavar="NAME", help="An alias of the subject; may be repeated."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="TEXT", help="A reference for the new answer.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="A label; may be repeated.")
    ] = None,
    cache: Cache = None,
    patches: Patches = None,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Add an edit of one fact to the cache folder (.errata by default); prints its id.

    For a correction outside files, on this machine; it takes force over a
    patch of the same question until that patch changes. One that should be
    reviewed, tested and reverted like code belongs in a file under patches/:
    `errata add`.

    Examples:
        errata edit "What is the capital of Palau?" "Ngerulmud"

        errata edit "Where is the Met?" "New York" --subject "the Met"
    """
    from errata.cache.precedence import effect
    from errata.cache.records import Fact
    from errata.cache.view import with_overruled

    fact = Fact(
        question=question, answer=answer, subject=subject, aliases=tuple(alias or ()),
        source=source, tags=tuple(tag or ()),
    )  # fmt: skip
    with opening.open_cache(cache or CACHE, patches_folder(patches), encoder) as store:
        (added,) = store.add([fact])
        (made,) = with_overruled([added], store.view())
    if as_json:
        print_json({**_full(made), "overrules": [edit_json(each) for each in made.overrules]})
        return
    typer.echo(made.id)
    for each in made.overrules:
        place = location_of(each) or f"the edit {each.id}"
        print_line(f"overrules {place}: {effect(each)!r}", stderr=True)


@reports_errors
def retract(
    edit_id: Id,
    cache: Cache = None,
    patches: Patches = None,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Remove an edit made with `errata edit`.

    An edit of a patch file is left alone; the error names its file:line, where
    it can be deleted.

    Example:
        errata retract fact-47187cc1496e
    """
    with opening.open_cache(cache_folder(cache), patches_folder(patches), encoder) as store:
        removed = store.retract(edit_id)
    if as_json:
        print_json(_full(removed))
    else:
        print_line(f"retracted {removed.id}: {removed.scope}")


@reports_errors
def edits(
    cache: Cache = None,
    patches: Patches = None,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """List the edits in force: patches of files first, then edits made with `errata edit`.

    What another edit of the same scope overrules is left out.

    With --json every edit has the form that a patch file would give it.

    Examples:
        errata edits

        errata edits --cache .errata --json
    """
    with opening.open_cache(cache_folder(cache), patches_folder(patches), encoder) as store:
        listed = store.edits
    if as_json:
        print_json([_full(each) for each in listed])
    else:
        _show(listed)


@reports_errors
def reindex(cache: Cache = None, encoder: Encoder = None, as_json: AsJson = False) -> None:
    """Encode the edits of the cache again, with another sentence encoder.

    Needed once after a change of --encoder; the edits stay as they are.

    Examples:
        errata reindex

        errata reindex --encoder path/to/encoder
    """
    from errata.cache.errors import StoreError
    from errata.cache.storage.postgres import is_url

    place = cache or CACHE
    if not (is_url(place) or Path(place).is_dir()):
        raise StoreError(f"expected a cache folder at {place}, found none: name it with --cache")
    with opening.open_cache(place, None, encoder, reencode=True) as store:
        count, fingerprint, name = len(store.edits), store.encoder.fingerprint, store.name
    if as_json:
        print_json({"cache": name, "edits": count, "encoder": fingerprint})
    else:
        print_line(f"{name}: {counted(count, 'edit')}, encoded by {fingerprint}")


def _full(edit: Edit) -> dict[str, Any]:
    from errata.cache.filters.text_filter import WITHHELD
    from errata.cache.patches.kinds import dump_edit

    body = dump_edit(edit)
    if "secret" in body:
        body["secret"] = WITHHELD
    return {**edit_json(edit), "patch": body}


def _show(listed: Sequence[Edit]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "kind")
    table.add_column("edit", overflow="fold")
    for each in listed:
        scope = f"{location_of(each) or 'cache'}\n{each.scope}"
        table.add_row(*(Text(cell) for cell in (each.id, each.kind, scope)))
    console().print(table)
    print_line(f"{counted(len(listed), 'edit')} in force")
