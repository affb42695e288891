"""IKE: in-context editing with demonstrations, and no gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from errata.cache.records import Edit, Fact, Query
from errata.facts import FactSource
from errata.gates.base import Decision
from errata.gates.open import OpenGate
from errata.generation.model_config import find_model_row, load_model_rows
from errata.pipelines.base import ScopedView, decide_by_gate, route_to_reasoner
from errata.reasoners.demonstrations import DemonstrationBook
from errata.reasoners.in_context import InContextReasoner

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.cache.encoder import Encoder
    from errata.generation.base_model import GenerativeModel

CONFIG = Path(__file__).with_name("ike.yaml")


def demonstrations_for(base: GenerativeModel) -> int:
    """Return the default number of demonstrations for a base model, a row of ``ike.yaml``."""
    rows = load_model_rows(CONFIG, frozenset({"demonstrations"}))
    return int(find_model_row(base, rows).settings["demonstrations"])


class Ike:
    """In-context knowledge editing (Zheng et al. 2023). A control.

    As long as there is any edit, the base model answers every query with a prompt of demonstrations
    of copying, updating and retaining, and the edits nearest to the query. There is no gate, and no
    guarantee for other queries. It supports facts; refusals, conditions and patterns stay with the
    cache, which comes first.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param encoder: the cache's encoder.
    :param nearest: edits in the prompt.
    :param demonstrations: most demonstrations in the prompt; fewer if the context has no room. By
        default 32, as published, and none for atlas (``ike.yaml``).
    :param facts: folder of the table that demonstrations are made from; by default the shipped one.
    :param pool: number of the table's facts that demonstrations are chosen from.
    :param seed: of the draws from the table.
    :raises errata.cache.errors.ErrataError: the table is malformed, or too small.
    """

    name = "ike"

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        encoder: Encoder,
        *,
        nearest: int = 1,
        demonstrations: int | None = None,
        facts: str | Path | None = None,
        pool: int = 512,
        seed: int = 0,
    ) -> None:
        self.candidates = nearest
        self.gate = OpenGate()
        source = FactSource.load(facts)
        book = DemonstrationBook(source, encoder, size=pool, seed=seed)
        most = demonstrations_for(base) if demonstrations is None else demonstrations
        self.reasoner = InContextReasoner(base, tokenizer, book, max_demonstrations=most)

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit is a fact that is not to be forgotten."""
        return isinstance(edit, Fact) and not edit.forget

    def decide(self, queries: Sequence[Query], edits: ScopedView) -> list[Decision]:
        """Return the decisions, each with the edits that are shown in the prompt."""
        decisions = decide_by_gate(self.gate, queries, edits, self.candidates)
        return [route_to_reasoner(decision, self.candidates) for decision in decisions]
