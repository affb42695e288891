"""IKE: in-context editing with demonstrations, and no gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from errata.cache.records import Edit, Fact
from errata.editors.shared.corpus import is_atlas
from errata.facts import FactSource
from errata.gates.base import Decision
from errata.gates.open import OpenGate
from errata.pipelines.base import Redecide, route_to_reasoner
from errata.reasoners.demonstrations import DemonstrationBook
from errata.reasoners.in_context import InContextReasoner

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.cache.encoder import Encoder
    from errata.generation.base_model import GenerativeModel

DEMONSTRATIONS = 32


def shown_to(base: GenerativeModel) -> int:
    """Return how many demonstrations a model is shown unless told otherwise.

    atlas, which learned from short rows, answers the edit's own question rightly in 56% of cases
    without any, in 12% behind three, and never behind as many as fit (tune subjects, n=16).
    """
    return 0 if is_atlas(base) else DEMONSTRATIONS


class Ike:
    """In-context knowledge editing (Zheng et al. 2023). A control.

    As long as it has any edit, every query goes to the base model behind the edits nearest to it
    and demonstrations of copying, updating and retaining. There is no gate, so nothing is promised
    of other queries. It makes facts; refusals, conditions and patterns stay with the cache, which
    is asked first.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param encoder: the cache's encoder.
    :param nearest: edits shown.
    :param demonstrations: shown at most; as many as the base model's context has room for. By
        default 32, as published, and none to atlas.
    :param facts: folder of the table that demonstrations are made from; errata's own by default.
    :param pool: facts of the table that demonstrations are chosen among.
    :param seed: of what is drawn from the table.
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
        source = FactSource.own() if facts is None else FactSource.read(facts)
        book = DemonstrationBook(source, encoder, size=pool, seed=seed)
        most = shown_to(base) if demonstrations is None else demonstrations
        self.reasoner = InContextReasoner(base, tokenizer, book, max_demonstrations=most)

    def supports(self, edit: Edit) -> bool:
        """Tell whether an edit is a fact that is not to be forgotten."""
        return isinstance(edit, Fact) and not edit.forget

    def settled(
        self,
        decision: Decision,
        edits: Sequence[Edit],
        wanted: Callable[[Edit], bool],
        again: Redecide | None = None,
    ) -> Decision:
        """Return the decision with the edits that are shown."""
        return route_to_reasoner(decision, self.candidates)
