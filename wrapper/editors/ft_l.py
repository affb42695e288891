"""Constrained fine-tuning: no entry of the weight may move by more than a bound.

Zhu et al. 2020, "Modifying Memories in Transformer Models" (https://arxiv.org/abs/2012.00363): the
L∞ constraint, projected onto after every step, as the FT-L baseline of ROME's paper does. The bound
is relative to the weight's root mean square, since absolute ones do not carry over between models.
"""

from __future__ import annotations

from errata.editors.ft import FineTuning


class ConstrainedFineTuning(FineTuning):
    """:class:`~errata.editors.ft.FineTuning` with ``bound`` set."""

    name = "ft-l"
