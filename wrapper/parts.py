"""The parts of an EditableModel: an instance is taken as it is, a name is looked up."""

from __future__ import annotations

from errata.cache.encoder import Encoder
from errata.cache.errors import ErrataError
from errata.gates import load_gate
from errata.gates.base import Gate
from errata.reasoners.base import Reasoner
from errata.registry import make


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
        return load_gate(gate or "default", encoder)
    return gate


def choose_reasoner(reasoner: Reasoner | str | None) -> Reasoner:
    """Return the reasoner: verbatim, one by name, or the instance."""
    if reasoner is None or isinstance(reasoner, str):
        made: Reasoner = make("errata.reasoners", reasoner or "verbatim")
        return made
    return reasoner
