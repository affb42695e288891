"""Learning-rate schedules."""

from __future__ import annotations

import math


def cosine_with_warmup(step: int, *, steps: int, warmup: int, peak: float, last: float) -> float:
    """Return the learning rate of a step: linear warm-up, then cosine decay.

    :param step: from 0.
    :param steps: of the whole run.
    :param warmup: steps of the warm-up.
    :param peak: the highest rate.
    :param last: final rate as a share of the peak.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * done)))
