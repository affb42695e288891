"""Training of the reader of other languages, over encodings made once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from errata.cache.encoder import EmbeddingCache, Encoder
from errata.cache.records import Vector
from errata.gates.data.languages import (
    Part,
    read_chinese_pairs,
    read_parallel,
    template_questions,
)
from errata.gates.data.splits import sha256_of
from errata.gates.layers import Array, Network, Platt, Projection
from errata.gates.reader import Reader, pair_features
from errata.gates.training.fit import fit_platt
from errata.gates.training.reader_model import Batch, ReaderModel
from errata.gates.training.reader_pairs import (
    ReaderExample,
    english_examples,
    labelled_examples,
    parallel_examples,
    template_examples,
)

_PARTS: tuple[Part, ...] = ("train", "tune")
Said = Callable[[str], object]
CALIBRATING = ("facts", "facts, across", "parallel")
"""Sorts of pairs that pick the threshold; labelled pairs that people typed hold neighbours that
nobody would call wrong."""
Sides = tuple[Vector, Vector]
"""Encodings of the queries and of the texts of n pairs, each float32 [n, d]."""


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    """How a reader is trained.

    :param heads: parts of the projection, each of which gives a cosine.
    :param width: dimensions of each part.
    :param hidden: units of the network.
    :param dropout: of the encodings.
    :param epochs: at most; the one with the least tune loss is kept.
    :param batch: pairs of a step.
    :param rate: of AdamW.
    :param weight_decay: of AdamW.
    :param members: networks that are averaged.
    :param english: pairs of the facts table drawn, in English.
    :param without: relations of the facts table that are left out: those that templates in other
        languages are measured on.
    :param pairs: labelled pairs of each source that train, the first by hash.
    :param tuned: pairs of each source that tune.
    :param false_rate: share of tune pairs that must not fire and may, the mean of the sorts that
        pick the threshold.
    :param seed: of everything drawn.
    """

    heads: int = 8
    width: int = 48
    hidden: int = 48
    dropout: float = 0.1
    epochs: int = 5
    batch: int = 256
    rate: float = 1e-3
    weight_decay: float = 1e-2
    members: int = 3
    english: int = 10_000
    without: frozenset[str] = frozenset(
        "currency pay president leader area size birthplace born origin river country airport home "
        "lies_in located_in where where_e place number".split()
    )
    pairs: Mapping[str, int] = field(
        default_factory=lambda: {"lcqmc": 4000, "bq": 3000, "atec": 700}
    )
    tuned: int = 300
    false_rate: float = 0.02
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ReaderData:
    """Files to train on; templates of our own come on top.

    :param parallel: one question in several languages a line.
    :param labelled: pairs source, a, b, same; None: none, for a reader free of their terms.
    """

    parallel: Path
    labelled: Path | None = None


def train_reader(
    encoder: Encoder,
    data: ReaderData,
    config: ReaderConfig | None = None,
    say: Said = lambda what: None,
) -> Reader:
    """Return a reader, trained, calibrated and with its threshold.

    :param encoder: a multilingual one; a :class:`~errata.gates.data.encodings.StoredEncoder` goes
        on where a run was interrupted.
    :param say: receives what is being done.
    """
    config = config or ReaderConfig()
    embeddings = EmbeddingCache(encoder, None)
    parts: dict[Part, list[ReaderExample]] = {
        part: _examples(data, part, embeddings, config) for part in _PARTS
    }
    sides = {part: _sides(examples, embeddings) for part, examples in parts.items()}
    say(f"training on {len(parts['train'])} pairs")
    members = [
        _fit(parts, sides, config, config.seed + member, say) for member in range(config.members)
    ]
    plain = Reader(tuple(members), config.heads, Platt(), 0.5, encoder.fingerprint)
    tune = parts["tune"]
    scores = plain([one.pair for one in tune], *sides["tune"])
    calibration = fit_platt(scores, np.array([one.same for one in tune]))
    scores = calibration(scores)
    threshold = _threshold(tune, scores, config.false_rate)
    return replace(
        plain,
        calibration=calibration,
        threshold=threshold,
        card=_card(parts, scores, threshold, data, config),
    )


def _examples(
    data: ReaderData, part: Part, embeddings: EmbeddingCache, config: ReaderConfig
) -> list[ReaderExample]:
    found = template_examples(template_questions(part), config.seed)
    count = config.english if part == "train" else config.english // 10
    found += english_examples(part, count, config.without, config.seed)
    rows = read_parallel(data.parallel)
    texts = list(dict.fromkeys(row["en"] for row in rows))
    english = dict(zip(texts, embeddings.encode(texts), strict=True))
    found += parallel_examples(rows, part, english, config.seed)
    if data.labelled is not None:
        tuned = {name: config.tuned for name in config.pairs}
        sizes = config.pairs if part == "train" else tuned
        found += labelled_examples(read_chinese_pairs(data.labelled)[part], sizes)
    return found


def _sides(examples: Sequence[ReaderExample], encoder: EmbeddingCache) -> Sides:
    """Return the encodings of queries and of texts, each float32 [n, d]."""
    pairs = [one.pair for one in examples]
    encoder.encode(list(dict.fromkeys(text for one in pairs for text in (one.query, one.text))))
    return encoder.encode([one.query for one in pairs]), encoder.encode([one.text for one in pairs])


def _fit(
    parts: Mapping[Part, Sequence[ReaderExample]],
    sides: Mapping[Part, Sides],
    config: ReaderConfig,
    seed: int,
    say: Said,
) -> tuple[Projection, Network]:
    """Return a projection and a network, trained together."""
    import torch

    torch.manual_seed(seed)
    sorts = list(dict.fromkeys(one.sort for one in parts["train"]))  # templates come first
    train, tune = (_tensors(parts[part], sides[part], sorts) for part in _PARTS)
    model = ReaderModel(train, config)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.rate, weight_decay=config.weight_decay
    )
    best, kept = float("inf"), model.state_dict()
    for _ in range(config.epochs):
        model.train()
        order = torch.randperm(len(train.labels))
        for start in range(0, len(order), config.batch):
            optimizer.zero_grad()
            model.loss(train.rows(order[start : start + config.batch])).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            loss = float(model.loss(tune))
        if loss < best:
            best, kept = loss, {k: v.clone() for k, v in model.state_dict().items()}
    say(f"seed {seed}: tune loss {best:.4f}")
    model.load_state_dict(kept)
    return model.arrays()


def _tensors(examples: Sequence[ReaderExample], sides: Sides, sorts: Sequence[str]) -> Batch:
    """Return examples as tensors; every sort weighs as the square root of its number."""
    counts = Counter(one.sort for one in examples)
    weights = np.array([counts[one.sort] ** -0.5 for one in examples])
    return Batch.of(
        pair_features([one.pair for one in examples], *sides),
        *sides,
        np.array([one.same for one in examples]),
        weights / weights.mean(),
        [sorts.index(one.sort) for one in examples],
    )


def _threshold(examples: Sequence[ReaderExample], scores: Array, rate: float) -> float:
    """Return the least threshold at which a share of the pairs that must not fire do.

    The mean over the sorts of questions in templates and in parallel.
    """
    sorts = _scores_by_sort(examples, scores, same=False)
    kept = [found for sort, found in sorts.items() if sort in CALIBRATING]
    for threshold in np.unique(np.concatenate(kept)):
        if np.mean([(found >= threshold).mean() for found in kept]) <= rate:
            return float(min(max(threshold, 0.5), 0.999))
    return 0.999


def _scores_by_sort(
    examples: Sequence[ReaderExample], scores: Array, *, same: bool
) -> dict[str, Array]:
    found: dict[str, list[float]] = defaultdict(list)
    for one, score in zip(examples, scores.tolist(), strict=True):
        if one.same == same:
            found[one.sort].append(score)
    return {sort: np.array(some) for sort, some in found.items()}


def _card(
    parts: Mapping[Part, Sequence[ReaderExample]],
    scores: Array,
    threshold: float,
    data: ReaderData,
    config: ReaderConfig,
) -> dict[str, Any]:
    """Return what the reader was trained on and what it does on tune pairs."""
    sources = [
        "templates and names of errata's own (gates/data/tables/languages.yaml)",
        "errata's own facts table, train subjects, without the relations under config.without",
    ]
    for path in (data.parallel, data.labelled):
        if path is not None:
            sources.append(f"{path.name} (SHA-256 {sha256_of(path)})")
    found, false = (_scores_by_sort(parts["tune"], scores, same=same) for same in (True, False))
    return {
        "sources": sources,
        "pairs": dict(Counter(one.sort for one in parts["train"])),
        "tune": {
            sort: {
                "n": len(found[sort]) + len(false[sort]),
                "found": round(float((found[sort] >= threshold).mean()), 4),
                "false": round(float((false[sort] >= threshold).mean()), 4),
            }
            for sort in found
        },
        "config": {**asdict(config), "without": sorted(config.without)},
    }
