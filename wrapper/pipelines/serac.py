"""SERAC as published: an embedding classifier and a small counterfactual model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ModelError
from errata.cache.records import Edit, Fact, Query
from errata.cache.storage.user_cache import user_cache_folder
from errata.gates.base import Decision, Gate
from errata.gates.load import choose_gate
from errata.generation.fingerprint import fingerprint
from errata.pipelines.base import ScopedView, decide_by_gate, route_to_reasoner
from errata.reasoners.base import Reasoner
from errata.reasoners.load import load_reasoner

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.cache.encoder import Encoder
    from errata.generation.base_model import GenerativeModel

NAME = "serac"


class Serac:
    """The scope classifier, the edit cache and the counterfactual model of Mitchell et al. 2022.

    A control for the ``cache`` pipeline, from which it differs in three ways: an edit governs a
    query with probability exp(−‖e − x‖²) and fires from one half on; whatever it hits is answered
    by a small separate model that is shown the best edit only; stored answers are never returned
    as they stand. It takes facts; refusals, conditions and patterns stay with the cache.

    Neither part comes with errata. ``errata serac train`` writes both to the user's cache folder.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param encoder: the cache's encoder.
    :param gate: a gate, or its folder; by default the one trained for the base model.
    :param reasoner: the counterfactual model, or its folder; by default the one trained for the
        base model.
    :param candidates: edits near the query whose probability is taken; the published gate takes
        all.
    :raises ModelError: a part is neither given nor trained, or cannot be loaded.
    """

    name = NAME

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
        if gate is None or reasoner is None:
            folder = serac_folder(base)
            gate = _part(folder, "gate", "card.json") if gate is None else gate
            reasoner = _part(folder, "reasoner", "reasoner.json") if reasoner is None else reasoner
        self.gate = choose_gate(str(gate) if isinstance(gate, Path) else gate, encoder)
        self.reasoner = load_reasoner(reasoner, base, tokenizer)

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit is a fact with an answer: the only kind it is trained on."""
        return isinstance(edit, Fact) and not edit.forget and self.reasoner.supports(edit)

    def decide(self, queries: Sequence[Query], edits: ScopedView) -> list[Decision]:
        """Return the decisions, each with the best edit only, for the counterfactual model."""
        decisions = decide_by_gate(self.gate, queries, edits, self.candidates)
        return [route_to_reasoner(decision, 1) for decision in decisions]


def serac_folder(base: GenerativeModel) -> Path:
    """Return the folder in the user's cache of the parts trained for a base model."""
    return user_cache_folder() / NAME / fingerprint(base)


def check_trained(options: Mapping[str, Any], model: str) -> None:
    """Raise if a part is neither among the options nor trained for any base model.

    Loads no model, so that a command can refuse before it does.

    :param options: those of :class:`Serac`.
    :param model: the base model's name, for the error.
    :raises ModelError: always in that case; names the command that trains the parts.
    """
    if options.get("gate") is not None and options.get("reasoner") is not None:
        return
    folder = user_cache_folder() / NAME
    if not any(folder.glob("*/reasoner/reasoner.json")):
        raise _missing("parts", folder, model)


def _part(folder: Path, part: str, card: str) -> Path:
    """Return the folder of a part, or raise if it was not trained."""
    if not (folder / part / card).is_file():
        raise _missing(part, folder / part, "MODEL")
    return folder / part


def _missing(part: str, folder: Path, model: str) -> ModelError:
    return ModelError(
        f"expected SERAC's {part} in {folder}, found none; train them for this base model with "
        f"`errata serac train --model {model}`, or pass gate= and reasoner="
    )
