"""Save and load an EditableModel: a `transformers` folder with a subfolder of edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from errata.cache.patches.files import dump_file
from errata.cache.records import Edit

_SUBFOLDER = Path("errata") / "patches"
_CONSTRUCTOR_OPTIONS = (
    "patches", "cache", "gate", "reasoner", "resolvers", "encoder", "encoder_device", "index",
    "shadow", "verification", "mentions", "watch", "audit",
    "rollouts",
)  # fmt: skip


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of EditableModel's constructor, and those for `transformers`."""
    ours = {name: value for name, value in options.items() if name in _CONSTRUCTOR_OPTIONS}
    return ours, {name: value for name, value in options.items() if name not in ours}


def store_patches(folder: str | Path, edits: Sequence[Edit]) -> None:
    """Write edits into a saved model's folder."""
    target = Path(folder) / _SUBFOLDER
    target.mkdir(parents=True, exist_ok=True)
    dump_file(edits, target / "edits.jsonl")


def stored_patches(name: str | Path) -> Path | None:
    """Return the folder of edits saved with a model, or None."""
    folder = Path(name) / _SUBFOLDER
    return folder if folder.is_dir() else None
