"""The options that several commands share, and what they default to."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

CACHE = Path(".errata")
"""Where the command line keeps edits, unless ``--cache`` says otherwise."""


def text(value: str) -> str:
    """Return a text given on the command line, stripped.

    :param value: what the shell passed.
    :raises typer.BadParameter: if it is empty, or not UTF-8.
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
        metavar="QUESTION", callback=text, help="What to ask, in quotes.", show_default=False
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="PATH_OR_HUB_ID", help="The language model; atlas is the shipped one."
    ),
]
Patches = Annotated[
    Path | None,
    typer.Option(
        "--patches",
        metavar="DIR",
        help="Folder of patches; by default ./patches if it is there, else the starter patches.",
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Folder of the edits made with `errata edit`; by default .errata if it is there.",
    ),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="PATH_OR_HUB_ID",
        help="The sentence encoder; by default the installed all-MiniLM-L6-v2.",
    ),
]
Gate = Annotated[
    str | None,
    typer.Option(
        "--gate",
        metavar="NAME_OR_DIR",
        help="Who decides which patch governs what is asked: clear, default, or a folder "
        "that `errata gate train` wrote; by default clear.",
    ),
]
Reasoner = Annotated[
    str | None,
    typer.Option(
        "--reasoner",
        metavar="NAME_OR_DIR",
        help="Who answers what only follows from a patch: adapter, prompted, verbatim, or a folder "
        "that `errata reasoner train` wrote; by default the adapter trained for the model.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def patches_folder(given: Path | None, model: str = "atlas") -> Path:
    """Return the folder of patches a command works on.

    :param given: what ``--patches`` said; if nothing, ``./patches``, those saved with the model,
        or the starter patches.
    :param model: what ``--model`` said.
    """
    from errata.pretrained import stored_patches

    if given is not None:
        return given
    here = Path("patches")
    return here if here.is_dir() else stored_patches(model) or starter_patches()


def starter_patches() -> Path:
    """Return the folder of patches that is installed with the package."""
    # a folder of data without __init__.py: only its spec knows where it is, on every Python
    spec = importlib.util.find_spec("errata.patches")
    locations = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(locations[0]) if locations else Path(__file__).parent.parent / "patches"


def cache_folder(given: Path | None) -> Path | None:
    """Return the folder of edits a command reads, or None where there is none yet.

    :param given: what ``--cache`` said; if nothing, ``.errata`` where it exists, so that asking
        leaves nothing behind.
    """
    if given is not None:
        return given
    return CACHE if CACHE.is_dir() else None
