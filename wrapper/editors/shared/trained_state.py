"""The state of a trained editor: a folder with its parameters and a card."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ModelError
from errata.cache.storage.atomic import write_atomically
from errata.generation.fingerprint import base_fingerprint

if TYPE_CHECKING:
    import torch
    from torch import nn

CARD, STATE = "editor.json", "editor.safetensors"
FORMAT = 1
SHIPPED = Path(__file__).parents[1] / "weights"
"""Trained editors that errata ships: NAME/MODEL."""


@dataclass(frozen=True, slots=True)
class EditorCard:
    """What is stored with the parameters of a trained editor.

    :param editor: its name.
    :param base: :func:`~errata.generation.fingerprint.base_fingerprint` of the model it is for.
    :param weights: SHA-256 of the file of parameters.
    :param settings: all of the editor's settings.
    :param training: settings, data, steps and seconds of the run.
    :param figures: on tune subjects: rates of success, generality and drawdown, with n.
    """

    editor: str
    base: str
    weights: str
    settings: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)


def write_state(
    folder: Path,
    editor: str,
    model: nn.Module,
    learner: nn.Module,
    settings: Any,
    training: dict[str, Any],
    figures: dict[str, Any],
) -> None:
    """Write a trained editor; its parameters are rounded to half precision.

    :param folder: is made.
    :param editor: its name.
    :param model: the base model.
    :param learner: its parameters, and its buffers, which keep their precision.
    :param settings: of the editor, a dataclass.
    :param training: for the card, like ``figures``.
    """
    import torch
    from safetensors.torch import save

    parameters = {name for name, _ in learner.named_parameters()}
    tensors = {
        name: value.detach().to("cpu", torch.float16 if name in parameters else torch.float32)
        for name, value in learner.state_dict().items()
    }
    data = save({name: value.contiguous() for name, value in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    card = EditorCard(editor, base_fingerprint(model), digest, asdict(settings), training, figures)
    text = json.dumps({"format": FORMAT, **asdict(card)}, indent=1, ensure_ascii=False)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / STATE, data)
    write_atomically(folder / CARD, (text + "\n").encode())


def find_state(editor: str, model: nn.Module, folder: str | Path | None) -> Path:
    """Return the folder of the state of an editor for a model.

    :param editor: its name.
    :param model: the base model, with or without edits in its weights.
    :param folder: one that is chosen; None takes a shipped one of this base model.
    :raises ModelError: there is none.
    """
    if folder is not None:
        return Path(folder)
    base = base_fingerprint(model)
    for path in sorted((SHIPPED / editor).glob(f"*/{CARD}")):
        if _read(path).base == base:
            return path.parent
    raise ModelError(
        f"expected a trained {editor} for this base model, found none; train it with `errata "
        f"editor train {editor} --model MODEL --out DIR`, and pass trained=DIR"
    )


def read_card(folder: Path, editor: str, model: nn.Module) -> EditorCard:
    """Return the card of a trained editor, checked against the editor, the model, and its file.

    :raises ModelError: there is none, it is damaged, of another editor, or of another base model.
    """
    card = _read(folder / CARD)
    if card.editor != editor:
        raise ModelError(
            f"{folder / CARD}: expected a trained {editor}, found {card.editor}; name another "
            f"folder, or use {card.editor}"
        )
    base = base_fingerprint(model)
    if card.base != base:
        raise ModelError(
            f"{folder / CARD}: expected an editor trained for this base model ({base[:12]}…), "
            f"found one for another ({card.base[:12]}…); train it with `errata editor train "
            f"{editor} --model MODEL --out DIR`"
        )
    return card


def read_state(folder: Path, card: EditorCard) -> dict[str, torch.Tensor]:
    """Return the parameters of a trained editor.

    :raises ModelError: the file is missing, or is not the card's.
    """
    from safetensors.torch import load

    path = folder / STATE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"expected the parameters of a trained editor at {path}, found: {error}; train it again"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.weights:
        raise ModelError(
            f"{path}: expected SHA-256 {card.weights[:12]}…, found {found[:12]}…; the parameters "
            "are not those of the card: restore the file, or train the editor again"
        )
    return load(data)


def _read(path: Path) -> EditorCard:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body.pop("format") != FORMAT:
            raise ModelError(
                f"{path}: expected format {FORMAT}, found another; train the editor again"
            )
        return EditorCard(**body)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: expected the card that `errata editor train` wrote, found: {error}; restore "
            "it, or train the editor again"
        ) from error
