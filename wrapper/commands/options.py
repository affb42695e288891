"""Options that several commands share, and their defaults."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

CACHE = Path(".errata")
"""The folder in which `errata edit` keeps edits by default."""


def text(value: str) -> str:
    """Return an argument of the command line, stripped.

    :param value: the argument as the shell passed it.
    :raises typer.BadParameter: it is empty, or not UTF-8.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter("expected UTF-8 text, found other bytes") from error
    if not value.strip():
        raise typer.BadParameter("expected a text, found an empty one")
    return value.strip()


Question = Annotated[
    str,
    typer.Argument(
        metavar="QUESTION", callback=text, help="The question, in quotes.", show_default=False
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="PATH_OR_HUB_ID",
        help="The language model: a folder, a hub id, atlas, or smollm2.",
    ),
]
Patches = Annotated[
    Path | None,
    typer.Option(
        "--patches",
        metavar="DIR",
        help="Folder of patches; by default ./patches if it exists, else the starter patches.",
    ),
]
OwnPatches = Annotated[
    Path | None,
    typer.Option("--patches", metavar="DIR", help="Folder of patches; by default ./patches."),
]
Cache = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="DIR|URL",
        help="Folder of the edits made with `errata edit`, by default .errata if it exists; or the "
        "PostgreSQL database of all replicas, as postgresql://user@host/database.",
    ),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="PATH_OR_HUB_ID",
        help="The sentence encoder; by default all-MiniLM-L6-v2.",
    ),
]
Gate = Annotated[
    str | None,
    typer.Option(
        "--gate",
        metavar="NAME_OR_DIR",
        help="The gate, which decides whether a patch fires: clear, default, or a folder "
        "that `errata gate train` wrote; by default clear.",
    ),
]
Reasoner = Annotated[
    str | None,
    typer.Option(
        "--reasoner",
        metavar="NAME_OR_DIR",
        help="The reasoner, which answers entailed questions: adapter, prompted, verbatim, or a "
        "folder that `errata reasoner train` wrote; by default the adapter of the model.",
    ),
]
Resolvers = Annotated[
    str | None,
    typer.Option(
        "--resolvers",
        metavar="NAMES",
        help="The resolvers, in order, separated by commas: aliases, decompose, base_agreement; "
        "by default the first two, none for none.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def resolver_names(given: str | None) -> list[str] | None:
    """Return the names of resolvers on the command line.

    :param given: the value of ``--resolvers``; ``none`` gives no names, None the default ones.
    """
    if given is None:
        return None
    return [name.strip() for name in given.split(",") if name.strip() not in ("", "none")]


def patches_folder(given: Path | None, model: str = "atlas") -> Path:
    """Return the folder of patches a command works on.

    :param given: the value of ``--patches``; without one it is ``./patches``, else the patches
        saved with the model, else the starter patches.
    :param model: the value of ``--model``.
    """
    from errata.pretrained import stored_patches

    if given is not None:
        return given
    local = Path("patches")
    return local if local.is_dir() else stored_patches(model) or starter_patches()


def own_patches(given: Path | None) -> Path:
    """Return the folder of patches a command writes to: never the starter patches.

    :param given: the value of ``--patches``; without one it is ``./patches``.
    :raises ErrataError: there is none.
    """
    from errata.cache.errors import ErrataError

    folder = given if given is not None else Path("patches")
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise ErrataError(
            f"{folder}: expected a folder of patches, found {found}: name another, or make one by "
            "`errata add`"
        )
    return folder


def starter_patches() -> Path:
    """Return the folder of the patches that ship with errata."""
    # A folder of data without __init__.py: its spec gives the location on every Python.
    spec = importlib.util.find_spec("errata.patches")
    locations = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(locations[0]) if locations else Path(__file__).parent.parent / "patches"


def cache_folder(given: str | None) -> str | Path | None:
    """Return the folder or database of edits a command reads, or None if there is none yet.

    :param given: the value of ``--cache``; without one it is ``.errata`` if that exists, so that
        reading creates no folder.
    """
    if given is not None:
        return given
    return CACHE if CACHE.is_dir() else None
