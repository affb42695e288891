"""Calibration: of a threshold for a rate of false hits, and of the trained score with examples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import ModelError
from errata.intervals import most_false_hits

KEPT_SHARE = 0.1
"""Share of the scores that a card keeps, which is the highest target rate: part of its format."""


@dataclass(frozen=True, slots=True)
class NegativeScores:
    """The highest scores of tune queries near an edit and out of its scope.

    :param n: number of queries.
    :param highest: the top candidate's probability of the highest scoring ones, descending.
    """

    n: int
    highest: tuple[float, ...]

    @classmethod
    def of(cls, probabilities: Sequence[float]) -> NegativeScores:
        """Return the scores that are kept of these probabilities."""
        ordered = sorted(probabilities, reverse=True)[: int(KEPT_SHARE * len(probabilities)) + 1]
        # rounded up: a threshold picked by them has no more false hits
        return cls(len(probabilities), tuple(math.ceil(p * 1e6) / 1e6 for p in ordered))

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> NegativeScores:
        """Return the scores that a gate's card keeps.

        :raises ModelError: the card keeps no scores.
        """
        kept = card.get("negative_scores") or {}
        try:
            return cls(int(kept["n"]), tuple(map(float, kept["highest"])))
        except (KeyError, TypeError, ValueError):
            raise ModelError(
                "expected a gate whose card keeps the scores of its tune queries, by which a "
                "threshold for a rate of false hits is picked, found none; train the gate again"
            ) from None

    def as_json(self) -> dict[str, Any]:
        """Return the card's entry."""
        return {"n": self.n, "highest": list(self.highest)}

    def threshold(self, target: float, *, confidence: float = 0.95) -> float:
        """Return the lowest threshold whose rate of false hits is below the target.

        :param target: rate of false hits among queries near an edit, 0 to 1.
        :param confidence: of the one-sided bound (Clopper and Pearson 1934).
        :raises ModelError: the target is outside (0, 1), too low for so few queries, or above the
            share of scores that are kept.
        """
        if not 0 < target < 1:
            raise ModelError(
                f"expected a false-hit rate above 0 and below 1, found {target}; ask for 0.01, say"
            )
        allowed = most_false_hits(self.n, target, confidence=confidence)
        if allowed < 0:
            raise ModelError(
                f"expected a false-hit rate that {self.n} queries can show, found {target}; ask "
                f"for {self._lowest_rate(confidence)} or more"
            )
        if allowed >= len(self.highest):
            raise ModelError(
                f"expected a false-hit rate of at most {KEPT_SHARE}, found {target}: the card "
                "keeps only the highest scores; ask for a lower one"
            )
        return float(np.nextafter(self.highest[allowed], 2.0))

    def _lowest_rate(self, confidence: float) -> float:
        """Return the lowest rate that n queries without a false hit show, rounded up."""
        exact = 1 - math.pow(1 - confidence, 1 / max(1, self.n))
        digits = 1 - math.floor(math.log10(exact))
        return math.ceil(exact * 10.0**digits) / 10.0**digits


def moved(probability: float, threshold: float, to: float) -> float:
    """Return a probability with its log-odds moved so that a threshold comes to another one.

    :param probability: 0 to 1.
    :param threshold: what it is compared with.
    :param to: what the result is compared with.
    """
    odds, old, new = (
        math.log(p / (1 - p)) for p in (min(1 - 1e-9, max(1e-9, one))
                                        for one in (probability, threshold, to))
    )  # fmt: skip
    return 1.0 / (1.0 + math.exp(-(odds - old + new)))


