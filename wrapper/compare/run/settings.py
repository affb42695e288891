"""What a comparison is asked to do, and the fingerprint by which a run is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from errata.cache.errors import ErrataError

Mode = Literal["single", "batch", "sequential"]
MODES: tuple[Mode, ...] = get_args(Mode)

NEW_TOKENS = 24
"""Tokens an answer may have; the same for every backend and for the unedited model."""
BATCH = 64
"""Most questions asked in one batch. A case's questions are always asked in the same batches."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is compared, on what, and how it is measured.

    :param backends: names, the first the one that the others are tested against.
    :param data: the file of cases.
    :param format: the file's format; None finds it out.
    :param model: folder, hub id, or ``atlas``.
    :param n: cases drawn for each seed; None takes all.
    :param seeds: one draw of cases each.
    :param modes: ``single``: each edit alone, then undone; ``batch``: edits made in one go, in
        chunks of each size; ``sequential``: one after another, measured after each size.
    :param sizes: numbers of edits in force together; those above n become n.
    :param new_tokens: most tokens of an answer.
    :param batch: most questions in a batch.
    :param open: file of open questions, which no edit is about.
    :param open_n: how many of them, over all seeds; None takes all.
    :param background: file of edits that are in the caches besides those judged.
    :param text: held-out text for perplexity; see also :func:`text_beside`.
    :param gate: of the cache.
    :param reasoner: of the cache.
    :param encoder: of the cache.
    :param options: for backends, by name.
    :param extras: cases a seed of which fluency and latency are measured, too.
    """

    backends: tuple[str, ...]
    data: Path
    format: str | None = None
    model: str = "atlas"
    n: int | None = 200
    seeds: tuple[int, ...] = (0,)
    modes: tuple[Mode, ...] = ("single",)
    sizes: tuple[int, ...] = (1, 10, 100)
    new_tokens: int = NEW_TOKENS
    batch: int = BATCH
    open: Path | None = None
    open_n: int | None = None
    background: Path | None = None
    text: Path | None = None
    gate: str | None = None
    reasoner: str | None = None
    encoder: str | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    extras: int = 20

    def __post_init__(self) -> None:
        """Check what can be checked without a model.

        :raises ErrataError: a mode, a size or a list that makes no sense.
        """
        for mode in self.modes:
            if mode not in MODES:
                raise ErrataError(f"expected a mode among {', '.join(MODES)}, found {mode!r}")
        for name in ("backends", "seeds", "modes", "sizes"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ErrataError(f"expected {name}, each once, found {list(values)}")
        if min(self.sizes) < 1 or (self.n is not None and self.n < 1):
            raise ErrataError(
                f"expected sizes and n of at least 1, found sizes {list(self.sizes)}, n {self.n}"
            )
        unknown = sorted(set(self.options) - set(self.backends))
        if unknown:
            raise ErrataError(
                f"expected options of backends that are compared ({', '.join(self.backends)}), "
                f"found options of {', '.join(unknown)}"
            )

    def protocol(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """Return what two runs have to share for their records to stand side by side.

        Backends, modes and sizes are not part of it: every record names its own, so that more
        of them can join a run later. Nor is what only some backends use, such as a gate.

        :param parts: fingerprints of model and encoder, and the dtype.
        """
        files = {
            name: None if path is None else {"name": path.name, "sha256": file_digest(path)}
            for name, path in (
                ("data", self.data), ("open", self.open), ("background", self.background),
                ("text", self.text),
            )
        }  # fmt: skip
        own = {
            name: value
            for name, value in asdict(self).items()
            if name in ("format", "model", "n", "new_tokens", "batch", "open_n", "encoder",
                        "extras")
        }  # fmt: skip
        return {**own, "seeds": list(self.seeds), "files": files, "parts": dict(parts)}


def fingerprint(value: Mapping[str, Any]) -> str:
    """Return a digest of JSON values, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def text_beside(data: Path) -> Path:
    """Return where held-out text lies for a file of cases: ``bench.held-out.txt``."""
    return data.parent / f"{data.stem}.held-out.txt"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files and their names.

    :raises ErrataError: there is no such file.
    """
    digest = hashlib.sha256()
    try:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if path.is_dir():
                digest.update(f"{file.relative_to(path)}\0".encode())
            digest.update(file.read_bytes())
    except OSError as error:
        raise ErrataError(f"expected a file at {path}, found: {error}") from error
    return digest.hexdigest()
