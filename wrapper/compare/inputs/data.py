"""Reading what a comparison works on: cases, open questions, background edits, text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.patches.files import load_file, load_folder
from errata.cache.records import Edit
from errata.compare.inputs.cases import Case
from errata.compare.run.backend_names import CACHE, SHUFFLED, VERBATIM, Workshop
from errata.compare.run.runner import Material, deal_opens
from errata.compare.run.settings import Settings, file_digest, fingerprint
from errata.compare.run.training_time import card_of
from errata.gates.data.jsonl import json_object, text_at, text_lines
from errata.registry import names

if TYPE_CHECKING:
    from errata.model import EditableModel

TEXTS = 64
"""Paragraphs of held-out text that are read."""


def read_material(settings: Settings) -> Material:
    """Return what the settings name.

    :raises ErrataError: a file is missing or malformed; names file and line or index.
    """
    from errata.compare.inputs.files import load_cases

    cases = {
        seed: tuple(load_cases(settings.data, settings.format, settings.n, seed))
        for seed in settings.seeds
    }
    opens = [] if settings.open is None else _untaught(read_questions(settings.open), cases)
    texts = () if settings.text is None else tuple(islice(_paragraphs(settings.text), TEXTS))
    return Material(cases, deal_opens(opens, settings.seeds, settings.open_n), texts)


def read_questions(path: Path) -> list[str]:
    """Return questions: JSON lines with ``question``, or one a line; ``.gz`` of either is read.

    :raises ModelError: the file cannot be read, or a line is neither; names file and line.
    """
    return [
        text_at(where, json_object(where, line), "question")
        if line.lstrip().startswith("{")
        else line.strip()
        for where, line in text_lines(path)
    ]


def read_background(path: Path | None) -> tuple[Edit, ...]:
    """Return the edits of a patch file or folder; none without a path.

    :raises errata.cache.errors.PatchError: a patch is wrong.
    """
    if path is None:
        return ()
    return load_folder(path) if path.is_dir() else load_file(path)


def split_of(material: Material) -> dict[str, str]:
    """Return the splits that cases and open questions are of; nothing of what there is not."""
    split = ", ".join(sorted(filter(None, _splits(material.cases))))
    opens = {"open questions": f"{_open_split(material.cases)} split"}
    return {
        **({"split": split} if split else {}),
        **(opens if any(material.opens.values()) else {}),
    }


def _splits(cases: Mapping[int, Sequence[Case]]) -> set[str]:
    return {case.split for each in cases.values() for case in each}


def _open_split(cases: Mapping[int, Sequence[Case]]) -> str:
    return "tune" if "tune" in _splits(cases) else "test"


def _untaught(questions: Sequence[str], cases: Mapping[int, Sequence[Case]]) -> list[str]:
    """Return the questions that no gate learns from: the test half, or with tune cases the tune's.

    Gates are trained on the other ones of the same file, by the same rule.
    """
    from errata.gates.data.pairs import open_split

    wanted = _open_split(cases)
    return [question for question in questions if open_split(question) == wanted]


def parts_of(model: EditableModel, background: Sequence[Edit]) -> dict[str, Any]:
    """Return the fingerprints of what every backend shares: model and encoder.

    :param model: as it is compared.
    :param background: edits that every cache holds besides those judged; their number is told.
    """
    from errata import __version__
    from errata.generation.fingerprint import fingerprint as model_fingerprint

    return {
        "errata": __version__,
        "model": model_fingerprint(model.base),
        "dtype": str(next(model.base.parameters()).dtype).removeprefix("torch."),
        "device": model.base.device.type,
        "encoder": model.encoder.fingerprint,
        "background edits": len(background),
    }


def own_parts(workshop: Workshop, settings: Settings) -> dict[str, dict[str, str]]:
    """Return of each pipeline what tells its gate and its reasoner from others.

    :param workshop: has made the backends.
    :param settings: names them, and how gate and reasoner of the cache were named.
    """
    found = {}
    for name in settings.backends:
        used = workshop.pipeline(name)
        if used is not None:
            plain = name.removeprefix(SHUFFLED)
            gate = settings.gate if plain in (CACHE, VERBATIM) else None
            reasoner = settings.reasoner if plain == CACHE else None
            found[name] = {
                "gate": _identity(used.gate, gate, "stored"),
                "reasoner": _identity(used.reasoner, reasoner, "chosen"),
            }
    return found


def _identity(part: Any, given: str | None, inner: str) -> str:
    """Return what tells a gate or a reasoner from another: its files, else its card, its class."""
    if given is not None and given not in names("errata.reasoners") and Path(given).is_dir():
        return file_digest(Path(given))
    told = card_of(part, inner)
    name = type(getattr(part, inner, part)).__name__
    return name if told is None else f"{name} {fingerprint({'card': told})[:16]}"


def _paragraphs(path: Path) -> Iterator[str]:
    from errata.editors.shared.corpus import text_files

    return text_files([path])
