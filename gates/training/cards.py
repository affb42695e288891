"""What a trained gate's card says of its data and of the rates that it was settled with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.facts.table import Split
from errata.gates.data.splits import sha256_of

if TYPE_CHECKING:
    from errata.gates.training.train import SplitData, TrainingConfig


def pairs_card(
    pairs: Sequence[str | Path], start: Mapping[str, Any] | None = None
) -> str | dict[str, Any]:
    """Return the labelled pairs that a gate was trained on, and their terms, for the card.

    :param pairs: files of labelled question pairs.
    :param start: the card of the gate that training starts from; its pairs count, too.
    """
    card: dict[str, Any] = {}
    if pairs:
        files = [{"file": Path(path).name, "sha256": sha256_of(Path(path))} for path in pairs]
        card |= {"files": files, "terms": "those of the files; Quora's pairs: research use"}
    before = (start or {}).get("pairs", "none")
    if before != "none":
        card["start's"] = before
    return card or "none"


def data_card(
    pairs: str | dict[str, Any],
    data: Mapping[Split, SplitData],
    config: TrainingConfig,
    start: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the sizes of a gate's training data, for the card.

    :param pairs: see :func:`pairs_card`.
    :param config: that they were drawn with.
    :param start: the card of the gate that training starts from, or nothing; where its
        cross-encoder is kept, what that has read counts.
    """
    drawn = sum(one.statements for one in data.values())
    kept = config.cross is None and start
    return {
        "pairs": pairs,
        "data": {
            split: dict(Counter(example.label for example in one.scopes))
            for split, one in data.items()
        },
        "statements": start.get("statements", 0) if kept else drawn,
        "open_questions": {split: len(one.open) for split, one in data.items()},
        "seed": config.seed,
    }


def allowed_rates(config: TrainingConfig) -> dict[str, Any]:
    """Return the rates of false hits that the thresholds allow, for the card."""
    return {
        "hard neighbours": config.neighbour_rate,
        "all near and out of scope": config.changed_rate,
        "open questions": config.open_rate,
        "times as many, the base model asked in doubt": config.agreement_factor,
        "topical and descriptive conditions, of texts near them": config.condition_rate,
        "measured on": "tune subjects, per query, the most probable of its candidates",
    }
