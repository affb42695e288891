"""Load models, encoders and caches for the commands; torch is imported here, on first use."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from errata.commands.progress import working

if TYPE_CHECKING:
    from errata.cache.encoder import Encoder
    from errata.cache.patches.folder import PatchFolder
    from errata.cache.store import EditCache
    from errata.gates.evaluation.base_agreement import AnswerBatch
    from errata.model import EditableModel

log = logging.getLogger("errata")

ATLAS = "atlas"
"""The default of ``--model``."""


def demo_model() -> str:
    """Return the model of ``errata demo``: ``smollm2`` where its package is, else ``atlas``."""
    from errata.models.smollm2 import is_available

    return "smollm2" if is_available() else ATLAS


def open_model(
    model: str,
    patches: Path | PatchFolder | None,
    cache: str | Path | None = None,
    encoder: str | None = None,
    gate: str | None = None,
    reasoner: str | None = None,
    mentions: str = "off",
    resolvers: Sequence[str] | None = None,
) -> EditableModel:
    """Return the wrapped model.

    :param model: ``atlas``, ``smollm2``, a folder, or a hub id.
    :param patches: folder of patches, named or read, or None.
    :param cache: folder or database of edits, or None for memory only.
    :param encoder: a sentence-transformers folder or hub id, or None for the default.
    :param gate: a shipped gate's name, a folder, or None for the default.
    :param reasoner: a reasoner's name or folder, or None for the default.
    :param mentions: ``off`` or ``context``, as :class:`errata.EditableModel` takes it.
    :param resolvers: names of resolvers, in order, or None for the default ones.
    :raises ErrataError: if any of them cannot be loaded.
    """
    from errata.models.load import prepare

    prepare(model)  # shows its own progress
    with working("loading the model"):
        from errata.model import EditableModel

        _hide_progress_bars()
        return EditableModel.from_pretrained(
            model,
            patches=patches,
            cache=cache,
            encoder=open_encoder(encoder),
            gate=gate,
            reasoner=reasoner,
            mentions=mentions,
            resolvers=resolvers,
        )


def open_checked(
    model: str,
    patches: PatchFolder,
    encoder: str | None = None,
    gate: str | None = None,
    resolvers: Sequence[str] | None = None,
) -> EditableModel:
    """Return the wrapped model with the patches of a folder and no other edits.

    The encodings of the patches are kept in the user's cache folder, so that the next check of the
    folder encodes what is new; where they cannot be kept, they are not. Those of folders that have
    not been checked for 90 days are removed.

    :param patches: folder of patches, read; the other parameters are those of :func:`open_model`.
    :raises ErrataError: if any of them cannot be loaded.
    """
    from errata.cache.errors import StoreError
    from errata.cache.storage.user_cache import mark_used, remove_unused, user_cache_folder

    name = hashlib.sha256(str(patches.path.resolve()).encode(errors="surrogateescape")).hexdigest()
    kept = user_cache_folder() / "check" / name[:16]
    mark_used(kept)
    remove_unused(kept.parent)
    try:
        return open_model(model, patches, kept, encoder, gate, resolvers=resolvers)
    except StoreError as error:
        log.debug("%s: encodings are not kept: %s", kept, error)
    return open_model(model, patches, None, encoder, gate, resolvers=resolvers)


def open_encoder(name: str | None, *, english_only: bool = False) -> Encoder:
    """Return the sentence encoder.

    :param name: a sentence-transformers folder or hub id, or None for the default.
    :param english_only: without the encoder of other languages.
    """
    from errata.encoder import SentenceEncoder, load_encoder

    _hide_progress_bars()
    return SentenceEncoder(name) if english_only else load_encoder(name, None)


def open_base_answers(model: str | None) -> AnswerBatch | None:
    """Return the function that a gate asks for a base model's answers when it is in doubt.

    :param model: ``atlas``, a folder or a hub id; None or ``none`` for no base model.
    """
    if model in (None, "none"):
        return None
    from errata.models.load import load_base, prepare
    from errata.reasoners.base_answers import complete_answers

    prepare(str(model))
    with working("loading the base model"):
        _hide_progress_bars()
        return partial(complete_answers, *load_base(str(model)))


def open_cache(
    cache: str | Path | None, patches: Path | None, encoder: str | None, *, reencode: bool = False
) -> EditCache:
    """Return the edits of the cache and of the patch files; loads no language model.

    :param cache: folder or database of edits, or None for memory only.
    :param patches: folder of patches, or None.
    :param encoder: a sentence-transformers folder or hub id, or None for the default.
    :param reencode: encode all edits again if the cache was written with another encoder.
    :raises ErrataError: the cache or a patch is damaged, or another encoder wrote the cache.
    """
    from errata.cache.patches.files import load_folder
    from errata.cache.store import EditCache

    from_files = () if patches is None else load_folder(patches)
    with working("opening the cache"):
        store = EditCache(open_encoder(encoder), cache, reencode=reencode)
        try:
            store.set_files(from_files)
        except BaseException:
            store.close()
            raise
    return store


def _hide_progress_bars() -> None:
    """Keep the bars of `transformers` out of what a command prints to stderr."""
    from transformers.utils import logging

    logging.disable_progress_bar()
