"""Position of the last token of a subject, where ROME, MEMIT and related editors read and write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import EditError
from errata.cache.text.subject import Span, span_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def last_token(offsets: Sequence[Span], span: Span) -> int | None:
    """Return the index of the last token that overlaps a span of characters, None if none does.

    Start tokens and padding have empty offsets and so only shift the index.

    :param offsets: the characters of each token, from a fast tokenizer.
    :param span: the characters of the subject.
    """
    start, end = span
    overlapping = [i for i, (a, b) in enumerate(offsets) if a < end and b > start and a < b]
    return overlapping[-1] if overlapping else None


def subject_positions(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    subjects: Sequence[str],
    **options: Any,
) -> tuple[list[list[int]], list[int]]:
    """Return the ids of prompts and the index of the last token of each one's subject.

    :param tokenizer: a fast tokenizer.
    :param texts: prompts.
    :param subjects: one for each prompt.
    :param options: for the tokenizer, such as ``add_special_tokens`` or ``padding``; the indices
        count start tokens and padding.
    :return: ids [texts][tokens] and indices [texts].
    :raises EditError: the tokenizer has no offsets, or a prompt does not contain its subject.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise EditError(
            f"expected a fast tokenizer, which has the offsets of each token, found "
            f"{type(tokenizer).__name__}; load it with AutoTokenizer (use_fast=True)"
        )
    encoded = tokenizer(list(texts), return_offsets_mapping=True, **options)
    positions = []
    for text, subject, offsets in zip(texts, subjects, encoded["offset_mapping"], strict=True):
        span = span_of(subject, text)
        position = None if span is None else last_token([tuple(pair) for pair in offsets], span)
        if position is None:
            raise EditError(
                f"expected the subject {subject!r} in the prompt, found {text!r}; write the "
                "subject as it stands there"
            )
        positions.append(position)
    return [list(row) for row in encoded["input_ids"]], positions
