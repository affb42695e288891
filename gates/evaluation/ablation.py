"""A trained gate without its cross-encoder."""

from __future__ import annotations

from dataclasses import replace

from errata.cache.errors import ModelError
from errata.gates.artifact import GateArtifact

PARTS = ("cross",)


def without_part(artifact: GateArtifact, part: str) -> GateArtifact:
    """Return a trained gate without its cross-encoder, for an ablation.

    The rest is not fitted again: its ranking is that of the first stage, its probabilities are no
    longer calibrated.

    :param artifact: a gate of two stages.
    :param part: ``cross``.
    :raises ModelError: there is no such part.
    """
    if part not in PARTS or artifact.second is None:
        found = repr(part) if part not in PARTS else f"{part!r} of a gate of one stage"
        raise ModelError(
            f"expected a part of a gate of two stages, {' or '.join(PARTS)}, found {found}; name "
            "another part or another gate"
        )
    # these scores are of the whole gate; no threshold of a part may be picked by them
    card = {key: value for key, value in artifact.card.items() if key != "negative_scores"}
    return replace(artifact, card=card, second=None)
