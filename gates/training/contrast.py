"""The space of relations learned by noise contrast, instead of by discriminant analysis."""

from __future__ import annotations

import numpy as np

from errata.cache.errors import ModelError
from errata.gates.features import PairFeatures
from errata.gates.layers import Projection
from errata.gates.training.fit import METRIC_WIDTH, Labels, fit_relations

STEPS, BATCH, RATE = 400, 256, 2e-3
ALIKE = 0.9
"""Cosine of two edits' rests from which they may ask the same, and contrast nothing."""


def contrast_relations(
    found: PairFeatures, labels: Labels, seed: int, width: int = METRIC_WIDTH
) -> Projection:
    r"""Return the space in which ways to ask one thing lie close, by InfoNCE over the batch.

    .. math:: -\log \frac{e^{-\|Wx_i - We_i\|^2}}{\sum_j e^{-\|Wx_i - We_j\|^2}}

    (van den Oord et al. 2018, equation 4, with the distance of SERAC), from the projection of
    :func:`errata.gates.training.fit.fit_relations` on. The scopes of pairs out of scope stand in every
    sum, too. What is returned is 4 *W*, on the scale of that projection.

    :param labels: class numbers [n], 1 for *same*.
    :param seed: of the batches.
    :raises ModelError: no pair is labelled *same*, or none *none*.
    """
    import torch

    begun = fit_relations(found, labels, width)
    if not (labels == 0).any():
        raise ModelError(
            "cannot train a gate on pairs of one class only: expected pairs out of scope to "
            f"contrast with, found none among {len(labels)}"
        )
    weight = torch.tensor(begun.components / 4.0, dtype=torch.float32, requires_grad=True)
    mean = torch.from_numpy(begun.mean.astype(np.float32))
    query, scope = (
        torch.from_numpy(rows.astype(np.float32)) for rows in (found.query_rest, found.scope_rest)
    )
    same, other = (torch.from_numpy(np.flatnonzero(labels == label)) for label in (1, 0))
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([weight], lr=RATE)
    for _ in range(STEPS):
        rows = same[torch.randint(len(same), (min(BATCH, len(same)),), generator=draw)]
        mined = other[torch.randint(len(other), (len(rows),), generator=draw)]
        sides = [(part - mean) @ weight.T for part in (query[rows], scope[rows], scope[mined])]
        apart = -torch.cdist(sides[0], torch.cat([sides[1], sides[2]])).square()
        alike = scope[rows] @ torch.cat([scope[rows], scope[mined]]).T > ALIKE
        alike.fill_diagonal_(False)
        apart = apart.masked_fill(alike, -1e4)
        loss = torch.nn.functional.cross_entropy(apart, torch.arange(len(rows)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Projection(begun.mean, weight.detach().double().numpy() * 4.0)
