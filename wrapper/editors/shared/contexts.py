"""Texts before the prompts of an edit, sampled from the model, once for each model.

A key is averaged over several of them, so that an edit holds wherever in a text its subject stands
(Meng et al. 2022, ROME, section 3.1).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from errata.editors.shared.corpus import generated_texts
from errata.generation.fingerprint import base_fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

_REMEMBERED = 32
_written: OrderedDict[tuple[Any, ...], tuple[str, ...]] = OrderedDict()


def contexts(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    sizes: Sequence[tuple[int, int]],
    seed: int = 0,
) -> tuple[str, ...]:
    """Return the empty text, and texts that the model has written, each ending in a full stop.

    Those of a base model are written once, whatever edits are in its weights later.

    :param model: the model.
    :param tokenizer: its tokenizer.
    :param sizes: (length in tokens, number) of the texts.
    :param seed: of the sampling.
    """
    key = (base_fingerprint(model), str(model.dtype), len(tokenizer), tuple(sizes), seed)
    if key not in _written:
        found = [""]
        for length, number in sizes:
            texts = generated_texts(
                model, tokenizer, length=length, seed=seed + length, top_k=5, rows=number
            )
            found += [f"{' '.join(text.split())}. " for text in islice(texts, number)]
        _written[key] = tuple(found)
        while len(_written) > _REMEMBERED:
            _written.popitem(last=False)
    _written.move_to_end(key)
    return _written[key]
