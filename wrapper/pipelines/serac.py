"""SERAC as published: an embedding classifier and a small counterfactual model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from errata.cache.errors import ModelError
from errata.cache.records import Edit, Fact, Query
from errata.gates.base import Decision, Gate
from errata.gates.embedding import KIND
from errata.gates.load import choose_gate, shipped_gates
from errata.pipelines.base import decide_by_gate, route_to_reasoner
from errata.pipelines.resolvers.base import ScopedView
from errata.reasoners.adapter import shipped_for
from errata.reasoners.base import Reasoner
from errata.reasoners.load import load_reasoner

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.cache.encoder import Encoder
    from errata.generation.base_model import GenerativeModel


class Serac:
    """The scope classifier, the edit cache and the counterfactual model of Mitchell et al. 2022.

    A control. An edit governs a query with probability exp(−‖e − x‖²) and fires from one half on;
    every hit is answered by a small separate model with the best edit in its prompt, never by the
    stored answer. It supports facts; refusals, conditions and patterns stay with the cache.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param encoder: the cache's encoder.
    :param gate: a gate, or its folder; by default the shipped one of this kind.
    :param reasoner: the counterfactual model, or its folder; by default the one shipped for the
        base model.
    :param candidates: nearest edits that the gate scores; the published one scores all.
    :raises ModelError: gate or reasoner is neither given nor shipped, or cannot be loaded.
    """

    name = "serac"

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        encoder: Encoder,
        *,
        gate: Gate | str | Path | None = None,
        reasoner: Reasoner | str | Path | None = None,
        candidates: int = 64,
    ) -> None:
        self.candidates = candidates
        gate = _shipped_gate() if gate is None else gate
        self.gate = choose_gate(str(gate) if isinstance(gate, Path) else gate, encoder)
        reasoner = _shipped_reasoner(base) if reasoner is None else reasoner
        self.reasoner = load_reasoner(reasoner, base, tokenizer)

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit is a fact that is not to be forgotten, as in training."""
        return isinstance(edit, Fact) and not edit.forget and self.reasoner.supports(edit)

    def decide(self, queries: Sequence[Query], edits: ScopedView) -> list[Decision]:
        """Return the decisions, each with the best edit, which the counterfactual model reads."""
        decisions = decide_by_gate(self.gate, queries, edits, self.candidates)
        return [route_to_reasoner(decision, 1) for decision in decisions]


def _shipped_gate() -> str:
    if KIND not in shipped_gates():
        raise ModelError(
            f"expected a gate of kind {KIND}, found none shipped; train one with `errata gate "
            f'train --kind {KIND} --out runs/{KIND}`, and pass gate="runs/{KIND}"'
        )
    return KIND


def _shipped_reasoner(base: GenerativeModel) -> Path:
    found = shipped_for(base, "model")
    if found is None:
        raise ModelError(
            "expected a counterfactual model for this base model, found none shipped; train one "
            "with `errata reasoner train --kind model --model BASE --start SMALL_MODEL --out "
            'runs/small`, and pass reasoner="runs/small"'
        )
    return found
