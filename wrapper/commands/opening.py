"""Opening models, encoders and caches: the one place where a command waits for torch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from errata.commands.output import console

if TYPE_CHECKING:
    from errata.cache.encoder import Encoder
    from errata.cache.store import EditCache
    from errata.gates.evaluation.base_agreement import AnswerBatch
    from errata.model import EditableModel

ATLAS = "atlas"


def open_model(
    model: str,
    patches: Path | None,
    cache: Path | None = None,
    encoder: str | None = None,
    gate: str | None = None,
    reasoner: str | None = None,
) -> EditableModel:
    """Return the wrapped model.

    :param model: ``atlas``, a folder, or a hub id.
    :param patches: folder of patches, or None.
    :param cache: folder of edits, or None for memory only.
    :param encoder: a sentence-transformers folder or hub id, or None for the default.
    :param gate: a shipped gate's name, the folder of one, or None for the usual one.
    :param reasoner: a reasoner's name or folder, or None for the default.
    :raises ErrataError: if any of them cannot be loaded.
    """
    with console(stderr=True).status("loading the model"):
        from errata.model import EditableModel

        return EditableModel.from_pretrained(
            model,
            patches=patches,
            cache=cache,
            encoder=open_encoder(encoder),
            gate=gate,
            reasoner=reasoner,
        )


def open_encoder(name: str | None) -> Encoder:
    """Return the sentence encoder.

    :param name: a sentence-transformers folder or hub id, or None for the default.
    """
    from errata.encoder import SentenceEncoder

    return SentenceEncoder(name)


def base_answers(model: str | None) -> AnswerBatch | None:
    """Return the answers of a base model, for gates that consult one when uncertain.

    :param model: ``atlas``, a folder or a hub id; None or ``none`` for no base model.
    """
    if model in (None, "none"):
        return None
    from errata.models.load import load_base
    from errata.reasoners.base_answers import complete_answers

    return partial(complete_answers, *load_base(str(model)))


def open_cache(
    cache: Path | None, patches: Path | None, encoder: str | None, *, reencode: bool = False
) -> EditCache:
    """Return the edits, those of the patch files among them; no language model is needed.

    :param cache: folder of edits, or None for memory only.
    :param patches: folder of patches, or None.
    :param encoder: a sentence-transformers folder or hub id, or None for the default.
    :param reencode: encode everything anew where another encoder was used before.
    :raises ErrataError: if the cache or a patch is damaged, or the cache is another encoder's.
    """
    from errata.cache.patches.files import load_folder
    from errata.cache.store import EditCache

    filed = () if patches is None else load_folder(patches)
    with console(stderr=True).status("opening the cache"):
        opened = EditCache(open_encoder(encoder), cache, reencode=reencode)
        try:
            opened.set_files(filed)
        except BaseException:
            opened.close()
            raise
    return opened
