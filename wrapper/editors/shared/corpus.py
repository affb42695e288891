"""Text for the statistics of a model: from files, a data set, the facts table, or the model."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import EditError, MissingExtra
from errata.facts.corpus import Corpus

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

_BLANK_LINE = re.compile(r"\n\s*\n")
_ROWS = 32


def text_files(paths: Iterable[str | Path]) -> Iterator[str]:
    """Yield the paragraphs of UTF-8 text files, as they are needed.

    :param paths: files; paragraphs are separated by empty lines.
    :raises EditError: a file cannot be read.
    """
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                for _, lines in itertools.groupby(file, key=lambda line: not line.strip()):
                    paragraph = "".join(lines).strip()
                    if paragraph:
                        yield paragraph
        except (OSError, UnicodeDecodeError) as error:
            raise EditError(
                f"expected a text file in UTF-8 at {path}, found: {error}; name plain text files"
            ) from error


def dataset_texts(name: str, field: str = "text") -> Iterator[str]:
    """Yield the texts of a data set of the hub, streamed; needs a network.

    :param name: ``name``, ``name:configuration`` or ``name:configuration:split``.
    :param field: the column that holds the text.
    :raises MissingExtra: `datasets` is not installed.
    :raises EditError: there is no such data set, or no such column.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingExtra(
            "expected the package `datasets` for text from a data set, found none; "
            "install errata[datasets], or give text files"
        ) from error
    path, _, variant = name.partition(":")
    configuration, _, split = variant.partition(":")
    try:
        rows: Any = load_dataset(path, configuration or None, split=split or "train",
                                 streaming=True)  # fmt: skip
        for row in rows:
            if row[field].strip():
                yield row[field]
    except Exception as error:  # hub, format and column errors have no common class
        raise EditError(
            f"expected a data set with a column {field!r} at {name!r}, found: {error}; "
            "write name:configuration:split, or give text files"
        ) from error


def facts_texts(seed: int = 0) -> Iterator[str]:
    """Yield the training rows of atlas, drawn afresh from the facts table epoch after epoch.

    :param seed: of the draws.
    """
    corpus = Corpus(seed)
    for number in itertools.count():
        for row in corpus.epoch(number):
            yield row.text


def generated_texts(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    length: int,
    seed: int = 0,
    top_k: int | None = None,
    rows: int = _ROWS,
) -> Iterator[str]:
    """Yield texts sampled from the model, beginning with its start token.

    The caller's random state is untouched.

    :param model: the model; of an encoder-decoder, its decoder, with an empty prompt.
    :param length: tokens of each text.
    :param seed: of the sampling.
    :param top_k: None samples from the whole distribution.
    :param rows: texts in a batch.
    """
    import torch

    start = _start_token(model, tokenizer)
    devices = [model.device] if model.device.type == "cuda" else []
    for batch in itertools.count():
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            torch.manual_seed(seed * 1_000_003 + batch)
            ids = model.generate(
                torch.full((rows, 1), start, dtype=torch.long, device=model.device),
                attention_mask=torch.ones((rows, 1), dtype=torch.long, device=model.device),
                do_sample=True,
                top_k=top_k or 0,
                top_p=1.0,
                temperature=1.0,
                num_beams=1,
                min_new_tokens=length,
                max_new_tokens=length,
                pad_token_id=start if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
            )
        yield from tokenizer.batch_decode(ids[:, 1:], skip_special_tokens=True)


def _start_token(model: GenerativeModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the first of start token and end token that is defined, or token 0."""
    configured = getattr(model.config, "bos_token_id", None)
    for found in (tokenizer.bos_token_id, configured, tokenizer.eos_token_id):
        if isinstance(found, int):
            return found
    return 0


def token_rows(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], *, tokens: int, width: int
) -> list[list[int]]:
    """Return the first rows of a text that hold at least a number of tokens.

    :param tokenizer: the model's; each text is encoded as a prompt would be.
    :param texts: read no further than needed.
    :param tokens: tokens in all.
    :param width: longest row; a longer text is split.
    :raises EditError: there is no text.
    """
    rows: list[list[int]] = []
    count = 0
    for text in texts:
        ids: Sequence[int] = tokenizer(text)["input_ids"]
        for start in range(0, len(ids), width):
            rows.append(list(ids[start : start + width]))
            count += len(rows[-1])
        if count >= tokens:
            break
    if not rows:
        raise EditError("expected text for the statistics, found none; give more text")
    return rows