@dataclass(frozen=True, slots=True)
class ExampleConfig:
    """How the trained score and the nearest examples are combined.

    ``errata gate fit-examples`` fits the coefficients; the fields that have a default are chosen,
    with these reasons.

    :param offset: of the log-odds.
    :param trained: slope of the trained log-odds, times their share.
    :param familiar: slope of that share.
    :param cosine: slope of the cosine of the nearest example.
    :param repeated: slope of the nearness of a repetition.
    :param more: slope of ln n of n examples.
    :param steeper: what the slope of the cosine gains by ln n.
    :param familiar_from: familiarity from which the trained score counts at all.
    :param familiar_to: familiarity from which it counts in full. The ramp leaves out what the
        networks were not trained on (customers' requests are at 0.06, statements at 0.3) and takes
        in questions about other subjects (0.95).
    :param near_from: nearness, -ln(1.03 - cosine), from which a repetition counts in spite of the
        trained score: cosine 0.895. Questions about another relation or subject stay below.
    :param most_examples: examples from which more do not count, as in what this was fitted on.
    :param logit_clip: limit of the trained log-odds, either way.
    """

    offset: float
    trained: float
    familiar: float
    cosine: float
    repeated: float
    more: float
    steeper: float
    familiar_from: float = 0.6
    familiar_to: float = 0.9
    near_from: float = 2.0
    most_examples: int = 3
    logit_clip: float = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class ExampleCalibration:
    """The probability that an edit governs a query, from the trained score and its examples.

    A logistic regression on the cosine of the nearest example, the number of examples, and the
    trained score. That counts by how familiar the edit's question is, from nothing to in full
    (stacking with features: Sill et al. 2009, arXiv:0911.0460): elsewhere it is no better than
    chance, and is not computed.

    :param weights: of an encoding in the log-odds of familiarity, float [d].
    :param offset: of these log-odds.
    :param config: the coefficients.
    """

    weights: NDArray[np.float32]
    offset: float
    config: ExampleConfig

    def share(self, vector: NDArray[np.float32]) -> float:
        """Return the trained score's share, 0 to 1.

        :param vector: encoding of the edit's question, float32 [d].
        """
        odds = float(vector @ self.weights) + self.offset
        familiarity = 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, odds))))
        start, end = self.config.familiar_from, self.config.familiar_to
        return min(1.0, max(0.0, (familiarity - start) / (end - start)))

    def probability(self, share: float, trained: float, cosine: float, examples: int) -> float:
        """Return the probability that the edit governs.

        :param share: the trained score's.
        :param trained: the trained probability; not read at a share of 0.
        :param cosine: of the nearest example.
        :param examples: how many there are.
        """
        config = self.config
        slopes = [config.offset, config.trained, config.familiar, config.cosine, config.repeated,
                  config.more, config.steeper]  # fmt: skip
        odds = float(np.dot(slopes, self.inputs(share, trained, cosine, examples)))
        return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, odds))))

    def inputs(
        self, share: float, trained: float, cosine: float, examples: int
    ) -> tuple[float, ...]:
        """Return what the coefficients are multiplied with, in their order.

        The parameters are those of :meth:`probability`.
        """
        config = self.config
        kept = min(1 - 1e-9, max(1e-9, trained))
        odds = math.log(kept / (1 - kept))
        odds = min(config.logit_clip, max(-config.logit_clip, odds))
        nearness = max(0.0, -math.log(1.03 - min(1.0, cosine)) - config.near_from)
        number = math.log(min(examples, config.most_examples)) if examples else 0.0
        return (1.0, share * odds, share, cosine, nearness, number, cosine * number)

    def as_json(self) -> dict[str, Any]:
        """Return the card's entry; the weights are stored with the gate's arrays."""
        return {"familiarity_offset": self.offset, **asdict(self.config)}

    @classmethod
    def of_card(cls, entry: Mapping[str, Any], weights: NDArray[np.float32]) -> ExampleCalibration:
        """Return what :meth:`as_json` gave.

        :raises KeyError, TypeError, ValueError: the entry is malformed.
        """
        names = [field.name for field in fields(ExampleConfig)]
        settings = {name: float(entry[name]) for name in names if name in entry}
        settings["most_examples"] = int(entry["most_examples"])
        offset = float(entry["familiarity_offset"])
        return cls(np.asarray(weights, np.float32), offset, ExampleConfig(**settings))  # type: ignore[arg-type]
