"""Scores of the literature, from likelihoods: pure functions of numbers.

CounterFact: Meng et al. 2022, "Locating and editing factual associations in GPT", section 3.4.
zsRE: De Cao et al. 2021; Mitchell et al. 2022. A log-likelihood of None is minus
infinity: the backend gives another, stored answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def success(kind: str, new: float | None, old: float | None) -> bool:
    """Return ES, PS or NS of one prompt.

    :param kind: ``rewrite`` and ``paraphrase``: the new object is likelier; ``neighbour``: the old
        one is.
    :param new: mean negative log-likelihood a token of the new object, in nats.
    :param old: the same of the old object.
    """
    likely, unlikely = (old, new) if kind == "neighbour" else (new, old)
    return _nll(likely) < _nll(unlikely)


def magnitude(kind: str, new: float | None, old: float | None) -> float:
    """Return EM, PM or NM of one prompt: the difference of mean token probabilities, −1 to 1."""
    difference = math.exp(-_nll(new)) - math.exp(-_nll(old))
    return -difference if kind == "neighbour" else difference


def harmonic(scores: Sequence[float]) -> float:
    """Return S, the harmonic mean; 0 where one of the scores is 0, or there is none."""
    if not scores or not all(scores):
        return 0.0
    return len(scores) / sum(1 / score for score in scores)


def token_accuracy(right: Sequence[bool]) -> float:
    """Return zsRE's score of one prompt: the share of gold tokens predicted, teacher-forced.

    :param right: for each gold token, whether it is the argmax after the gold ones before it.
    """
    return sum(right) / len(right) if right else 0.0


def entropy(text: str) -> float:
    """Return the fluency of a text, GE: weighted entropy of its word bigrams and trigrams, bits.

    (2/3 H₂ + 4/3 H₃) / 2, each H the base-2 entropy of the n-grams' frequencies (Meng et al. 2022,
    appendix). Repetition lowers it. Words are separated by spaces; the published code takes nltk's
    word tokenizer, which separates punctuation as well.
    """
    words = text.split()
    return (2 / 3 * _entropy(words, 2) + 4 / 3 * _entropy(words, 3)) / 2


def _entropy(words: Sequence[str], n: int) -> float:
    counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    total = sum(counts.values())
    return -sum(c / total * math.log2(c / total) for c in counts.values()) if total else 0.0


def _nll(value: float | None) -> float:
    return math.inf if value is None else value
