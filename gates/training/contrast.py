"""The relation space learned by InfoNCE, instead of by discriminant analysis."""

from __future__ import annotations

import numpy as np

from errata.cache.errors import ModelError
from errata.gates.features import PairFeatures
from errata.gates.layers import Projection
from errata.gates.training.fit import METRIC_WIDTH, Labels, fit_relations

STEPS, BATCH, RATE = 400, 256, 2e-3
DUPLICATE_COSINE = 0.9
"""Cosine of two edits from which they may be paraphrases, and are no negatives of each other."""


def contrast_relations(
    found: PairFeatures, labels: Labels, seed: int, width: int = METRIC_WIDTH
) -> Projection:
    r"""Return a space in which paraphrases lie close, by InfoNCE over the batch.

    .. math:: -\log \frac{e^{-\|Wx_i - We_i\|^2}}{\sum_j e^{-\|Wx_i - We_j\|^2}}

    (van den Oord et al. 2018, equation 4, with the distance of SERAC), from the projection of
    :func:`errata.gates.training.fit.fit_relations` on. The sums include the scopes of pairs out of
    scope. Returns 4 *W*, on the scale of that projection.

    :param labels: class numbers [n], 1 for *paraphrase*.
    :param seed: of the batches.
    :raises ModelError: no pair is labelled *paraphrase*, or none *none*.
    """
    import torch

    initial = fit_relations(found, labels, width)
    if not (labels == 0).any():
        raise ModelError(
            "cannot train a gate on pairs of one class only: expected pairs out of scope to "
            f"contrast with, found none among {len(labels)}"
        )
    weight = torch.tensor(initial.components / 4.0, dtype=torch.float32, requires_grad=True)
    mean = torch.from_numpy(initial.mean.astype(np.float32))
    query, scope = (
        torch.from_numpy(rows.astype(np.float32)) for rows in (found.query_rest, found.scope_rest)
    )
    paraphrase, none = (torch.from_numpy(np.flatnonzero(labels == label)) for label in (1, 0))
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([weight], lr=RATE)
    for _ in range(STEPS):
        rows = paraphrase[
            torch.randint(len(paraphrase), (min(BATCH, len(paraphrase)),), generator=draw)
        ]
        mined = none[torch.randint(len(none), (len(rows),), generator=draw)]
        sides = [(part - mean) @ weight.T for part in (query[rows], scope[rows], scope[mined])]
        similarity = -torch.cdist(sides[0], torch.cat([sides[1], sides[2]])).square()
        duplicate = scope[rows] @ torch.cat([scope[rows], scope[mined]]).T > DUPLICATE_COSINE
        duplicate.fill_diagonal_(False)
        similarity = similarity.masked_fill(duplicate, -1e4)
        loss = torch.nn.functional.cross_entropy(similarity, torch.arange(len(rows)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Projection(initial.mean, weight.detach().double().numpy() * 4.0)
