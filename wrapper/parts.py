"""The parts of an EditableModel: an instance is taken as it is, a name is looked up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from errata.cache.encoder import Encoder
from errata.cache.errors import ErrataError, ModelError
from errata.gates import load_gate
from errata.gates.base import Gate
from errata.reasoners.base import Reasoner
from errata.reasoners.card import read_card
from errata.registry import make, names

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


USUAL_GATE = "clear"
"""The gate of a model for which none is named: of the shipped ones the better on facts
(docs/gate.md), and clear of the terms that the other's question pairs come under."""


def choose_encoder(encoder: Encoder | str | None, device: str | None) -> Encoder:
    """Return the encoder: the default one, a sentence-transformers model, or the instance."""
    if encoder is not None and not isinstance(encoder, str):
        if device is not None:
            raise ErrataError(
                f"expected encoder_device only with an encoder by name, found {device!r} beside an "
                "instance; put the instance where it is to run"
            )
        return encoder
    from errata.encoder import SentenceEncoder

    return SentenceEncoder(encoder, device=device)


def choose_gate(gate: Gate | str | None, encoder: Encoder) -> Gate:
    """Return the gate: the shipped one, one by name, or the instance."""
    if gate is None or isinstance(gate, str):
        return load_gate(gate or USUAL_GATE, encoder)
    return gate


def choose_reasoner(
    reasoner: Reasoner | str | Path | None,
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
) -> Reasoner:
    """Return the reasoner: the default one, one by name, a trained one by folder, or the instance.

    :param reasoner: a name is looked up among ``errata.reasoners`` and called with base and
        tokenizer; a folder is what ``errata reasoner train`` wrote.
    :param base: the base model.
    :param tokenizer: its tokenizer.
    :raises ErrataError: no such name or folder, or a reasoner of another base.
    """
    if reasoner is not None and not isinstance(reasoner, (str, Path)):
        return reasoner
    named = names("errata.reasoners")
    made: Reasoner
    if isinstance(reasoner, Path) or (reasoner and "/" in reasoner):
        if not Path(reasoner).is_dir():
            raise ModelError(
                f"expected the folder of a trained reasoner at {reasoner}, found none; train one "
                f"with `errata reasoner train --out {reasoner}`, or choose one of {sorted(named)}"
            )
    if reasoner is not None and str(reasoner) not in named and Path(reasoner).is_dir():
        kind = read_card(Path(reasoner)).kind
        made = make("errata.reasoners", kind, base, tokenizer, reasoner)
    else:
        made = make("errata.reasoners", str(reasoner or "default"), base, tokenizer)
    return made
