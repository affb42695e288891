"""Fingerprints of what a run is measured with: model, encoder, gates and reasoners."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.records import Edit
from errata.compare.inputs.digest import file_digest, json_digest
from errata.compare.run.backend_factory import BackendFactory
from errata.compare.run.backend_names import SHUFFLED, VERBATIM, is_cache, resolvers_of
from errata.compare.run.settings import Settings
from errata.compare.run.training_time import training_card
from errata.registry import names

if TYPE_CHECKING:
    from errata.model import EditableModel


def shared_fingerprints(model: EditableModel, background: Sequence[Edit]) -> dict[str, Any]:
    """Return the fingerprints of what all backends share: model and encoder.

    :param model: as it is compared.
    :param background: edits that every cache holds besides those evaluated; only their number
        is included.
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


def backend_fingerprints(factory: BackendFactory, settings: Settings) -> dict[str, dict[str, str]]:
    """Return the fingerprints of each pipeline's gate and reasoner.

    :param factory: has created the backends.
    :param settings: name the backends, and the gate and reasoner of the cache.
    """
    found = {}
    for name in settings.all_backends:
        pipeline = factory.pipeline(name)
        if pipeline is not None:
            plain = name.removeprefix(SHUFFLED)
            gate = settings.gate if is_cache(plain) else None
            reasoner = settings.reasoner if is_cache(plain) and plain != VERBATIM else None
            found[name] = {
                "gate": _fingerprint(pipeline.gate, gate, "artifact"),
                "reasoner": _fingerprint(pipeline.reasoner, reasoner, "chosen"),
            }
            if settings.resolvers is not None and resolvers_of(plain) is None and is_cache(plain):
                found[name]["resolvers"] = ", ".join(settings.resolvers)
    return found


def _fingerprint(part: Any, given: str | None, inner: str) -> str:
    """Return the digest of a gate's or reasoner's folder, else its class and card's digest."""
    if given is not None and given not in names("errata.reasoners") and Path(given).is_dir():
        return file_digest(Path(given))
    card = training_card(part, inner)
    name = type(getattr(part, inner, part)).__name__
    return name if card is None else f"{name} {json_digest({'card': card})[:16]}"
