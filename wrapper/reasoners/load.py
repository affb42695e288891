"""Reasoners by name, folder or instance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from errata.cache.errors import ModelError
from errata.reasoners.base import Reasoner
from errata.reasoners.card import read_card
from errata.registry import make, names

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


def load_reasoner(
    reasoner: Reasoner | str | Path | None,
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
) -> Reasoner:
    """Return a reasoner: the default, one by name, a trained one by folder, or the instance.

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
