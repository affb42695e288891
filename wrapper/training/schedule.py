"""The learning rate of every training run here: linear warm-up, then a cosine."""

from __future__ import annotations

import math


def warm_cosine(step: int, *, steps: int, warmup: int, peak: float, last: float) -> float:
    """Return the learning rate of a step.

    :param step: from 0.
    :param steps: of the whole run.
    :param warmup: steps in which it rises to its peak.
    :param peak: the highest rate.
    :param last: share of the peak at which the cosine ends.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * done)))
