"""Text for the statistics of a model: from files, a data set, the facts table, or the model."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import EditError, MissingExtra
from errata.facts.corpus import Corpus
from errata.generation.fingerprint import base_fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

MAX_ROW_TOKENS = 256
SAMPLED_TOKENS, SAMPLED_ROWS = 64, 64

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


@dataclass(frozen=True, slots=True)
class TextPart:
    """Rows of a text.

    :param identity: the same for the same rows.
    :param rows: returns the ids; called only where they are needed.
    """

    identity: str
    rows: Callable[[], Sequence[Sequence[int]]] = field(compare=False)

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> TextPart:
        """Return a part whose identity is a digest of its ids."""
        digest = hashlib.sha256()
        for row in rows:
            digest.update(" ".join(map(str, row)).encode() + b"\n")
        return cls(digest.hexdigest(), lambda: rows)


@dataclass(eq=False)
class TokenRows:
    """The rows of a text in ids, read part after part, as far as needed, and only once.

    :param texts: returns the text of a part, by its number; read no further than needed.
    :param tokenizer: each text is encoded as a prompt would be.
    :param width: longest row; a longer text is split.
    :param name: what identifies the text without reading it; None: its ids do.
    """

    texts: Callable[[int], Iterator[str]]
    tokenizer: PreTrainedTokenizerBase
    width: int
    name: str | None = None
    _known: list[TextPart] = field(default_factory=list)

    @property
    def key(self) -> object:
        """What is the same for the same text."""
        return self if self.name is None else (self.name, self.width)

    def parts(self, first: int, limit: int) -> Iterator[TextPart]:
        """Yield parts of the text, each as long as all before it; fewer where the text ends.

        :param first: tokens of the first part; the same in all calls.
        :param limit: tokens in all.
        :raises EditError: there is no text.
        """
        size, total = first, 0
        for number in itertools.count():
            if total and total + size > limit:
                return
            if number == len(self._known):
                part = self._part(number, size)
                if part is None:
                    return
                self._known.append(part)
            yield self._known[number]
            total += size
            size = total

    def _part(self, number: int, size: int) -> TextPart | None:
        read = functools.partial(self._rows, number, size)
        if self.name is not None:
            return TextPart(f"{self.name}, width {self.width}, part {number} of {size}", read)
        rows = read()
        return TextPart.of(rows) if rows else None

    def _rows(self, number: int, size: int) -> list[list[int]]:
        texts = self.texts(number)
        first = next(texts, None)
        if first is None and number:
            return []
        found = itertools.chain([] if first is None else [first], texts)
        return token_rows(self.tokenizer, found, tokens=size, width=self.width)


class TextSource:
    """Text for second moments: what the caller gives, or one of errata's own corpora.

    :param text: the caller's; None takes a corpus.
    :param seed: of the corpora.
    """

    def __init__(self, text: Iterable[str] | None, seed: int = 0) -> None:
        self.text, self.seed = text, seed
        self._rows: dict[tuple[int, str, str], TokenRows] = {}

    def rows(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, corpus: str
    ) -> TokenRows:
        """Return the text in ids.

        :param model: writes the corpus ``model``; its longest input limits the rows.
        :param tokenizer: its tokenizer.
        :param corpus: ``model`` or ``facts``.
        """
        written = corpus == "model" and self.text is None
        mark = base_fingerprint(model) if written else ""
        key = (id(tokenizer), corpus, mark)
        if key not in self._rows:
            longest = getattr(model.config, "max_position_embeddings", None) or MAX_ROW_TOKENS
            width = min(longest, MAX_ROW_TOKENS)
            if written:
                name = f"sampled from {mark}, seed {self.seed}"
                self._rows[key] = TokenRows(
                    functools.partial(_sampled, model, tokenizer, self.seed), tokenizer, width, name
                )
            else:
                stream = iter(facts_texts(self.seed) if self.text is None else self.text)
                self._rows[key] = TokenRows(lambda _: stream, tokenizer, width)
        return self._rows[key]


def _sampled(
    model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, seed: int, part: int
) -> Iterator[str]:
    """Return the text that a model writes for a part."""
    return generated_texts(
        model, tokenizer, length=SAMPLED_TOKENS, seed=seed + 7919 * part, rows=SAMPLED_ROWS
    )


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
