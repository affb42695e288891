"""Settings of a comparison, and the protocol by which a run is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from errata.cache.errors import ErrataError
from errata.compare.inputs.digest import file_digest
from errata.compare.run.backend_names import with_controls

Mode = Literal["single", "batch", "sequential"]
MODES: tuple[Mode, ...] = get_args(Mode)

ALL = 10**9
"""The number of edits that ``all`` stands for: more than any file holds."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is compared, on what, and how it is measured: the keys of ``--config``.

    :param data: the file of cases.
    :param backends: names; the others are tested against the first.
    :param controls: add the controls: no edit, shuffled answers, …
    :param options: of backends, by name, such as ``{"rome": {"layer": 5}}``.
    :param format: the file's format; None detects it.
    :param model: folder, hub id, ``atlas``, or ``smollm2``.
    :param gate: of the cache.
    :param reasoner: of the cache.
    :param encoder: of the cache.
    :param resolvers: of the cache, in order; None takes the default ones.
    :param n: cases drawn for each seed; None takes all.
    :param split: only cases of this split, ``test`` or ``tune``: question pairs are split as for
        training gates, by hash, other data carry theirs. None takes all.
    :param seeds: one draw of cases each.
    :param modes: ``single``: each edit alone, then undone; ``batch``: edits applied in one go, in
        chunks of each size; ``sequential``: one after another, measured after each size.
    :param sizes: numbers of edits in force together; those above n become n; ``all`` is n.
    :param open_questions: file of questions that no edit is about, for locality.
    :param n_open_questions: how many of them, over all seeds; None takes all.
    :param background: file of edits that are in the caches besides those evaluated.
    :param text: held-out text for perplexity; by default that of
        :func:`errata.compare.inputs.data.held_out_text_path`, if it is there.
    :param max_new_tokens: most tokens of an answer, the same for every backend and for the
        unedited model: 24 hold the answers of all data read here, which are names and dates, and
        an answer that goes on is wrong in any case.
    :param batch_size: most questions in a batch; a case's are always asked in the same batches, so
        that rounding is the same for every backend.
    :param teacher_forcing: score given texts as well: CounterFact's and zsRE's scores, KL and
        argmax along the unedited model's answers. It takes as long as generating the answers.
    :param latency_cases: cases a seed of which latency and fluency are measured: the two take as
        long as all else, and medians of 20 are steady.
    """

    data: Path
    backends: tuple[str, ...] = ("cache", "rome", "lora", "ft")
    controls: bool = True
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    format: str | None = None
    model: str = "atlas"
    gate: str | None = None
    reasoner: str | None = None
    encoder: str | None = None
    resolvers: tuple[str, ...] | None = None
    n: int | None = None
    split: Literal["test", "tune"] | None = None
    seeds: tuple[int, ...] = (0,)
    modes: tuple[Mode, ...] = ("single",)
    sizes: tuple[int | Literal["all"], ...] = (1, 10, 100)
    open_questions: Path | None = None
    n_open_questions: int | None = None
    background: Path | None = None
    text: Path | None = None
    max_new_tokens: int = 24
    batch_size: int = 64
    teacher_forcing: bool = True
    latency_cases: int = 20

    def __post_init__(self) -> None:
        """Check what can be checked without a model.

        :raises ErrataError: a mode, number or list is invalid.
        """
        for mode in self.modes:
            if mode not in MODES:
                raise ErrataError(f"expected a mode among {', '.join(MODES)}, found {mode!r}")
        for name in ("backends", "seeds", "modes", "sizes"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ErrataError(f"expected {name}, each once, found {list(values)}")
        if min(self.edit_counts) < 1 or (self.n is not None and self.n < 1):
            raise ErrataError(
                f"expected sizes and n of at least 1, found sizes {list(self.sizes)}, n {self.n}"
            )
        for name, least in (
            ("n_open_questions", 1), ("max_new_tokens", 1), ("batch_size", 1), ("latency_cases", 0)
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < least:
                raise ErrataError(f"expected {name} of at least {least}, found {value}")
        unknown = sorted(set(self.options) - set(self.all_backends))
        if unknown:
            raise ErrataError(
                f"expected options of backends that are compared ({', '.join(self.all_backends)}),"
                f" found options of {', '.join(unknown)}"
            )

    @property
    def all_backends(self) -> tuple[str, ...]:
        """The backends, followed by their controls if there are any."""
        return with_controls(self.backends) if self.controls else self.backends

    @property
    def edit_counts(self) -> tuple[int, ...]:
        """The sizes as numbers."""
        return tuple(ALL if size == "all" else size for size in self.sizes)

    def protocol(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """Return what two runs have to share for their records to be compared.

        Backends, modes and sizes are left out: every record has them, and others can join a run
        later. So are the parts that only some backends use, such as a gate.

        :param parts: fingerprints of model and encoder, and the dtype.
        """
        files = {
            name: None if path is None else {"name": path.name, "sha256": file_digest(path)}
            for name, path in (
                ("data", self.data), ("open", self.open_questions),
                ("background", self.background), ("text", self.text),
            )
        }  # fmt: skip
        return {
            "format": self.format, "model": self.model, "n": self.n,
            **({} if self.split is None else {"split": self.split}),
            **({} if self.teacher_forcing else {"teacher_forcing": False}),
            "new_tokens": self.max_new_tokens, "batch": self.batch_size,
            "open_n": self.n_open_questions, "encoder": self.encoder,
            "extras": self.latency_cases, "seeds": list(self.seeds), "files": files,
            "parts": dict(parts),
        }  # fmt: skip
