"""The card of a trained reasoner: what it was trained for, on what, and how well it does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from errata.cache.errors import ModelError
from errata.cache.storage.atomic import write_atomically
from errata.reasoners.abstention import AbstentionPenalties
from errata.reasoners.prompts import TRAINED_FORM, PromptForm

FILE = "reasoner.json"
FORMAT = 1

_FIELDS_OF_0_1 = {"usual": "default", "agreeing": "base_agrees", "unsure": "base_uncertain"}
"""Fields of :class:`AbstentionPenalties` in cards of errata 0.1, under the key ``reluctance``."""
KINDS = ("adapter", "model")


@dataclass(frozen=True, slots=True)
class ReasonerCard:
    """What is stored with the weights of a reasoner.

    :param kind: ``adapter`` or ``model``.
    :param base: fingerprint of the base model it was trained for; a separate model also works
        with others.
    :param weights: SHA-256 of the weights file.
    :param file: name of the weights file.
    :param chat: whether it was trained with the tokenizer's chat template.
    :param lora: settings of the adapter, for peft; empty for a separate model.
    :param abstention: penalties on an empty answer (:mod:`errata.reasoners.abstention`).
    :param training: settings, data and time of the run.
    :param figures: for each kind of question, hits, n and interval on tune subjects.
    :param form: the wording of its prompts, fields of :class:`errata.reasoners.prompts.PromptForm`;
        those that are not named are as in the trained form.
    :param says: whether it was trained on ``say that …``.
    """

    kind: str
    base: str
    weights: str
    file: str
    chat: bool = False
    lora: dict[str, Any] = field(default_factory=dict)
    abstention: AbstentionPenalties = field(default_factory=AbstentionPenalties)
    training: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    form: dict[str, Any] = field(default_factory=dict)
    says: bool = False

    @property
    def prompt_form(self) -> PromptForm:
        """The wording of the prompts it was trained with."""
        return replace(TRAINED_FORM, **self.form)

    def write(self, folder: Path) -> None:
        """Write the card; call it after the weights, so that a card always has its weights."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)
        write_atomically(folder / FILE, text.encode())


def read_card(folder: Path) -> ReasonerCard:
    """Return the card of a stored reasoner, its weights checked against it.

    :raises ModelError: there is none, it is damaged, or the weights are not the card's.
    """
    path = folder / FILE
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body.pop("format") != FORMAT:
            raise ModelError(
                f"{path}: expected format {FORMAT}, found another; train it again with this errata"
            )
        body["abstention"] = _abstention(body)
        card = ReasonerCard(**body)
        replace(TRAINED_FORM, **card.form)
        if card.kind not in KINDS:
            raise ModelError(
                f"{path}: expected a reasoner of kind {' or '.join(KINDS)}, found {card.kind!r}; "
                "restore the file, or train the reasoner again"
            )
        data = (folder / card.file).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(
            f"expected a reasoner at {folder}, found no {Path(error.filename).name}; name a folder "
            "that `errata reasoner train` wrote"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ModelError(
            f"{path}: expected the card that `errata reasoner train` wrote, found {error}; restore "
            "the file, or train the reasoner again"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.weights:
        raise ModelError(
            f"{folder / card.file}: expected SHA-256 {card.weights[:12]}…, found {found[:12]}…; "
            "the weights are not those of the card: restore the file, or train the reasoner again"
        )
    return card


def _abstention(body: dict[str, Any]) -> AbstentionPenalties:
    """Return the penalties of a card's body, and remove the key of errata 0.1 from it."""
    of_0_1 = body.pop("reluctance", {})
    renamed = {_FIELDS_OF_0_1[key]: value for key, value in of_0_1.items()}
    return AbstentionPenalties(**body.get("abstention", renamed))
